"""Statements in files, by name.

Guarantees: a statement is found by the name above it, or importing its store fails.
Must not: build SQL. What varies is a parameter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from sqlite3 import complete_statement

from amends.errors import SchemaMismatch

HERE = Path(__file__).parent  # importlib.resources would load the zip and archive modules for this


def statements(dialect: str) -> dict[str, str]:
    """The named statements of one dialect: what follows each `-- name: …` line."""
    text = (HERE / "queries" / f"{dialect}.sql").read_text(encoding="utf-8")
    parts = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)[1:]
    return {name: _without_comments(body) for name, body in zip(parts[::2], parts[1::2], strict=True)}


def migrations(dialect: str) -> list[tuple[int, str]]:
    """The numbered migrations of one dialect, in order."""
    found = sorted((HERE / "migrations" / dialect).glob("*.sql"))
    return [(int(file.name[:4]), file.read_text(encoding="utf-8")) for file in found]


def split(script: str) -> Iterator[str]:
    """The statements of a script, one by one."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if complete_statement(statement):
            yield statement
            statement = ""


def refuse_newer(place: object, what: str, version: int, floor: int, code: int) -> None:
    """Raises SchemaMismatch where a schema, `what`, is closed to this code, whose newest migration is `code`."""
    if floor > code:
        raise SchemaMismatch(
            f"{place} has {what} {version}, and needs an amends that knows {what} {floor} at least; this one knows "
            f"{code}. Upgrade this process: pip install --upgrade amends"
        )


def _without_comments(body: str) -> str:
    lines = [line for line in body.splitlines() if not line.startswith("--")]
    return "\n".join(lines).strip()
