"""Merging: the ends of the arc, vectors without an angle, and a search that finds what is better."""

from __future__ import annotations

import math

import pytest
import torch

from cogs.lab.training.merge import apply_vector, mean_weights, search_merge, slerp, task_vector

BASE = {"a": torch.zeros(2), "b": torch.ones(1, 1), "steps": torch.tensor(3)}


def weights(x: float, y: float, z: float = 0.0) -> dict[str, torch.Tensor]:
    return {"a": torch.tensor([x, y]), "b": torch.tensor([[1.0 + z]]), "steps": torch.tensor(3)}


def test_slerp_begins_at_the_first_and_ends_at_the_second() -> None:
    first, second = (task_vector(w, BASE) for w in (weights(1, 0), weights(0, 2)))
    for t, expected in ((0.0, first), (1.0, second)):
        merged = slerp(first, second, t)
        assert all(torch.allclose(merged[name], expected[name], atol=1e-6) for name in expected)


def test_slerp_of_unit_vectors_keeps_their_length_where_a_line_would_not() -> None:
    first, second = (task_vector(w, BASE) for w in (weights(1, 0), weights(0, 1)))
    middle = slerp(first, second, 0.5)
    assert float(middle["a"].norm()) == pytest.approx(1.0, abs=1e-6)
    assert middle["a"].tolist() == pytest.approx([math.sqrt(0.5)] * 2, abs=1e-6)


def test_equal_vectors_stay_what_they_are() -> None:
    vector = task_vector(weights(0.3, -0.2, 0.1), BASE)
    merged = slerp(vector, dict(vector), 0.37)
    assert all(torch.allclose(merged[name], vector[name], atol=1e-6) for name in vector)


def test_opposite_and_empty_vectors_take_the_straight_line_and_stay_finite() -> None:
    vector = task_vector(weights(1, 2), BASE)
    opposite = {name: -tensor for name, tensor in vector.items()}
    assert slerp(vector, opposite, 0.25)["a"].tolist() == pytest.approx([0.5, 1.0])
    nothing = {name: torch.zeros_like(tensor) for name, tensor in vector.items()}
    assert slerp(nothing, vector, 0.5)["a"].tolist() == pytest.approx([0.5, 1.0])
    assert torch.isfinite(slerp(nothing, nothing, 0.5)["a"]).all()


def test_t_outside_the_arc_is_refused() -> None:
    vector = task_vector(weights(1, 0), BASE)
    with pytest.raises(ValueError, match="between 0 and 1"):
        slerp(vector, vector, 1.5)


def test_the_task_vector_is_scaled_and_counters_are_left_alone() -> None:
    merged = apply_vector(BASE, task_vector(weights(0, 2), BASE), 0.5)
    assert merged["a"].tolist() == pytest.approx([0.0, 1.0])
    assert int(merged["steps"]) == 3
    assert merged["steps"].dtype == BASE["steps"].dtype


def test_other_architectures_are_refused() -> None:
    with pytest.raises(ValueError, match="same architecture"):
        task_vector({"a": torch.zeros(3), "b": BASE["b"], "steps": BASE["steps"]}, BASE)


def test_half_precision_weights_come_back_in_half_precision() -> None:
    base = {"a": torch.zeros(2, dtype=torch.bfloat16)}
    assert apply_vector(base, {"a": torch.ones(2)}, 0.5)["a"].dtype == torch.bfloat16


def test_the_search_beats_both_ends_and_refuses_a_model_that_harms() -> None:
    target = torch.tensor([0.9, 0.7])

    def score(candidate: dict[str, torch.Tensor]) -> float:
        return -float((candidate["a"] - target).norm())

    merged, tried = search_merge(BASE, [weights(1, 0), weights(0, 1)], score, steps=60)
    assert score(merged) > max(score(weights(1, 0)), score(weights(0, 1))) + 0.4
    assert 40 <= sum(map(len, tried)) <= 60

    def first_only(candidate: dict[str, torch.Tensor]) -> float:
        return -float((candidate["a"] - torch.tensor([1.0, 0.0])).norm())

    kept, _ = search_merge(BASE, [weights(1, 0), weights(-5, 3)], first_only, steps=40)
    assert first_only(kept) == pytest.approx(0.0, abs=1e-6)


def test_a_mean_lies_between_its_models_and_wants_the_same_tensors() -> None:
    found = mean_weights([weights(1, 0), weights(3, 4)])
    assert torch.equal(found["a"], weights(2, 2)["a"])
    with pytest.raises(ValueError, match="same architecture"):
        mean_weights([weights(1, 0), {"other": torch.zeros(2)}])
    with pytest.raises(ValueError, match="at least one"):
        mean_weights([])
