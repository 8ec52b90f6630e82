"""The rows of a start, and whether a start is one that was made before.

Guarantees: the same id with equal saga and input is the same saga, whichever key its input was sealed with.
Must not: write.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from amends.decide import events as e
from amends.decide import messages as m
from amends.decide.decide import decide
from amends.decide.events import Event
from amends.define.saga import Saga
from amends.errors import IdConflict
from amends.run import journal
from amends.run.config import Config
from amends.run.plans import Plans
from amends.run.sealing import Seals, kept
from amends.store.base import Head, NewSaga, SagaRow, Write


def input_hash(name: str, payload: bytes) -> bytes:
    """What two starts with the same id must have in common."""
    return hashlib.blake2b(payload, digest_size=16, key=name.encode()[:64]).digest()


def kept_hash(name: str, payload: bytes, seals: Seals | None) -> bytes:
    """The same as it is kept: where inputs are sealed, nobody without the key can try some."""
    found = input_hash(name, payload)
    return found if seals is None else seals.digests(found)[0]


def new_of(write: Write) -> NewSaga:
    """The saga that a start carries."""
    if write.new is None:
        raise TypeError("a start carries its saga")
    return write.new


def held_write(
    config: Config, saga: Saga[Any, Any], payload: bytes, internal_id: bytes, new: NewSaga, seals: Seals | None
) -> Write:
    """The rows of a saga that goes to whichever worker claims it."""
    now = new.created_at
    events: Iterable[Event] = decide(saga.plan, None, m.Start(payload, hold=True), now).events
    row = journal.encode(now, 0, kept(seals, internal_id, events))
    return Write(internal_id, 0, config.chance.operation(), row, new, Head("running", None, now))


def same_or_conflict(
    saga: Saga[Any, Any], write: Write, existing: SagaRow, plans: Plans, seals: Seals | None = None
) -> None:
    """The same id with equal saga and input is the same saga. Raises IdConflict."""
    new, name = new_of(write), plans.name_of(existing.plan)
    if existing.input_hash != new.input_hash and not _equal_by_another_key(saga, write, existing, seals):
        other = f"another input of {saga.name}" if name == saga.name else f"the saga {name or 'of another name'}"
        raise IdConflict(f"the id {new.key!r} belongs to {other}; choose another id, or pass the same input")


def _equal_by_another_key(saga: Saga[Any, Any], write: Write, existing: SagaRow, seals: Seals | None) -> bool:
    """Whether the saga that is there was started with this very input, before it was sealed, or with an older key."""
    if seals is None:
        return False
    (row,) = seals.saga(write.saga).rows([write.row])
    started = journal.decode(row).events[0]
    assert isinstance(started, e.Started)  # noqa: S101  # so every history begins
    plain = input_hash(saga.name, started.input)
    return existing.input_hash in (plain, *seals.digests(plain))
