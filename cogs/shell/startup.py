"""What every command of the shell begins with: settings, logs, and errors as one sentence."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from typing import Annotated, Any

import typer
from rich.console import Console

from cogs.memory.errors import MnemeError
from config import logs
from config.settings import Settings, SettingsError, load_settings

USAGE_ERROR = 2
errors = Console(stderr=True, highlight=False)
JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


def guarded(app: typer.Typer) -> int:
    """Run the command line; return its exit code, with one sentence for what a person can mend."""
    try:
        result = app(standalone_mode=False)
        return result if isinstance(result, int) else 0
    except (MnemeError, SettingsError) as error:
        errors.print(str(error), style="red", markup=False)
        return USAGE_ERROR
    except typer.TyperException as error:
        return _misused(error)
    except (KeyboardInterrupt, typer.Abort):
        return 130


def _misused(error: typer.TyperException) -> int:
    """Say what was wrong with a command line; where nothing was typed, its help has been printed already."""
    message = error.format_message().strip()
    context: typer.Context | None = getattr(error, "ctx", None)
    if message:
        errors.print(message, style="red", markup=False)
    if message and context is not None:
        errors.print(f"python {context.command_path} --help shows how it is used.", markup=False)
    return USAGE_ERROR


def quiet_libraries() -> None:
    """Keep model libraries off the network and off the terminal; said before they are imported."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")  # nothing here forks
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def run_async(work: Coroutine[Any, Any, int | None]) -> int:
    """Run a command's coroutine to its end."""
    return asyncio.run(work) or 0


def prepared(**overrides: object) -> Settings:
    """Return the settings, with logging and libraries set up accordingly."""
    settings = load_settings(**overrides)
    quiet_libraries()
    logs.configure(settings)
    return settings
