"""One file per published format; :mod:`registry` finds the one a name asks for."""
