"""The lab: measure recall, reproduce the published recipes, train the shipped reranker."""
