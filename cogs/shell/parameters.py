"""A command's options as parameters of the shell: typer reads a function's signature, so this writes one."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from cogs.commands.options import Option, options_of


def option_parameters(command: type[Any]) -> Callable[[Callable[..., Any]], Any]:
    """Give a function the parameters that a command's options are; it takes them as keyword arguments.

    What stands without a name comes first, then the options, then the function's own parameters. Numbers are typer's
    to read, their range is :func:`~cogs.commands.options.read_options`'s to check, as at every other door.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        signature = inspect.signature(function, eval_str=True)
        own = [p.replace(kind=p.KEYWORD_ONLY) for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        parameters = [_parameter(name, rules) for name, rules in options_of(command).items()]
        function.__signature__ = inspect.Signature([*parameters, *own])  # type: ignore[attr-defined]
        function.__annotations__ = {p.name: p.annotation for p in [*parameters, *own]} | {
            "return": signature.return_annotation
        }
        return function

    return decorate


def _parameter(name: str, rules: Option) -> inspect.Parameter:
    kind: Any = int if rules.kind == "number" else str
    default: Any = None
    annotation: Any
    if rules.positional:
        annotation, default = Annotated[kind, typer.Argument(help=f"{rules.help}.")], inspect.Parameter.empty
    elif rules.repeated:
        annotation = Annotated[list[kind] | None, typer.Option(help=f"{rules.help}; may be repeated.")]
    else:
        shown = None if rules.default is None else str(rules.default)
        annotation = Annotated[kind | None, typer.Option(help=f"{rules.help}.", show_default=shown or False)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
