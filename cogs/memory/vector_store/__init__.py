"""FAISS, segments, snapshots, one store for each server."""
