"""Benchmarks: time and memory, as ratios in one run; no other area imports it."""
