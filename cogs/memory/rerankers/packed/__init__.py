"""The packed forward pass: sequences without padding, shared prefixes, attention by span."""
