"""Find out what a data set on disk is, and read it."""

from __future__ import annotations

from pathlib import Path

from cogs.memory.lab.beir import load_beir
from cogs.memory.lab.datasets import Dataset, DatasetError


def load_dataset(path: Path) -> Dataset:
    """Read a data set: a folder in BEIR's layout.

    Raises:
        DatasetError: it is not there, or cannot be read.
    """
    if path.is_dir():
        return load_beir(path)
    raise DatasetError(f"{path} is no folder in BEIR's layout.")
