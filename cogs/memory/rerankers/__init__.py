"""Query and passages to scores: the contract, the registry, formats and the packed forward pass."""
