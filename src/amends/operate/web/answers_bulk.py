"""What stands in answers of the API about bulk operations: one class for each, as in `answers.py`.

Guarantees: an answer has every field that its class has; it may have more.
Must not: make any answer.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from amends.operate.web.answers import Effect, Saga


class Bulk(Struct):
    """One act on many sagas. search: what was looked for, null where the sagas were named. done: accepted; refused: a
    no was said; failed: nothing was said, or the saga is gone; left: to come. version: of what happened to it, for
    If-Match. runner: whether somebody works at it."""

    id: str
    verb: str
    step: str | None
    text: str | None
    has_result: bool
    has_arguments: bool
    nothing_stayed: bool
    search: dict[str, Any] | None
    actor: str
    reason: str | None
    per_second: float
    even_if_changed: bool
    state: str
    total: int
    done: int
    refused: int
    failed: int
    left: int
    created_at: str
    changed_at: str
    version: int
    runner: bool


class Bulks(Struct):
    """Newest first. more: there are older ones."""

    bulks: list[Bulk]
    more: bool


class BulkOutcome(Struct):
    """What would come of it, for all those of which the same would. why: it would be refused. effects: what would be
    called of the example."""

    accepted: bool
    why: str | None
    count: int
    example: str
    effects: list[Effect]
    status_after: str | None


class BulkPlan(Struct):
    """A dry run. total: how many sagas fit; with `more`, so many and more, which is more than one may have. previewed:
    how many of them, the newest, the outcomes are about. digest: of which sagas fit, to be given as `seen`."""

    verb: str
    step: str | None
    total: int
    more: bool
    previewed: int
    outcomes: list[BulkOutcome]
    examples: list[Saga]
    digest: str


class BulkResult(Struct):
    """What became of one saga; null where nothing has yet. sequence: its version when it was written down."""

    n: int
    saga: str
    sequence: int
    result: str | None
    detail: str | None
    at: str | None


class BulkResults(Struct):
    """In the order in which they are asked. more: there are further ones."""

    results: list[BulkResult]
    more: bool


class BulkMove(Struct):
    """One thing that happened to a bulk operation, and who did it."""

    version: int
    at: str
    move: str
    actor: str
    reason: str | None
