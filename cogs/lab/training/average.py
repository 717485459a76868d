"""Average training runs into one model: ``python -m cogs.lab.training.average OUT MODEL MODEL…``.

Each MODEL is the folder ``final`` of a run of the same recipe from the same base. The mean of their weights judges
conversations of a kind that none of them was trained on better than each of them alone (Wortsman et al., "Model soups",
arXiv 2203.05482); it costs nothing when it runs. OUT gets ``final`` and the exported graph.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import load_file, save_file

from cogs.lab.training.export_onnx import export_folder
from cogs.lab.training.merge import mean_weights

SERVED_LENGTH = 256
"""Tokens that a pair may have at run time; training cuts at fewer, which only costs the ends of long messages."""


def average(models: Sequence[Path], out: Path, max_length: int = SERVED_LENGTH) -> Path:
    """Write the mean of ``models`` to ``out/final`` and its INT8 graph to ``out``; return ``out``.

    Raises:
        ValueError: they are not of one architecture.
    """
    weights = mean_weights([load_file(model / "model.safetensors") for model in models])
    final = out / "final"
    shutil.copytree(models[0], final, dirs_exist_ok=True)
    save_file(weights, final / "model.safetensors", metadata={"format": "pt"})
    return export_folder(final, out, max_length=max_length)


if __name__ == "__main__":
    average([Path(model) for model in sys.argv[2:]], Path(sys.argv[1]))
