"""Fetching a model from the hub: whole, checked, and never code."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from cogs.memory.errors import MnemeError
from cogs.memory.inference.model_folders import (
    folder_name,
    local_folder,
)
from cogs.memory.inference.model_specs import RerankerUnavailable
from cogs.memory.models.catalogue import (
    GB,
    MANIFEST,
    ONNX_FORMATS,
    ModelSpec,
    _check_folder,
    is_remote,
    model_format,
    sha256_of,
    sources,
)

if TYPE_CHECKING:
    from huggingface_hub import HfApi

COMMIT: Final = re.compile(r"[0-9a-f]{40}")
ABBREVIATED: Final = re.compile(r"[0-9a-f]{7,39}")
DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
"""A commit as pages print it, and a day after which nothing counts. The hub's API takes whole commits only, so both
are looked up in the repository's history."""
PLAIN_FILES: Final = (".safetensors", ".json", ".jinja", ".txt", ".model", ".md")
CODE_FORMATS: Final = frozenset({"querit"})
"""Formats whose checkpoints bring code. It is fetched to be read; it runs only where the operator names the model."""


class FetchError(MnemeError):
    """A model could not be fetched; the message says why."""


def git_blob_of(path: Path) -> str:
    """Return the hash that git, and with it the hub, gives a file that is not in large-file storage."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def wanted_files(names: Iterable[str], format_name: str) -> list[str]:
    """Return which files of a repository are fetched: safetensors, configuration and tokenizer; never pickles.

    Only what lies in the root and in sentence-transformers' module folders (``1_Pooling``) is taken.
    """
    endings = PLAIN_FILES + ((".onnx",) if format_name in ONNX_FORMATS else ())
    endings += (".py",) if format_name in CODE_FORMATS else ()
    chosen = []
    for name in names:
        path = PurePosixPath(name)
        inside = len(path.parts) == 1 or (len(path.parts) == 2 and re.match(r"\d+_\w+$", path.parts[0]))
        if path.suffix in endings and inside and ".." not in path.parts and not path.is_absolute():
            chosen.append(name)
    return sorted(chosen)


Progress = Callable[[str, int, int], None]


def fetch(
    spec: ModelSpec,
    models_dir: Path,
    *,
    revision: str | None = None,
    endpoint: str | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Download a model at its pinned revision into ``models_dir``; return its folders.

    Each file's checksum is compared with the hub's. A folder gets its name only when it is whole, so an interrupted
    download is never loaded; the next one goes on with it. ``revision`` is for entries that pin none.
    ``progress(file, done, total)`` counts files.

    Args:
        spec: the entry of the model.
        models_dir: the folder of all models.
        revision: a commit, a tag or a day, for an entry that pins none.
        endpoint: another hub than huggingface.co.
        progress: called with a file's name, the number of files done and the number of all.

    Raises:
        FetchError: nothing to fetch, no revision, no room, no network, or a file that is not what the hub says.
    """
    if is_remote(spec) or spec.id.startswith("package:"):
        raise FetchError(f"{spec.name} needs no files from the hub.")
    folders = []
    for number, (model_id, pinned) in enumerate(sources(spec)):
        if pinned is not None and revision is not None and number == 0 and revision != pinned:
            raise FetchError(f"{spec.name} is pinned to {pinned}; change its entry to fetch another revision.")
        asked = pinned or revision
        if asked is None:
            raise FetchError(
                f"{spec.name} pins no revision of {model_id}; choose a commit on its page and add `--revision COMMIT`."
            )
        folder = local_folder(model_id, pinned, models_dir)
        if folder is None or (folder.parent == models_dir and not _is_whole(folder, model_format(spec))):
            target = models_dir / folder_name(model_id, pinned)
            folder = _fetch_repository(spec, model_id, asked, target, endpoint, progress)
        folders.append(folder)
    return folders


def _is_whole(folder: Path, format_name: str) -> bool:
    try:
        _check_folder(folder, format_name)
    except RerankerUnavailable:
        return False
    return True


def _fetch_repository(
    spec: ModelSpec, model_id: str, revision: str, target: Path, endpoint: str | None, progress: Progress | None
) -> Path:
    import httpx2  # the hub's client: errors of the connection pass through it
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import HFValidationError

    try:
        api = HfApi(endpoint=endpoint)
        found_by_history = ABBREVIATED.fullmatch(revision) or DAY.fullmatch(revision)
        commit = _whole_commit(api, model_id, revision) if found_by_history else revision
        info = api.model_info(model_id, revision=commit, files_metadata=True, timeout=30)
        siblings = {file.rfilename: file for file in info.siblings or []}
        names = wanted_files(siblings, model_format(spec))
        _check_room(target.parent, [siblings[name].size or 0 for name in names], spec.name)
        if COMMIT.fullmatch(commit) and info.sha != commit:
            raise FetchError(f"The hub answered with the commit {info.sha} where {commit} was asked for.")
        partial = target.with_name(f".partial-{target.name}")
        files = {}
        for done, name in enumerate(names):
            if progress is not None:
                progress(name, done, len(names))
            path = Path(hf_hub_download(model_id, name, revision=info.sha, local_dir=partial, endpoint=endpoint))
            files[name] = {"size": path.stat().st_size, "sha256": _checked(path, siblings[name], model_id)}
    except (httpx2.HTTPError, HFValidationError, OSError) as error:
        raise FetchError(f"{model_id} could not be fetched: {_first_line(error)}.") from error
    if progress is not None:
        progress("", len(names), len(names))
    manifest = {"id": model_id, "revision": revision, "commit": info.sha, "license": spec.license, "files": files}
    (partial / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    shutil.rmtree(partial / ".cache", ignore_errors=True)
    try:
        _check_folder(partial, model_format(spec))
    except RerankerUnavailable as error:
        shutil.rmtree(partial)
        raise FetchError(f"{model_id} was fetched but cannot be used: {error}") from error
    if target.exists():
        shutil.rmtree(target)
    os.replace(partial, target)
    return target


def _whole_commit(api: HfApi, model_id: str, pin: str) -> str:
    """Return the one commit of the repository's history that begins so, or the last one of a day (UTC) or before it.

    Raises:
        FetchError: there is none, or more than one.
    """
    history = api.list_repo_commits(model_id)
    if DAY.fullmatch(pin):
        until = [one for one in history if one.created_at.astimezone(dt.UTC).date().isoformat() <= pin]
        if not until:
            raise FetchError(f"{model_id} has no commit of {pin} or before it.")
        return max(until, key=lambda one: one.created_at).commit_id
    found = [one.commit_id for one in history if one.commit_id.startswith(pin)]
    if len(found) != 1:
        raise FetchError(f"{model_id} has {len(found) or 'no'} commits that begin with {pin}, not one.")
    return found[0]


def _checked(path: Path, sibling: Any, model_id: str) -> str:
    """Return the file's SHA-256 after comparing it with what the hub states."""
    digest = sha256_of(path)
    good = git_blob_of(path) == sibling.blob_id if sibling.lfs is None else digest == sibling.lfs.sha256
    if not good:
        path.unlink()
        raise FetchError(f"The file {path.name} of {model_id} is not what the hub states; try again.")
    return digest


def _check_room(folder: Path, sizes: Sequence[int], name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    free, needed = shutil.disk_usage(folder).free, sum(sizes)
    if needed > free:
        raise FetchError(f"{name} takes {needed / GB:.1f} GB, and {folder} has {free / GB:.1f} GB free.")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
