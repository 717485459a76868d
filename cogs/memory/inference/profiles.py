"""Hardware profiles: which models run where, read from ``config/profiles.yaml``."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import psutil
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from cogs.memory.errors import ProfileError
from cogs.memory.inference.model_specs import LoadOptions
from cogs.memory.inference.yaml_entries import load_entries
from cogs.memory.records import ProfileReport

Device = Literal["cuda", "mps", "cpu"]
GB = 1024**3


class Needs(BaseModel):
    """What a machine must have; ``memory_gb`` is of the GPU for ``cuda``, of the machine otherwise.

    On a GPU no more than that is used, however much it has, because other programs may use it too.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    device: Device = "cpu"
    memory_gb: float = Field(default=0.5, gt=0)


class MemoryProfile(BaseModel):
    """Everything that differs between machines.

    ``candidates`` is how many of the fused hits the reranker sees; ``deadline_ms`` how long it may take;
    ``batch_tokens`` bounds one forward pass; ``max_document_tokens`` cuts a document's tail; ``min_score`` leaves out
    hits below it; ``index`` is how vectors are held and searched (``vector_store/segment.py``); ``early_exit`` is the
    tolerance at which scoring stops early (off where absent); ``blend`` is the weight of the fused score beside the
    reranker's in the final order (0: none).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    description: str = ""
    needs: Needs = Needs()
    device: Device = "cpu"
    dtype: Literal["float32", "bfloat16", "int8"] = "float32"
    embedder: str = "mneme-embedder"
    reranker: str | None = None
    candidates: int = Field(default=50, ge=1, le=1000)
    deadline_ms: int = Field(default=4000, ge=10)
    batch_tokens: int = Field(default=4096, ge=64)
    max_document_tokens: int = Field(default=512, ge=8)
    embed_batch: int = Field(default=256, ge=1, le=4096)
    index: Literal["flat-fp16", "flat-int8", "signs-fp16"] = "flat-fp16"
    min_score: float = Field(default=0.0, ge=0, le=1)
    blend: float = Field(default=0.0, ge=0, le=1)
    early_exit: float | None = Field(default=None, ge=0, le=1)

    def load_options(self, models_dir: Path, *, local_only: bool = True) -> LoadOptions:
        """Return how this profile loads a model."""
        return LoadOptions(
            device=self.device,
            dtype=self.dtype,
            batch_tokens=self.batch_tokens,
            max_document_tokens=self.max_document_tokens,
            models_dir=models_dir,
            local_only=local_only,
            threads=os.cpu_count(),
        )


def load_profiles(path: Path) -> dict[str, MemoryProfile]:
    """Read every profile, best first.

    Raises:
        ProfileError: the file is missing or a profile in it is malformed; the sentence names it.
    """
    profiles = load_entries(path, "profile", TypeAdapter(MemoryProfile), ProfileError)
    if not profiles:
        raise ProfileError(f"{path} holds no profile.")
    return profiles


@contextmanager
def keeping_to_memory(profile: MemoryProfile) -> Iterator[None]:
    """Limit PyTorch to the GPU memory of the profile from now on; if the body raises, the former limit comes back.

    What needs more runs out of memory, as it would on a GPU of that size.
    """
    if profile.device != "cuda":
        yield
        return
    import torch

    before, loaded = torch.cuda.get_per_process_memory_fraction(0), False
    total = torch.cuda.get_device_properties(0).total_memory / GB
    torch.cuda.set_per_process_memory_fraction(min(1.0, profile.needs.memory_gb / total), 0)
    try:
        yield
        loaded = True
    finally:
        if not loaded:
            torch.cuda.set_per_process_memory_fraction(before, 0)


def _has_gpu_driver() -> bool:
    """Return whether a driver is here without which PyTorch can use no GPU: CUDA's, ROCm's, or Apple's own."""
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    if Path("/dev/kfd").exists():
        return True
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


class Machine(BaseModel):
    """What this machine has, in GB."""

    cuda_gb: float | None = None
    mps: bool = False
    memory_gb: float = 0.0
    cores: int = 1

    @classmethod
    def detect(cls) -> Machine:
        """Look at the hardware; cheap, and never fails for want of a GPU.

        PyTorch, which takes seconds to import, is asked only where there is a driver that it could use.
        """
        cuda, mps = None, False
        if _has_gpu_driver():
            import torch

            cuda = torch.cuda.get_device_properties(0).total_memory / GB if torch.cuda.is_available() else None
            mps = torch.backends.mps.is_available()
        return cls(
            cuda_gb=cuda,
            mps=mps,
            memory_gb=psutil.virtual_memory().total / GB,
            cores=os.cpu_count() or 1,
        )

    def why_not(self, profile: MemoryProfile) -> str | None:
        """Return why a profile cannot run here, or None where it can."""
        needs = profile.needs
        if needs.device == "cuda":
            if self.cuda_gb is None:
                return "it needs an NVIDIA GPU, and none was found"
            if self.cuda_gb < needs.memory_gb:
                return f"it needs {needs.memory_gb:g} GB of GPU memory, and this one has {self.cuda_gb:.1f}"
            return None
        if needs.device == "mps" and not self.mps:
            return "it needs an Apple M-series GPU"
        if self.memory_gb < needs.memory_gb:
            return f"it needs {needs.memory_gb:g} GB of memory, and this machine has {self.memory_gb:.1f}"
        return None


def choose_profile(profiles: dict[str, MemoryProfile], machine: Machine, wanted: str | None) -> MemoryProfile:
    """Return the profile that an operator named, or the first that this machine can run.

    Raises:
        ProfileError: there is no such profile, or this machine cannot run it.
    """
    if wanted is not None:
        profile = profiles.get(wanted)
        if profile is None:
            raise ProfileError(f"There is no profile {wanted!r}; choose one of {', '.join(profiles)}.")
        if reason := machine.why_not(profile):
            raise ProfileError(f"The profile {wanted} cannot run here: {reason}.")
        return profile
    for profile in profiles.values():
        if machine.why_not(profile) is None:
            return profile
    raise ProfileError("No profile can run on this machine; see `python bot.py doctor`.")


def report(profiles: dict[str, MemoryProfile], machine: Machine, active: str) -> list[ProfileReport]:
    """Return every profile with whether this machine can run it and why not."""
    return [
        ProfileReport(
            name=profile.name,
            description=profile.description,
            active=profile.name == active,
            runnable=(reason := machine.why_not(profile)) is None,
            reason=reason,
            reranker=profile.reranker,
            embedder=profile.embedder,
        )
        for profile in profiles.values()
    ]
