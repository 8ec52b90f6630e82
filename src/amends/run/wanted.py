"""What people want of the choreographed sagas that began at a service: kept at their home until the holder answers.

Guarantees: what is kept is on disk; it goes to whoever holds the saga, again and again, until that has said what
became of it.
Must not: judge whether it is allowed; the holder does.
"""

from __future__ import annotations

import asyncio
import getpass
import hashlib
import json
import uuid
from typing import NamedTuple, Never

from amends.decide.baton import Mark, Saga, Stand
from amends.define.values import PAYLOAD_BYTES_MAX, clean
from amends.errors import AmendsError, Changed, NotAnswered, Refused, TooLate, UnknownSaga
from amends.run.asking import check_id
from amends.run.hops import mark_from, mark_row
from amends.run.mailbox import Wish, flaw_of
from amends.run.transactions import Transactions

REASON_CHARACTERS_MAX = 2000
HAS_ENDED = "the saga has ended"
ACCEPTED, TOO_LATE = "accepted", "too late"
_ERRORS: dict[str, type[AmendsError]] = {TOO_LATE: TooLate, "changed": Changed}


class Word(NamedTuple):
    """What the holder of a saga says to what somebody wants: `accepted`, `refused`, `changed` or `too late`."""

    word: str
    detail: str


async def keep(
    transactions: Transactions, service: str, key: str, wish: Wish, *, message: str | None = None, seconds: float
) -> Mark | Word:
    """Keep what is wanted of the saga with this id; the word at once of one that has ended. message: an id of the
    sender's, under which it counts once. seconds: until it goes out from the home's own sweep. Raises UnknownSaga,
    Refused, StoreError."""
    check(wish)
    found = await transactions.ask("home_at", json.dumps({"service": service, "key": key}))
    if not found:
        raise UnknownSaga(f"the service {service} has started no saga {key!r:.80}")
    id_, plan, fingerprint, stand, _, _ = found[0]
    saga = Saga(bytes.fromhex(id_), key, plan, fingerprint, service)
    mark = mark_of(saga, uuid.uuid4().hex if message is None else _named(saga, message), wish)
    if message is not None and (kept := await _kept_before(transactions, mark)) is not None:
        return kept
    if stand == Stand.ENDED:
        return Word(TOO_LATE, HAS_ENDED)
    if not await transactions.ask("mark_keep", mark_row(mark, service, at_home=True, seconds=seconds)):
        return await _kept_before(transactions, mark) or mark  # somebody else has just sent it
    return mark


def mark_of(saga: Saga, id_: str, wish: Wish) -> Mark:
    """The mark of what is wanted: as `journey.wish_of` reads it."""
    address = wish.person if wish.verb == "assign" else wish.address
    value = wish.value if wish.arguments is None else wish.arguments
    actor, reason = clean(wish.actor), clean(wish.reason)
    return Mark(saga, id_, wish.verb, address, actor, reason, value, wish.version, wish.settled)


def _named(saga: Saga, message: str) -> str:
    """The id of a mark that its sender has named: the same for the same saga and name."""
    return hashlib.blake2b(check_id(message).encode(), digest_size=16, key=saga.id).hexdigest()


async def _kept_before(transactions: Transactions, mark: Mark) -> Mark | None:
    """The mark, if it was kept before under its id. Raises Refused where that said something else."""
    rows = await transactions.ask("mark_at", mark.saga.id.hex(), mark.saga.home, mark.id)
    if not rows:
        return None
    if mark_from(mark.saga, *rows[0]) != mark:
        raise Refused(
            f"{mark.saga.key}: this id belongs to something else that was asked before, and counts once; ask this "
            "under another"
        )
    return mark


async def said_to(transactions: Transactions, mark: Mark) -> Word | None:
    """What is said to it; None as long as that is nothing. Raises StoreError."""
    rows = await transactions.ask("mark_word", mark.saga.id.hex(), mark.saga.home, mark.id)
    return Word(*rows[0]) if rows and rows[0][0] else None


def check(wish: Wish) -> None:
    """See that it can be kept, and carried. Raises Refused."""
    texts = (("actor", wish.actor), ("reason", wish.reason), ("step", wish.address), ("person", wish.person))
    for what, text in texts:
        if len(text) > REASON_CHARACTERS_MAX:
            raise Refused(f"{what}: {len(text)} characters, the limit is {REASON_CHARACTERS_MAX}")
    if not wish.address.isprintable():
        raise Refused(f"step: {wish.address!r:.80} is the address of none")
    if not wish.person.isprintable():
        raise Refused(f"person: {wish.person!r:.80} is the name of none")
    for what, payload in (("result", wish.value), ("arguments", wish.arguments)):
        if payload is not None and (flaw := flaw_of(payload, PAYLOAD_BYTES_MAX)):
            raise Refused(f"the {what} of {wish.address}: {flaw}")


def accepted(key: str, word: Word) -> Word:
    """The word, if it is that something was done. Raises TooLate, Changed, Refused."""
    if word.word == ACCEPTED:
        return word
    raise _ERRORS.get(word.word, Refused)(f"{key}: {word.detail}")


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
