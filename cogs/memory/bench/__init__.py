"""Benchmarks: the published code, the peers and Mneme's paths, interleaved in one process, on generated messages."""
