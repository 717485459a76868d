"""Metrics and reports over the product's own search and rerankers."""
