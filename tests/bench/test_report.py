"""What a benchmark says of its targets."""

from __future__ import annotations

from cogs.bench.report import Bench, Target


def test_a_quick_run_says_nothing_of_targets_that_it_does_not_measure() -> None:
    bench = Bench("search", {}, {})
    bench.targets = [Target("fast", "0.5×", False), Target("exact", "1.0000", True, exact=True)]
    bench.leave_open()
    assert [(target.target, target.word) for target in bench.targets] == [("fast", "not measured"), ("exact", "yes")]
