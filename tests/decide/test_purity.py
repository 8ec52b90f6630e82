"""The core is pure: what it imports, and what its types hide."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import amends.decide

MODULES = sorted(Path(str(amends.decide.__file__)).parent.glob("*.py"))
ALLOWED = {
    "__future__",
    "collections",
    "collections.abc",
    "dataclasses",
    "enum",
    "functools",
    "hashlib",
    "itertools",
    "json",
    "math",
    "typing",
    "amends.errors",
    "amends.message",
    "re",
}


def imports(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Every module that is imported anywhere in a file, also inside functions, and the names from it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_the_core_imports_values_and_nothing_that_waits_or_reads_or_guesses(module: Path) -> None:
    found = {name for name, _ in imports(ast.parse(module.read_text()))}

    assert {name for name in found if not name.startswith("amends.decide")} <= ALLOWED


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_the_core_has_no_type_that_says_nothing(module: Path) -> None:
    tree = ast.parse(module.read_text())

    assert "Any" not in {name for _, name in imports(tree)}
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr == "Any"]


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_the_core_keeps_nothing_between_two_decisions(module: Path) -> None:
    """No `global`, no cache of a function, no mutable default; a plan computes its own fingerprint once."""
    tree = ast.parse(module.read_text())

    assert not [node for node in ast.walk(tree) if isinstance(node, (ast.Global, ast.Nonlocal))]
    assert not {name for _, name in imports(tree)} & {"cache", "lru_cache"}
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.Lambda)):
            defaults = [*node.args.defaults, *node.args.kw_defaults]
            assert not [each for each in defaults if isinstance(each, (ast.List, ast.Dict, ast.Set))]


def test_the_check_sees_an_import_inside_a_function() -> None:
    tree = ast.parse("def f():\n    import time\n    from typing import Any\n")

    assert set(imports(tree)) == {("time", ""), ("typing", "Any")}


def test_all_of_the_core_is_checked() -> None:
    assert {path.stem for path in MODULES} >= {"decide", "evolve", "state", "plan", "barrier", "upgrade", "policy"}
