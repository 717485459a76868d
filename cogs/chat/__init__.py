"""A reply from recalled memories: prompt, model, rendering. Imports memory; never discord."""
