"""What people want of the choreographed sagas that began at a service: kept at their home until the holder answers.

Guarantees: what is kept is on disk; it goes to whoever holds the saga, again and again, until that has said what
became of it.
Must not: judge whether it is allowed; the holder does.
"""

from __future__ import annotations

import asyncio
import getpass
import json
import uuid
from typing import NamedTuple, Never

from amends.decide.baton import Mark, Saga, Stand
from amends.define.values import PAYLOAD_BYTES_MAX, clean
from amends.errors import NotAnswered, Refused, TooLate, UnknownSaga
from amends.run.hops import mark_row
from amends.run.mailbox import flaw_of
from amends.run.transactions import Transactions

REASON_CHARACTERS_MAX = 2000
HAS_ENDED = "the saga has ended"
ACCEPTED, TOO_LATE = "accepted", "too late"


class Word(NamedTuple):
    """What the holder of a saga says to what somebody wants: `accepted`, `refused` or `too late`."""

    word: str
    detail: str


class Act(NamedTuple):
    """Something that somebody wants. verb: `cancel`, or an operator's on the step at `address`. result: of a step that
    is resolved, as JSON."""

    verb: str
    address: str = ""
    actor: str = ""
    reason: str = ""
    result: bytes | None = None


async def keep(transactions: Transactions, service: str, key: str, act: Act, *, seconds: float) -> Mark | Word:
    """Keep what is wanted of the saga with this id; the word at once of one that has ended. seconds: until it goes out
    from the home's own sweep. Raises UnknownSaga, Refused, StoreError."""
    check(act)
    found = await transactions.ask("home_at", json.dumps({"service": service, "key": key}))
    if not found:
        raise UnknownSaga(f"the service {service} has started no saga {key!r:.80}")
    id_, plan, fingerprint, stand, _, _ = found[0]
    if stand == Stand.ENDED:
        return Word(TOO_LATE, HAS_ENDED)
    saga = Saga(bytes.fromhex(id_), key, plan, fingerprint, service)
    actor, reason = clean(act.actor), clean(act.reason)
    mark = Mark(saga, uuid.uuid4().hex, act.verb, act.address, actor, reason, act.result)
    await transactions.ask("mark_keep", mark_row(mark, service, at_home=True, seconds=seconds))
    return mark


async def said_to(transactions: Transactions, mark: Mark) -> Word | None:
    """What is said to it; None as long as that is nothing. Raises StoreError."""
    rows = await transactions.ask("mark_word", mark.saga.id.hex(), mark.saga.home, mark.id)
    return Word(*rows[0]) if rows and rows[0][0] else None


def check(act: Act) -> None:
    """See that it can be kept, and carried. Raises Refused."""
    for what, text in (("actor", act.actor), ("reason", act.reason), ("step", act.address)):
        if len(text) > REASON_CHARACTERS_MAX:
            raise Refused(f"{what}: {len(text)} characters, the limit is {REASON_CHARACTERS_MAX}")
    if not act.address.isprintable():
        raise Refused(f"step: {act.address!r:.80} is the address of none")
    if act.result is not None and (flaw := flaw_of(act.result, PAYLOAD_BYTES_MAX)):
        raise Refused(f"the result of {act.address}: {flaw}")


def accepted(key: str, word: Word) -> Word:
    """The word, if it is that something was done. Raises TooLate, Refused."""
    if word.word == ACCEPTED:
        return word
    raise (TooLate if word.word == TOO_LATE else Refused)(f"{key}: {word.detail}")


def unanswered(key: str, verb: str, home: str, seconds: float, has_it: str = "") -> Never:
    """Raise NotAnswered. has_it: who has the saga, as far as the home was told."""
    told = f"As far as {home} was told, {has_it} has the saga. " if has_it else ""
    raise NotAnswered(
        f"no service has answered for {key!r} within {seconds:g} s; the {verb} is kept at its home, {home}, and goes "
        f"to the saga's services until the one that has it answers. {told}See that its participant, and that of "
        f"{home}, are at work"
    ) from None


def user() -> str:
    """Who this process runs as."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


class Waits:
    """Who waits, in this process, for what is said."""

    def __init__(self) -> None:
        self._heard: dict[str, asyncio.Event] = {}  # by mark

    def hear(self, mark: str) -> None:
        """Something is said to it."""
        if (heard := self._heard.get(mark)) is not None:
            heard.set()

    async def word(self, transactions: Transactions, mark: Mark, look_seconds: float) -> Word:
        """What is said to it, once it is; another process of the service may be who hears it. Raises StoreError."""
        heard = self._heard.setdefault(mark.id, asyncio.Event())
        try:
            while True:
                heard.clear()
                if (word := await said_to(transactions, mark)) is not None:
                    return word
                try:
                    async with asyncio.timeout(look_seconds):
                        await heard.wait()
                except TimeoutError:
                    continue
        finally:
            self._heard.pop(mark.id, None)
