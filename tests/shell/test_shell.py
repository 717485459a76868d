"""The shell and the console as a new user meets them: real processes, real input, what they print."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from config.settings import PROJECT_DIR
from tests.memory.building import SHARED_MODELS

SAMPLE = PROJECT_DIR / "data" / "sample"


def bot(folder: Path, *arguments: str, said: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
    """Run ``python bot.py`` with a data folder and settings, away from any ``.env``."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MNEME_", "DISCORD_", "DATABASE_URL"))}
    environment |= {"MNEME_DATA_DIR": str(folder), "MNEME_MODELS_DIR": str(SHARED_MODELS), "MNEME_PROFILE": "cpu"}
    command = [sys.executable, str(PROJECT_DIR / "bot.py"), *arguments]
    return subprocess.run(
        command, input=said, capture_output=True, text=True, env=environment | settings, timeout=120, check=False,
        cwd=folder.parent,
    )  # fmt: skip


@pytest.fixture(scope="module")
def wren(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder into which the sample was imported."""
    folder = tmp_path_factory.mktemp("shell") / "data"
    done = bot(folder, "import", str(SAMPLE), "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["imported"] == report["messages"] > 100
    return folder


def answers(output: str) -> dict[str, str]:
    """Map each line that was typed (with its prompt) to what was printed under it."""
    found: dict[str, str] = {}
    current = ""
    for line in output.splitlines():
        if "> /" in line or (line.endswith("?") and "> " in line):
            current = line.split("> ", 1)[1]
            found[current] = ""
        else:
            found[current] = found.get(current, "") + line + "\n"
    return found


def test_recall_finds_by_meaning_with_a_score_as_json(wren: Path) -> None:
    done = bot(wren, "recall", "who is allergic to shellfish?", "--as-user", "Oskar", "--limit", "3", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert any("allergic to shellfish" in hit["content"] for hit in result["hits"])
    assert all(0 <= hit["rerank_score"] <= 1 for hit in result["hits"])
    assert result["hits"][0]["jump_url"].startswith("https://discord.com/channels/1180000000000000001/")
    assert result["reranker"] is not None


def test_recall_as_a_member_never_shows_what_they_cannot_read(wren: Path) -> None:
    for member, channel in (("new here", None), ("Nadia", None), ("Nadia", "keepers-only")):
        extra = ["--channel", channel] if channel else []
        done = bot(wren, "recall", "the code of the key box 7741", "--as-user", member, *extra, "--json")
        assert "7741 from today" not in done.stdout
        if channel:
            assert done.returncode == 2
            assert done.stderr == bot(
                wren, "recall", "x", "--as-user", member, "--channel", "nowhere"
            ).stderr.replace("nowhere", "keepers-only")  # fmt: skip
    keeper = bot(wren, "recall", "the code of the key box", "--as-user", "Tobias", "--json")
    assert "7741" in json.loads(keeper.stdout)["hits"][0]["content"]


def test_the_console_behaves_as_discord_for_each_member(wren: Path) -> None:
    said = [
        "/recall key box code", "/memory status", "/as new here", "/recall the key box code",
        "what is the code of the key box?", "/memory status", "/in keepers-only", "/as Tobias", "/in keepers-only",
        "what is the key box code?", "/recall", "/recall x limit:0", "/recall x before:notaday", "/similar 99",
        "/privacy show", "/nonsense", "/as Nobody",
    ]  # fmt: skip
    done = bot(wren, "console", said="\n".join(said))
    assert done.returncode == 0, done.stderr
    found = answers(done.stdout)
    assert "7741" in found["/recall key box code"]
    assert "rerank_score" in found["/recall key box code"]
    assert "7741" not in found["/recall the key box code"] + found["what is the code of the key box?"]
    assert "✕ There is no channel “keepers-only” that you can read." in done.stdout
    assert "✕ Only people who may manage this server can do that." in found["/memory status"]
    assert "7741" in found["what is the key box code?"]
    assert "[1]" in found["what is the key box code?"]
    assert "✕ Say what to look for" in found["/recall"]
    assert "✕ The limit must lie between 1 and 50." in found["/recall x limit:0"]
    assert 'read "notaday" as a date' in found["/recall x before:notaday"]
    assert "✕ Name a hit of the last result: /similar 1 to /similar 10." in found["/similar 99"]
    assert "messages of yours" in found["/privacy show"]
    assert "✕ There is no command /nonsense" in found["/nonsense"]
    assert "choose one of Mara" in found["/as Nobody"]
    assert "Traceback" not in done.stderr


def test_run_without_a_token_opens_the_console_on_the_sample(tmp_path: Path) -> None:
    done = bot(tmp_path / "data", "run", said="/recall torque wrench limit:1\n/quit\n")
    assert done.returncode == 0, done.stderr
    assert "torque wrench" in done.stdout
    again = bot(tmp_path / "data", "run", said="/memory status\n")
    assert "Messages: 106 in 5 channels" in again.stdout or "Messages: 10" in again.stdout


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"MNEME_PROFILE": "huge"}, "huge"),
        ({"MNEME_REMEMBER": "maybe"}, "MNEME_REMEMBER"),
        ({"DATABASE_URL": "sqlite:////proc/nowhere/x.db"}, "database"),
    ],
)
def test_a_bad_setting_gives_one_sentence_and_exit_code_2(tmp_path: Path, settings: dict[str, str], said: str) -> None:
    done = bot(tmp_path / "data", "console", **settings)
    assert done.returncode == 2
    assert said.casefold() in done.stderr.casefold()
    assert "Traceback" not in done.stderr


def test_a_secret_never_reaches_what_is_printed(tmp_path: Path) -> None:
    secrets = {"MNEME_LLM_API_KEY": "sk-very-secret", "MNEME_RERANKER_API_KEY": "rk-very-secret",
               "DISCORD_TOKEN": "tok-very-secret", "MNEME_LLM_BASE_URL": "http://u:pw-very-secret@127.0.0.1:9/v1",
               "MNEME_LLM_MODEL": "m", "MNEME_LOG_LEVEL": "debug"}  # fmt: skip
    done = bot(tmp_path / "data", "doctor", "--verify", **secrets)
    assert "very-secret" not in done.stdout + done.stderr
    assert "Profile: cpu" in done.stdout


def test_profiles_and_doctor_say_what_this_machine_can_run(wren: Path) -> None:
    profiles = json.loads(bot(wren, "profiles", "--json").stdout)
    assert {profile["name"] for profile in profiles} >= {"gpu-large", "gpu-small", "apple", "cpu", "minimal"}
    assert all(profile["runnable"] or profile["reason"] for profile in profiles)
    found = json.loads(bot(wren, "doctor", "--verify", "--json").stdout)["findings"]
    assert {finding["name"]: finding["state"] for finding in found}["Stores"] == "ok"
