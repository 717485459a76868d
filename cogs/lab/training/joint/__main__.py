"""Make the joint reranker: ``python -m cogs.lab.training.joint BASE SETS PUBLIC OUTPUT``.

BASE is the Transformers folder of the base (weights and tokenizer.json), SETS what ``python bot.py datasets PUBLIC
SETS`` wrote, PUBLIC the public sets as they are. OUTPUT gets ``shards``, the checkpoint and log, and ``model``, the
folder that the format ``joint`` loads; what is there already is gone on from. ``python bot.py calibrate`` comes next.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from tokenizers import Tokenizer

from cogs.lab.training.joint.channels import Reader, read_shards, write_shards
from cogs.lab.training.joint.export import export_graphs, write_about
from cogs.lab.training.joint.model import Lower, Upper, read_weights
from cogs.lab.training.joint.recipe import RECIPE, channels, load_joint_recipe
from cogs.lab.training.joint.train import Plan, train
from cogs.memory.inference.words import TABLE_FILE, WORDS_DIR


def main() -> None:
    """Read the channels, train, and export."""
    parser = argparse.ArgumentParser(description="Make the joint reranker.")
    for name in ("base", "sets", "public", "output"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    parser.add_argument("--seconds", type=float, default=None, help="End the training after so many seconds.")
    given = parser.parse_args()
    recipe = load_joint_recipe(given.recipe)
    weights = read_weights(given.base)
    lower = Lower.of(weights, recipe.split, recipe.max_length)
    shards = given.output / "shards"
    if not (shards / "whole").is_file():
        tokenizer = Tokenizer.from_file(str(given.base / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        rest = Upper.of(weights, recipe.layers, recipe.split).eval()
        reader = Reader(weights["embeddings.word_embeddings.weight"], lower, rest, tokenizer)
        write_shards(reader, channels(recipe, given.sets, given.public), shards)
        (shards / "whole").touch()
    torch.manual_seed(recipe.seed)
    upper = Upper.of(weights, recipe.layers, recipe.split)
    plan = Plan(recipe.steps, recipe.rate, given.seconds, seed=recipe.seed)
    train(upper, read_shards(shards), plan, given.output)
    torch.save(upper.state_dict(), given.output / "upper.pt")
    export_graphs(lower, upper, given.output / "model")
    write_about(given.output / "model", max_length=recipe.max_length, words=WORDS_DIR / TABLE_FILE)


if __name__ == "__main__":
    main()
