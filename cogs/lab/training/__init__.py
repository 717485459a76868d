"""Recipes, losses and runs that make rerankers, and what is done with a finished model."""
