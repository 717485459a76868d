"""Replies when it is spoken to."""
