"""Statements in files, by name.

Guarantees: a statement is found by the name above it, or importing its store fails.
Must not: build SQL. What varies is a parameter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files
from sqlite3 import complete_statement


def statements(dialect: str) -> dict[str, str]:
    """The named statements of one dialect: what follows each `-- name: …` line."""
    text = (files("amends.store") / "queries" / f"{dialect}.sql").read_text()
    parts = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)[1:]
    return {name: _without_comments(body) for name, body in zip(parts[::2], parts[1::2], strict=True)}


def migrations(dialect: str) -> list[tuple[int, str]]:
    """The numbered migrations of one dialect, in order."""
    folder = files("amends.store") / "migrations" / dialect
    found = [(int(file.name[:4]), file.read_text()) for file in folder.iterdir() if file.name.endswith(".sql")]
    return sorted(found)


def split(script: str) -> Iterator[str]:
    """The statements of a script, one by one."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if complete_statement(statement):
            yield statement
            statement = ""


def _without_comments(body: str) -> str:
    lines = [line for line in body.splitlines() if not line.startswith("--")]
    return "\n".join(lines).strip()
