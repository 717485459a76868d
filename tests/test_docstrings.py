"""Public functions with many parameters say what each of them is."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.test_house_rules import of_the_product, shown

MANY_PARAMETERS = 5
Function = ast.FunctionDef | ast.AsyncFunctionDef


def public_functions(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, Function, ast.ClassDef | None]]:
    """Yield the public functions of a module and the public methods of its public classes, constructors included."""
    for node in body:
        if isinstance(node, Function) and not node.name.startswith("_"):
            yield prefix + node.name, node, None
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for method in node.body:
                if isinstance(method, Function) and (method.name == "__init__" or not method.name.startswith("_")):
                    yield f"{prefix}{node.name}.{method.name}", method, node


def parameters(function: Function) -> list[str]:
    given = function.args
    names = [argument.arg for argument in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return [name for name in names if name not in ("self", "cls")]


def is_a_command(function: Function) -> bool:
    """Whether it is registered as a command: its parameters are options, whose help texts say what they are."""
    written = [*function.decorator_list, *(a.annotation for a in function.args.args if a.annotation is not None)]
    return any(re.search(r"\bcommand\b|typer\.(Option|Argument)", ast.unparse(part)) for part in written)


def is_an_override(function: Function) -> bool:
    """Whether it says that another class's docstring holds."""
    return (ast.get_docstring(function) or "").startswith("See :")


def test_public_functions_with_many_parameters_say_what_each_is() -> None:
    silent = []
    for path, text in of_the_product():
        for name, function, owner in public_functions(ast.parse(text).body):
            if len(parameters(function)) < MANY_PARAMETERS or is_a_command(function) or is_an_override(function):
                continue
            told = ast.get_docstring(function) or ""
            if owner is not None and function.name == "__init__":
                told += ast.get_docstring(owner) or ""
            _, found, listed = told.partition("Args:")
            missing = [p for p in parameters(function) if not re.search(rf"^\s+{p}:", listed, re.MULTILINE)]
            if not found or missing:
                silent.append(f"{shown(path)}: {name} ({', '.join(missing)})")
    assert silent == []
