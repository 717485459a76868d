"""What somebody sees who mistypes a command: a sentence and where to look, never a traceback."""

from __future__ import annotations

import subprocess
import sys

import pytest

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
