"""Models as files: which are here, what they need, whether they are whole; and the one place that downloads them."""

from __future__ import annotations

import datetime as dt
import hashlib
import importlib.util
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from safetensors import SafetensorError, safe_open

from cogs.memory.embedding_service import EmbedderSpec
from cogs.memory.errors import MnemeError
from cogs.memory.rerankers.base import RerankerSpec, RerankerUnavailable
from cogs.memory.rerankers.files import folder_name, load_tokenizer, local_folder, read_json, require_safetensors

if TYPE_CHECKING:
    from huggingface_hub import HfApi

MANIFEST: Final = "mneme-fetch.json"
COMMIT: Final = re.compile(r"[0-9a-f]{40}")
ABBREVIATED: Final = re.compile(r"[0-9a-f]{7,39}")
DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
"""A commit as pages print it, and a day after which nothing counts. The hub's API takes whole commits only, so both
are looked up in the repository's history."""
PLAIN_FILES: Final = (".safetensors", ".json", ".jinja", ".txt", ".model", ".md")
ONNX_FORMATS: Final = frozenset({"hindsight", "onnx-cross-encoder"})
CODE_FORMATS: Final = frozenset({"querit"})
"""Formats whose checkpoints bring code. It is fetched to be read; it runs only where the operator names the model."""
GB: Final = 1024**3
OVERHEAD: Final = 1.2
"""Memory beside the weights: activations, the tokenizer, the libraries."""
BILLIONS: Final = {
    "lycheemem": 0.6,
    "kalm-nano": 0.54,
    "kalm-small": 2.0,
    "kalm-large": 8.0,
    "bge-reranker-v2-m3": 0.57,
    "ms-marco-minilm": 0.033,
    "hindsight": 0.033,
    "lychee-": 1.5,
    "minilm": 0.023,
    "late-interaction": 0.023,
}
"""Parameters in billions where the name does not tell them."""

ModelSpec = RerankerSpec | EmbedderSpec


class FetchError(MnemeError):
    """A model could not be fetched; the message says why."""


@dataclass(frozen=True, slots=True)
class ModelReport:
    """What is known of one model on this machine; ``sentence`` tells it to a person."""

    name: str
    format: str
    id: str
    revision: str | None
    license: str
    present: bool
    sentence: str

    def as_json(self) -> dict[str, Any]:
        """Return the object that ``models list --json`` prints."""
        names = ("name", "format", "id", "revision", "license", "present")
        return {name: getattr(self, name) for name in names}


def sources(spec: ModelSpec) -> list[tuple[str, str | None]]:
    """Return the repositories a model is made of: its own, and that of the model under an adapter."""
    own = [(spec.id, spec.revision)]
    base = [(spec.base, spec.base_revision)] if isinstance(spec, RerankerSpec) and spec.base else []
    return own + base


def model_format(spec: ModelSpec) -> str:
    """Return a reranker's format, or "embedder"."""
    return spec.format if isinstance(spec, RerankerSpec) else "embedder"


def is_remote(spec: ModelSpec) -> bool:
    """Return whether the model is a server's, so that there is nothing to fetch."""
    return spec.id.startswith(("http://", "https://"))


def find(model_id: str, revision: str | None, models_dir: Path) -> Path | None:
    """Return the folder of a repository, of a local model or of one inside a Python package."""
    if model_id.startswith("package:"):
        found = importlib.util.find_spec(model_id.removeprefix("package:"))
        places = None if found is None else found.submodule_search_locations
        return Path(places[0]) / "model" if places else None
    return local_folder(model_id, revision, models_dir)


def describe(spec: ModelSpec, models_dir: Path, memory_gb: float, cuda_gb: float | None) -> ModelReport:
    """Tell whether a model is here, its licence, the memory it needs, and whether this machine can run it.

    ``memory_gb`` is this machine's, ``cuda_gb`` its GPU's (``None`` without one).
    """

    def report(present: bool, sentence: str) -> ModelReport:
        return ModelReport(
            spec.name, model_format(spec), spec.id, spec.revision, spec.license, present, f"{sentence} ({spec.license})"
        )

    if is_remote(spec):
        return report(True, "runs on a server, so nothing is needed here")
    folders = [find(model_id, revision, models_dir) for model_id, revision in sources(spec)]
    present = all(folder is not None for folder in folders)
    commit = "" if spec.revision is not None else " --revision COMMIT"
    state = "present" if present else f"not here, fetch it with `python bot.py models fetch {spec.name}{commit}`"
    weights = _weights_gb([folder for folder in folders if folder is not None]) if present else None
    return report(present, f"{state}; {_fits(_billions(spec), weights, memory_gb, cuda_gb)}")


def _weights_gb(folders: Iterable[Path]) -> float | None:
    files = [file for folder in folders for pattern in ("*.safetensors", "*.onnx") for file in folder.glob(pattern)]
    return sum(file.stat().st_size for file in files) / GB if files else None


def _billions(spec: ModelSpec) -> float | None:
    for part, billions in BILLIONS.items():
        if part in spec.name:
            return billions
    match = re.search(r"(?<![\w.])(\d+(?:\.\d+)?)b(?!\w)", spec.name.lower())
    # A mixture's name tells the parameters in use, not those in memory.
    return float(match.group(1)) if match else None


def _fits(billions: float | None, weights_gb: float | None, memory_gb: float, cuda_gb: float | None) -> str:
    if billions is None and weights_gb is None:
        return "its memory need is not published"
    # bfloat16 on a GPU; on a CPU float32 unless the profile says bfloat16.
    small = (billions * 2e9 / GB if billions is not None else weights_gb or 0.0) * OVERHEAD
    if 2 * small < 0.3:
        return "needs less than 0.3 GB; any machine can run it"
    need = f"needs about {small:.1f} GB in bfloat16, {2 * small:.1f} GB in float32"
    if cuda_gb is not None and small <= cuda_gb:
        return f"{need}; this machine's GPU can run it"
    if 2 * small <= memory_gb:
        return f"{need}; this machine can run it on the CPU"
    if small <= memory_gb:
        return f"{need}; this machine can run it on the CPU in bfloat16 only"
    return f"{need}; this machine cannot run it, for it has {memory_gb:.1f} GB"


def check(spec: ModelSpec, models_dir: Path) -> str:
    """Look through a model's files; return a sentence of what was checked.

    Raises:
        RerankerUnavailable: it is not here, or a file is missing, cut short or changed.
    """
    if is_remote(spec):
        return f"{spec.name} runs on a server; there are no files to check."
    count = 0
    for model_id, revision in sources(spec):
        folder = find(model_id, revision, models_dir)
        if folder is None:
            raise RerankerUnavailable(
                f"{spec.name} needs {model_id}, which is not here; "
                f"fetch it with `python bot.py models fetch {spec.name}`."
            )
        count += _check_folder(folder, model_format(spec))
    return f"{spec.name} is whole: {count} files checked."


def _check_folder(folder: Path, format_name: str) -> int:
    weights = list(folder.glob("*.onnx")) if format_name in ONNX_FORMATS else []
    for file in weights or require_safetensors(folder):
        if file.suffix == ".safetensors":
            _check_safetensors(file)
    if (folder / "tokenizer.json").is_file():
        load_tokenizer(folder / "tokenizer.json")
    for file in folder.glob("*.json"):
        _readable(file)
    manifest = folder / MANIFEST
    if manifest.is_file():
        for name, stated in read_json(manifest).get("files", {}).items():
            file = folder / name
            if not file.is_file():
                raise RerankerUnavailable(f"The file {file} is missing; fetch the model again.")
            if sha256_of(file) != stated["sha256"]:
                raise RerankerUnavailable(f"The file {file} was changed or damaged; fetch the model again.")
    return sum(1 for file in folder.iterdir() if file.is_file())


def _readable(file: Path) -> None:
    try:
        json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RerankerUnavailable(f"The model file {file} cannot be read: {error}.") from error


def _check_safetensors(file: Path) -> None:
    try:
        with safe_open(file, framework="pt") as tensors:
            if not tensors.keys():
                raise RerankerUnavailable(f"The weights {file} are empty.")
    except (SafetensorError, OSError) as error:
        raise RerankerUnavailable(f"The weights {file} are cut short or damaged: {error}.") from error


def sha256_of(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
