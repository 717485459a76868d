"""The errors that a person is told of: each message is one sentence that says what to do."""

from __future__ import annotations


class MnemeError(Exception):
    """Something went wrong that the person who asked can understand; ``str`` of it is shown as it is."""


class BadRequest(MnemeError):
    """The request itself cannot be served: an empty query, a date that cannot be read, a limit of 0."""


class ProfileError(MnemeError):
    """A profile does not exist, cannot run on this machine, or its models failed to load."""


class StorageError(MnemeError):
    """The database is locked, full, damaged, or from a newer version."""


class Unstorable(StorageError):
    """The database will never take this; trying again is of no use."""


class FolderInUse(StorageError):
    """Another process owns the data folder."""
