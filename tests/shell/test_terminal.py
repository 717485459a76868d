"""The console at a real terminal, and fed with bytes that are no text."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from config.settings import PROJECT_DIR
from tests.memory.building import SHARED_MODELS

pty = pytest.importorskip("pty")
CONSOLE = [sys.executable, str(PROJECT_DIR / "bot.py"), "console", "--sample"]
PATIENCE = 160.0


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of a process that remembers in a folder."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MNEME_", "DISCORD_", "DATABASE_URL"))}
    own = {"MNEME_DATA_DIR": str(folder), "MNEME_MODELS_DIR": str(SHARED_MODELS), "MNEME_PROFILE": "minimal"}
    return kept | own


class AtTerminal:
    """A console on a pseudo-terminal."""

    def __init__(self, folder: Path) -> None:
        self.pid, self._side = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.execve(sys.executable, CONSOLE, environment(folder))

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._side, keys)

    def until(self, wanted: bytes) -> bytes:
        """Return what is shown up to and with ``wanted``."""
        shown = b""
        while wanted not in shown:
            assert select.select([self._side], [], [], PATIENCE)[0], shown
            shown += os.read(self._side, 4096)
        return shown

    def press_until(self, key: bytes, wanted: bytes) -> None:
        """Press a key, again after a second as a person would, until something is shown.

        The system may hand Ctrl-C to a thread of a library, where it ends no read; the next one arrives.
        """
        for _ in range(60):
            self.type(key)
            if select.select([self._side], [], [], 1.0)[0]:
                break
        self.until(wanted)

    def ended(self) -> int:
        """Return the exit code."""
        while True:
            try:
                if not os.read(self._side, 4096):
                    break
            except OSError:  # the other side is closed
                break
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_ctrl_c_gives_a_new_prompt_without_enter(tmp_path: Path) -> None:
    console = AtTerminal(tmp_path)
    try:
        console.until(b"Mara #general> ")
        console.type(b"half a line")
        console.until(b"half a line")
        console.press_until(b"\x03", b"Mara #general> ")
        console.type(b"/members\n")
        shown = console.until(b"Mara #general> ")
        assert b"Tobias: " in shown
        assert b"half a line" not in shown
        console.type(b"\x04")
        assert console.ended() == 0
    except BaseException:
        os.kill(console.pid, signal.SIGKILL)
        raise


def test_bytes_that_are_no_text_are_refused_in_a_sentence(tmp_path: Path) -> None:
    said = (
        b"/recall boat limit:\xc2\xb2\n/recall \xff\xfe boat\n\xff\n/recall boat limit:" + b"9" * 5000 + b"\n/members\n"
    )
    done = subprocess.run(
        CONSOLE, input=said, capture_output=True, env=environment(tmp_path), cwd=tmp_path, timeout=PATIENCE, check=False
    )
    shown = done.stdout.decode()
    assert done.returncode == 0, done.stderr.decode()
    assert "✕ The limit must lie between 1 and 50." in shown
    assert shown.count("✕ This line holds bytes that are no UTF-8 text; type it again.") == 2
    assert "✕ The line has 5,019 characters" in shown
    assert "Tobias: " in shown
    assert b"Traceback" not in done.stderr
