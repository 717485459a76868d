"""What people and models get to read: sanitising, excerpts, terms. Pure."""
