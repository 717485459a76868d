"""What a profile takes of a GPU. No GPU is here: PyTorch's three calls about its memory are answered by the test."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from cogs.memory.inference.profiles import GB, MemoryProfile, Needs, keeping_to_memory


@pytest.fixture
def fractions(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The shares of an 80 GB GPU that PyTorch was allowed, one after another."""
    found = [1.0]
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda _: SimpleNamespace(total_memory=80 * GB))
    monkeypatch.setattr("torch.cuda.get_per_process_memory_fraction", lambda _: found[-1])
    monkeypatch.setattr("torch.cuda.set_per_process_memory_fraction", lambda share, _: found.append(share))
    return found


def profile(memory_gb: float, device: str = "cuda") -> MemoryProfile:
    needs = Needs.model_validate({"device": device, "memory_gb": memory_gb})
    return MemoryProfile.model_validate({"name": "one", "needs": needs, "device": device})


def test_a_profile_takes_no_more_of_a_gpu_than_it_says(fractions: list[float]) -> None:
    with keeping_to_memory(profile(20)):
        assert fractions[-1] == 0.25
    assert fractions[-1] == 0.25, "its models go on to live within it"
    with keeping_to_memory(profile(100)):
        assert fractions[-1] == 1.0


def test_a_profile_that_fails_to_load_leaves_the_other_its_memory(fractions: list[float]) -> None:
    with keeping_to_memory(profile(20)):
        pass

    @keeping_to_memory(profile(4))
    def load() -> None:
        assert fractions[-1] == 0.05
        raise RuntimeError("no model")

    with pytest.raises(RuntimeError, match="no model"):
        load()
    assert fractions[-1] == 0.25


def test_a_profile_of_the_processor_asks_no_gpu(fractions: list[float]) -> None:
    with keeping_to_memory(profile(2, "cpu")):
        pass
    assert fractions == [1.0]
