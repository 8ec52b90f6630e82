"""What the inbox's rows are, in whatever database.

Guarantees: nothing; values.
Must not: know what they mean; `decide/barrier.py` does.
"""

from __future__ import annotations

from typing import NamedTuple

Key = tuple[str, bytes, str]  # namespace, saga, address


class InboxRow(NamedTuple):
    """One round of one step. command: what a service was asked, of a command."""

    round: int
    action: str
    compensated: bool = False
    missing: bool = False
    result: bytes | None = None
    reason: str = ""
    command: bytes | None = None


def row_from(values: tuple[object, ...] | list[object]) -> InboxRow:
    """A row as a database gives it, payloads as text."""
    round_, action, compensated, missing, result, reason, command = values
    return InboxRow(
        int(str(round_)),
        str(action),
        bool(compensated),
        bool(missing),
        None if result is None else str(result).encode(),
        str(reason),
        None if command is None else str(command).encode(),
    )


def text_of(payload: bytes | None) -> str | None:
    """A payload as a database keeps it."""
    return None if payload is None else payload.decode()
