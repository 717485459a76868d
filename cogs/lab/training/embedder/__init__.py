"""How ``mneme-embedder`` is made: its base out of a wheel, pairs of all languages, contrastive training, export."""
