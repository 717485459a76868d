"""Which files an import reads: files, folders inside folders, and archives, each within bounds."""

from __future__ import annotations

import io
import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Final

from cogs.imports.errors import BadExport
from cogs.memory.errors import BadRequest
from cogs.memory.text.sanitize import one_line

if TYPE_CHECKING:
    from typing_extensions import Buffer

MAX_FILES: Final = 100_000
MAX_RATIO: Final = 200
"""How many times its size an archive may unpack to. Exports shrink 10 to 40 times; a bomb is one in thousands."""

SMALL: Final = 50_000_000
"""Bytes that any archive may unpack to, however well they are packed."""

MAX_DEPTH: Final = 32
EXPORT_SUFFIXES: Final = frozenset({".json", ".csv", ".html", ".htm", ".txt", ".zip"})
LEFT_ASIDE: Final = frozenset({"guild.json"})


@dataclass(frozen=True, slots=True)
class Source:
    """A file to read.

    ``name`` is what people know it by, ``path`` its place within what was named, ``size`` its bytes when unpacked.
    ``named`` is true where somebody named the file itself, and not a folder or an archive that holds it.
    """

    name: str
    path: PurePosixPath
    size: int
    open: Callable[[], io.BufferedReader]
    named: bool = False


@dataclass(frozen=True, slots=True)
class NotImported:
    """A file that was not imported, and why, as a sentence."""

    name: str
    why: str


@dataclass(slots=True)
class Tree:
    """What was named once: a file, a folder or an archive, as the files in it."""

    files: list[Source] = field(default_factory=list)
    refused: list[NotImported] = field(default_factory=list)


class Sources:
    """The files of an import, and the archives that stay open until :meth:`close`."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.trees: list[Tree] = []

    def look(self, paths: Iterable[Path]) -> None:
        """Look at everything that was named.

        Raises:
            BadRequest: something that was named is not there, or holds too many files.
        """
        for path in paths:
            self.trees.append(self._tree(path))

    def close(self) -> None:
        """Close the archives."""
        self._stack.close()

    def _tree(self, path: Path) -> Tree:
        if not path.exists():
            raise BadRequest(f"There is no file {one_line(str(path), 200)}.")
        if path.is_dir():
            return _folder(path)
        if zipfile.is_zipfile(path):
            return _archive(path, self._stack)
        return Tree([_file(path, PurePosixPath(path.name), named=True)])


def _file(path: Path, place: PurePosixPath, *, named: bool = False) -> Source:
    return Source(one_line(str(place), 120), place, path.stat().st_size, lambda: path.open("rb"), named)


def _folder(folder: Path) -> Tree:
    """Return the files below a folder, in the order of their paths. Links are not followed out of it."""
    tree = Tree()
    found: list[Path] = []
    for walked, folders, names in os.walk(folder):
        depth = len(Path(walked).relative_to(folder).parts)
        # An export's own media lie in "NAME.json_Files"; what people attached is no export.
        folders[:] = sorted(name for name in folders if not name.endswith("_Files")) if depth < MAX_DEPTH else []
        found += [Path(walked, name) for name in names if Path(name).suffix.lower() in EXPORT_SUFFIXES]
        if len(found) > MAX_FILES:
            raise BadRequest(f"{one_line(folder.name)} holds more than {MAX_FILES:,} files; import parts of it.")
    for path in sorted(found):
        place = PurePosixPath(path.relative_to(folder).as_posix())
        if path.name in LEFT_ASIDE or not stat.S_ISREG(path.lstat().st_mode):
            continue
        if path.suffix.lower() == ".zip":
            tree.refused.append(
                NotImported(one_line(str(place), 120), "is an archive inside a folder; name it itself.")
            )
        else:
            tree.files.append(_file(path, place))
    return tree


def _archive(path: Path, stack: ExitStack) -> Tree:
    """Return the files of an archive, which are read out of it one at a time and never unpacked to the disk."""
    name = one_line(path.name, 60)
    try:
        archive = stack.enter_context(zipfile.ZipFile(path))
    except (OSError, zipfile.BadZipFile, NotImplementedError) as error:
        return Tree(refused=[NotImported(name, f"is an archive that cannot be read ({type(error).__name__}).")])
    entries = archive.infolist()
    unpacked = sum(entry.file_size for entry in entries)
    if len(entries) > MAX_FILES or unpacked > max(SMALL, MAX_RATIO * path.stat().st_size):
        why = "would unpack to far more than any exports do; unpack it yourself if you trust it, and import the folder."
        return Tree(refused=[NotImported(name, why)])
    tree = Tree()
    for entry in sorted(entries, key=lambda entry: entry.filename):
        place = PurePosixPath(entry.filename)
        if entry.is_dir() or place.suffix.lower() not in EXPORT_SUFFIXES or place.name in LEFT_ASIDE:
            continue
        if any(part.endswith("_Files") or part == "__MACOSX" for part in place.parts):
            continue
        told = one_line(f"{path.name}/{place}", 120)
        if place.suffix.lower() == ".zip":
            tree.refused.append(NotImported(told, "is an archive inside an archive; unpack it and name it itself."))
        elif entry.flag_bits & 1:
            tree.refused.append(NotImported(told, "is locked with a password; unpack it first."))
        else:
            tree.files.append(Source(told, place, entry.file_size, _opener(archive, entry, told)))
    return tree


def _opener(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str) -> Callable[[], io.BufferedReader]:
    def opened() -> io.BufferedReader:
        try:
            return io.BufferedReader(_Unpacked(archive.open(entry), entry.file_size, name))
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError):
            raise BadExport(
                f"{name} cannot be unpacked: the archive is damaged or of a kind that is not known."
            ) from None

    return opened


class _Unpacked(io.RawIOBase):
    """A file of an archive, whose damage is told as a sentence, and which never grows beyond what it says."""

    def __init__(self, stream: IO[bytes], size: int, name: str) -> None:
        super().__init__()
        self._stream = stream
        self._left = size
        self._name = name

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        """Fill a buffer."""
        view = memoryview(buffer)
        try:
            data = self._stream.read(min(self._left, len(view)))
        except (zipfile.BadZipFile, OSError, EOFError, ValueError, zlib.error):
            raise BadExport(f"{self._name} cannot be unpacked: the archive is damaged.") from None
        self._left -= len(data)
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the file."""
        self._stream.close()
        super().close()
