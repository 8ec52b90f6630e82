"""A batch of decisions as the columns of one statement.

Guarantees: sagas stand in the order of their ids, the rows of one saga in the order given; of
several heads of one saga the last counts, for the statement changes a row once.
Must not: talk to a database.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter

from amends.store.base import Head, NewSaga, Write

Column = list[object]
_saga_of = attrgetter("saga")


class Batch:
    """The columns of `commit` in `queries/postgres.sql`, by what they are written into."""

    __slots__ = ("added", "answers", "changed", "first", "further", "sagas")

    def __init__(self, writes: Sequence[Write]) -> None:
        self.sagas: int = 0
        self.added: tuple[Column, ...] = tuple([] for _ in range(12))
        self.first: tuple[Column, ...] = tuple([] for _ in range(4))
        self.further: tuple[Column, ...] = tuple([] for _ in range(4))
        self.changed: tuple[Column, ...] = tuple([] for _ in range(11))
        self.answers: tuple[Column, ...] = tuple([] for _ in range(4))
        for _, group in groupby(sorted(writes, key=_saga_of), _saga_of):
            self._add(list(group))

    @property
    def columns(self) -> list[Column | None]:
        """All of them, in the statement's order. An empty one is NULL, which is no rows either, and costs the
        driver a fraction of a microsecond in place of two; what hardly a saga has is NULL where none has it."""
        kept = [column or None for part in self._parts() for column in part]
        seldom = (*self.changed[7:], *self.added[10:])
        return [*kept, *(column if any(column) else None for column in seldom)]

    @property
    def rows(self) -> int:
        """How many journal rows it holds; fewer than writes where some do not follow upon the row before."""
        return len(self.first[0]) + len(self.further[0])

    def _parts(self) -> tuple[tuple[Column, ...], ...]:
        return self.added[:10], self.first, self.further, self.changed[:7], self.answers

    def _add(self, writes: list[Write]) -> None:
        """One saga's part. What does not follow upon the row before it is left out: it is lost."""
        self.sagas += 1
        first = writes[0]
        head = first.head
        _append(self.first, first.saga, first.seq, first.op, first.row.decode())
        _answer(self.answers, first)
        if len(writes) > 1:
            head = self._add_further(writes, head)
        if first.new is not None:
            self._add_new(first.saga, first.new, head)
        elif head is not None:
            status, owner, wake_at, stuck, reason, plan, *said = head
            values = (first.saga, status, owner, wake_at, fit(stuck), fit(reason), plan, *map(fit, said))
            _append(self.changed, *values)

    def _add_further(self, writes: list[Write], head: Head | None) -> Head | None:
        """The rows that follow the first; gives the head that stands in the end."""
        seq = writes[0].seq
        for write in writes[1:]:
            if write.seq != seq + 1:
                break
            seq = write.seq
            _append(self.further, write.saga, seq, write.op, write.row.decode())
            _answer(self.answers, write)
            if write.head is not None:
                moved = write.head.plan is None and head is not None
                head = write.head._replace(plan=head.plan) if moved and head is not None else write.head
        return head

    def _add_new(self, saga: bytes, new: NewSaga, head: Head | None) -> None:
        if head is None:
            raise TypeError("a new saga comes with its head")
        plan = new.plan if head.plan is None else head.plan
        status, owner, wake_at, stuck, reason, _, _, _, fingerprint, step = head
        _append(
            self.added,
            saga,
            new.key,
            plan,
            status,
            owner,
            wake_at,
            new.created_at,
            new.input_hash,
            fit(stuck),
            fit(reason),
            fingerprint,
            fit(step),
        )


def starts(writes: Sequence[Write]) -> list[Column]:
    """The columns of `start`: a client's batch. Raises ValueError for what a client may not write."""
    if any(write.new is None or write.head is None or write.head.owner is not None for write in writes):
        raise ValueError("a client may only add sagas, and own none")
    batch = Batch(writes)
    saga, key, plan, status, _, *rest = batch.added[:10]
    return [saga, key, plan, status, *rest, *batch.first]


def fit(text: str | None) -> str | None:
    """A text as PostgreSQL takes it: a user's error may say anything, NUL and halves of characters too."""
    if text is None or (text.isascii() and "\0" not in text):
        return text
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


def _answer(columns: tuple[Column, ...], write: Write) -> None:
    for answer in write.answers:
        _append(columns, write.saga, answer.message, answer.word, fit(answer.detail))


def _append(columns: tuple[Column, ...], *values: object) -> None:
    for column, value in zip(columns, values, strict=True):
        column.append(value)
