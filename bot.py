"""Mneme's entry point: it mounts each area's command line; settings and services are built where a command runs."""

from __future__ import annotations

import sys

import typer

from cogs.bench import cli as bench_cli
from cogs.lab.datasets import cli as sources_cli
from cogs.lab.evaluation import cli as evaluate_cli
from cogs.lab.training import cli as train_cli
from cogs.shell import commands as cli
from cogs.shell import models as models_cli
from cogs.shell import startup

app = typer.Typer(
    name="mneme",
    help="A Discord bot that remembers: it finds what was said by meaning and answers with it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
cli.mount(app)
app.add_typer(models_cli.app, name="models")
app.command("datasets")(sources_cli.datasets)
app.command("evaluate")(evaluate_cli.evaluate)
app.command("classify")(evaluate_cli.classify)
train_cli.mount(app)
app.add_typer(bench_cli.app, name="bench")


def main() -> None:
    """Run a command; what a person can mend ends in one sentence and exit code 2."""
    sys.exit(startup.guarded(app))


if __name__ == "__main__":
    main()
