"""What somebody sees who mistypes a command: a sentence and where to look, never a traceback."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from cogs.lab.datasets.loaders import load_dataset
from config.settings import PROJECT_DIR


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ((), "Usage: bot.py"),
        (("nonsense",), "No such command 'nonsense'"),
        (("recall",), "Missing argument 'query'"),
        (("recall", "x", "--limit", "many"), "--limit"),
        (("recall", "x", "--colour", "red"), "--colour"),
        (("models",), "models --help"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_mistyped_command_is_one_sentence_and_exit_code_2(typed: tuple[str, ...], said: str) -> None:
    done = subprocess.run(
        [sys.executable, "bot.py", *typed], capture_output=True, text=True, cwd=PROJECT_DIR, check=False, timeout=60
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert said in done.stdout + done.stderr
    if typed:
        assert "--help" in done.stderr
        assert len(done.stderr.splitlines()) <= 3


def test_the_example_of_evaluate_names_a_data_set_that_is_here() -> None:
    done = subprocess.run(
        [sys.executable, "bot.py", "evaluate", "--help"], capture_output=True, text=True, cwd=PROJECT_DIR, check=True
    )
    example = re.search(r"python bot\.py evaluate (\S+)", done.stdout)
    assert example is not None
    found = load_dataset(PROJECT_DIR / example[1])
    assert not found.warnings
    assert len(found.queries) > 20
