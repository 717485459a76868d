"""Vector stores behind one protocol: FAISS in the process by default."""
