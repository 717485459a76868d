"""Who may read what, from a plain picture of a server. Pure."""
