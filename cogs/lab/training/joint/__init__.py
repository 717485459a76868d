"""Training the joint reranker: lower layers read apart and stay as they are, upper ones learn to read together."""
