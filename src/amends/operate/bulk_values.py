"""What operations give of bulk operations: plain frozen values.

Guarantees: a value is complete when it is given; times are instants in seconds since 1970.
Must not: know how they are shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from amends.decide.bulk import PER_SECOND, Stand, Tally
from amends.operate.values import Effect, SagaLine, Search


@dataclass(frozen=True, slots=True)
class BulkAct:
    """What is to be done to every saga, by whom and why.

    step: or the name of what is waited for. result, arguments: JSON; the result is also the value of a signal.
    nothing_stayed: with arguments, that no earlier attempt had its effect. text: the person for assign, the text of
    a note. per_second: how many sagas are asked in a second, about. even_if_changed: also where a saga has moved on
    since it was written down.
    """

    verb: str
    actor: str
    reason: str = ""
    step: str = ""
    result: bytes | None = None
    arguments: bytes | None = None
    nothing_stayed: bool = False
    text: str = ""
    per_second: float = PER_SECOND
    even_if_changed: bool = False


@dataclass(frozen=True, slots=True)
class Bulk:
    """One act of a person on many sagas.

    search: what was looked for; None where the sagas were named one by one. done: accepted. refused: refused, changed
    since, or too late. failed: gone, or not answered. version: of what happened to it, which pause, resume and cancel
    may confirm; progress does not change it. runner: whether somebody works at it.
    """

    id: str
    act: BulkAct
    search: Search | None
    state: Stand
    total: int
    done: int
    refused: int
    failed: int
    created_at: float
    changed_at: float
    version: int
    runner: bool

    @property
    def verb(self) -> str:
        """What is done."""
        return self.act.verb

    @property
    def step(self) -> str:
        """To which step; empty where it is to the whole saga."""
        return self.act.step

    @property
    def actor(self) -> str:
        """Who began it."""
        return self.act.actor

    @property
    def reason(self) -> str:
        """Why."""
        return self.act.reason

    @property
    def text(self) -> str:
        """The person for assign, the text of a note."""
        return self.act.text

    @property
    def left(self) -> int:
        """How many have no result yet."""
        return Tally(self.total, self.done, self.refused, self.failed).left


class BulkPage(NamedTuple):
    """Bulk operations, newest first. more: there are older ones."""

    bulks: tuple[Bulk, ...]
    more: bool


@dataclass(frozen=True, slots=True)
class BulkOutcome:
    """What would come of the act, for all those of which the same would. why: it would be refused. example: the id of
    one. effects: what would be called of that one."""

    accepted: bool
    why: str
    count: int
    example: str
    effects: tuple[Effect, ...] = ()
    status_after: str = ""


class BulkPlan(NamedTuple):
    """What a bulk operation would be about. total: how many sagas fit; with `more`, so many and more, which is more
    than one may have. previewed: how many of them, the newest, the outcomes are about. examples: some of them. digest:
    of which sagas fit."""

    verb: str
    step: str
    total: int
    more: bool
    previewed: int
    outcomes: tuple[BulkOutcome, ...]
    examples: tuple[SagaLine, ...]
    digest: str = ""


class BulkResult(NamedTuple):
    """What became of one saga. version: the one it had when it was written down. word: empty where nothing has yet."""

    n: int
    saga: str
    version: int
    word: str
    detail: str
    at: float | None


class BulkResults(NamedTuple):
    """Some of the results, in order. more: there are further ones."""

    lines: tuple[BulkResult, ...]
    more: bool


class BulkLine(NamedTuple):
    """One thing that happened to a bulk operation, and who did it."""

    version: int
    at: float
    move: str
    actor: str
    reason: str
