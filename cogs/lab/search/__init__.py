"""Choosing the first stage: studies of its signals, and learning the fusion."""
