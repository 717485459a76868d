"""Texts -> unit vectors. Must not import rerankers."""
