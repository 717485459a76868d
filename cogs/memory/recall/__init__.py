"""Query -> candidates -> fusion -> rerank -> result."""
