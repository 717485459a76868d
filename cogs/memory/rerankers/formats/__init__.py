"""One file for each published reranker format: its prompt, its reading of the output."""
