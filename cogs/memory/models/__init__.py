"""Which models are here, fetching them, loading those of a profile."""
