"""Measuring and training; no other area imports it."""
