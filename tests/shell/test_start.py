"""Nobody waits for what is not imported: a mistake is told, and a search runs, without heavy libraries."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from config.settings import PROJECT_DIR
from tests.memory.building import SHARED_MODELS

HEAVY = {
    "dateparser", "datasets", "discord", "faiss", "huggingface_hub", "matplotlib", "numpy", "onnx", "onnxruntime",
    "openvino", "pandas", "peft", "scipy", "sentence_transformers", "sklearn", "sqlalchemy", "starlette", "tokenizers",
    "torch", "transformers",
}  # fmt: skip
MODELS = {"numpy", "tokenizers", "safetensors"}
"""What the tables of models are read with."""
FOR_A_SEARCH = {"faiss", "numpy", "onnxruntime", "openvino", "sqlalchemy", "tokenizers"}
PROGRAM = """
import json, sys
sys.argv = ["bot.py", *json.loads(sys.argv[1])]
import bot
try:
    bot.main()
except SystemExit as end:
    code = end.code
loaded = sorted({name.partition(".")[0] for name, module in sys.modules.items() if module is not None})
print(json.dumps({"code": code, "loaded": loaded}))
"""


def loaded_by(folder: Path, *arguments: str) -> tuple[int, set[str], str]:
    """Run ``bot.py`` in a process of its own; return its exit code, which heavy libraries it has, and what it said."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MNEME_", "DISCORD_", "DATABASE_URL"))}
    environment |= {
        "MNEME_DATA_DIR": str(folder),
        "MNEME_MODELS_DIR": str(SHARED_MODELS),
        "MNEME_PROFILE": "cpu",
        "PYTHONPATH": str(PROJECT_DIR),
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(arguments)],
        input="", capture_output=True, text=True, check=False, env=environment, cwd=folder, timeout=170,
    )  # fmt: skip
    assert done.stdout, done.stderr
    said, _, last = done.stdout.strip().rpartition("\n")
    found = json.loads(last)
    return found["code"], HEAVY & set(found["loaded"]), said + done.stderr


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("recall", ""), "the query is empty"),
        (("recall", "x", "--limit", "51"), "between 1 and 50"),
        (("recall", "x", "--has", "hologram"), "Has takes link"),
        (("recall", "x", "--after", "2026-06-01", "--before", "2025-01-01"), "Nothing lies between"),
        (("models", "check", "nonsense"), "There is no model 'nonsense'"),
        (("train", "nonsense"), "There is no recipe 'nonsense'"),
        (("evaluate", "nonsense"), "There is no data set at nonsense"),
        (("calibrate", "nonsense", "nonsense"), "nonsense is no trained cross-encoder"),
        (("classify", "text"), "Give 2 to 25 labels"),
        (("bench", "rerank", "--device", "abacus"), "--device takes cpu or cuda"),
        (("bench", "rerank", "--family", "nonsense"), "--family takes qwen3"),
        (("datasets", "nowhere", "out"), "nowhere holds none of"),
        (("nonsense",), "No such command"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_mistake_is_told_before_anything_heavy_is_imported(tmp_path: Path, typed: tuple[str, ...], said: str) -> None:
    code, heavy, printed = loaded_by(tmp_path, *typed)
    assert said in " ".join(printed.split())
    assert code == 2
    assert heavy - (MODELS if typed[0] == "models" else set()) == set()


def test_a_search_imports_no_pytorch(tmp_path: Path) -> None:
    code, _, said = loaded_by(tmp_path, "import", str(PROJECT_DIR / "data" / "sample"))
    assert code == 0, said
    code, heavy, said = loaded_by(tmp_path, "recall", "torque wrench", "--limit", "3")
    assert code == 0, said
    assert "rerank_score" in said
    assert heavy <= FOR_A_SEARCH
