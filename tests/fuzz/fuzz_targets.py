"""What is fuzzed, and what must hold of each: a value, or one of the errors that its docstring names.

Guarantees: a target's check raises only where a rule is broken; it gives whether its input was taken for good.
Must not: judge time or memory; whoever runs it does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, NamedTuple

import fuzz_mutate as mutate
from goods import KINDS
from travels import place_order

from amends.decide import baton as b
from amends.decide import events as e
from amends.decide import messages as m
from amends.decide import plan as p
from amends.decide import wire
from amends.decide.chain import chain_of
from amends.decide.evolve import replay
from amends.define.values import Codec, codec_for
from amends.errors import (
    DefinitionError,
    ImpossibleTransition,
    LimitExceeded,
    MessageRefused,
    StoreDamaged,
    TransportRefused,
    ValueRefused,
)
from amends.message import HEADER_UNFIT, Message, from_headers, headers
from amends.run import journal, mailbox
from amends.run.database import check_database, is_postgres, masked
from amends.run.journey import Journey, length_of, route
from amends.run.settings import Settings
from amends.run.tokens import Tokens
from amends.store.base import MailRow, TokenKey
from amends.store.postgres_place import place_of
from amends.transport.door import unfit
from amends.transport.url import parse

VECTORS = Path(__file__).parents[2] / "docs" / "protocol" / "vectors"
PREFIX = {"http": "ce-", "nats": "ce-", "kafka": "ce_", "rabbitmq": "cloudEvents_", "redis": "ce_"}
NOW = 1_793_014_686.0


class Target(NamedTuple):
    """seeds: what is well formed, or nearly. spoil: makes something else of one, and of another. check: whether it was
    taken."""

    name: str
    seeds: list[bytes]
    check: Callable[[bytes], bool]
    spoil: Callable[[bytes, bytes, Random], bytes] = mutate.spoiled


def holds(fact: bool, rule: str) -> None:
    """Raises AssertionError where a rule is broken."""
    if not fact:
        raise AssertionError(rule)


# Payloads


def _codecs() -> Iterator[Target]:
    for name, (type_, _) in KINDS.items():
        codec = codec_for(type_, name)
        example = codec.example().encode()
        seeds = [example, b"[" + example + b"]", b"null", b'"x"', b"{}", b'{"$type":"Paid","cents":1}']
        yield Target(f"codec {name}", seeds, _codec_check(codec))


def _codec_check(codec: Codec[Any]) -> Callable[[bytes], bool]:
    def check(data: bytes) -> bool:
        try:
            value = codec.decode(data)
        except ValueRefused as error:
            error.args[0].encode()
            return False
        try:
            payload, back = codec.admit(value, "the value")
        except (ValueRefused, LimitExceeded) as error:
            error.args[0].encode()
            return False
        payload.decode()
        holds(b"\x00" not in payload and codec.decode(payload) == back, "what is admitted reads back as itself")
        holds(codec.admit(back, "the value")[0] == payload, "what was read back is written as it was")
        return True

    return check


# Messages


def _letters() -> list[bytes]:
    made = []
    for path in sorted(VECTORS.glob("*.json")):
        if path.stem == "barrier":
            continue
        for one in json.loads(path.read_text()):
            letter = {"prefix": PREFIX[one["carrier"]], "headers": one["headers"], "body": one["body"]}
            made.append(json.dumps(letter).encode())
    return made


def _spoil_letter(data: bytes, other: bytes, dice: Random) -> bytes:
    letter, more = json.loads(data), json.loads(other)
    for _ in range(dice.choice((1, 1, 2, 3))):
        if dice.random() < 0.6:
            found = mutate.spoiled_headers(letter["headers"], more["headers"], letter["prefix"], dice)
            letter["headers"] = found
        else:
            body = letter["body"].encode("latin-1", "replace")
            letter["body"] = mutate.spoiled(body, more["body"].encode("latin-1", "replace"), dice).decode("latin-1")
    return json.dumps(letter).encode()


Writes = Callable[[Any, Message], Message]
READS: tuple[tuple[Callable[[Message], Any], Writes], ...] = (
    (wire.command_of, lambda told, like: wire.command_message(told, like.id, like.source)),
    (wire.reply_of, lambda told, like: wire.reply_message(told, like.type, like.id, like.source, like.time, {})),
    (wire.ended_of, lambda told, like: wire.ended_message(told, like.id, like.source, like.time)),
    (b.baton_of, lambda told, like: b.baton_message(told, like.id, like.source)),
    (b.word_of, lambda told, like: b.word_message(told, like.id, like.source, like.time)),
    (b.mark_of, lambda told, like: b.mark_message(told, like.id, like.source, like.time)),
    (b.answer_of, lambda told, like: b.answer_message(told, like.id, like.source, like.time)),
    (b.progress_of, lambda told, like: b.progress_message(told, like.id, like.source, like.time)),
    (chain_of, lambda told, like: like._replace(attributes=told.attributes(like.id))),
)


def envelope(data: bytes) -> bool:
    """A message comes back from its headers as it is, and what it says from its attributes."""
    letter = json.loads(data)
    prefix, body = letter["prefix"], letter["body"].encode("latin-1", "replace")
    try:
        message = from_headers(letter["headers"], body, prefix)
    except MessageRefused as error:
        str(error).encode("utf-8", "backslashreplace")
        return False
    holds(from_headers(headers(message, prefix), body, prefix) == message, "a message comes back from its headers")
    refused = unfit(message)
    holds(refused is None or isinstance(refused, TransportRefused), "it may be sent, or is refused")
    for value in (message.id, message.type, message.source, message.subject, *message.attributes.values()):
        holds(not HEADER_UNFIT.search(value), "nothing breaks out of a header")
    return sum(_says(message, read, write) for read, write in READS) > 0  # by all of them


def _says(message: Message, read: Callable[[Message], Any], write: Writes) -> bool:
    try:
        told = read(message)
    except MessageRefused:
        return False
    for value in told:
        holds(not isinstance(value, str) or not wire.UNFIT.search(value), "a database keeps what is read")
    again = read(write(told, message))
    holds(read(write(again, message)) == again, "what is read is written and read as itself")
    if isinstance(told, wire.Reply):
        body = mailbox.reply_body(told, Settings().payload_bytes)
        letter = mailbox.read(MailRow(1, told.saga, "reply x", "reply", body, 0.0, None, None, None))
        holds(
            (letter.address, letter.saga, letter.round) == (told.step, told.saga.hex(), told.round), "a mail keeps it"
        )
        body.decode()
    return True


# Histories


def _histories() -> list[bytes]:
    """Of an order that travels, at each of its stations, on and back."""
    found, saga = [], b.Saga(bytes(16), "order-1", place_order.program.plan.name, "0f" * 16, "orders")
    for last in (m.Done("ship", e.ACTION, b'"P-1"'), m.No("ship", e.ACTION, "no", sure=True)):
        journey = Journey(saga, ROUTE, b"[]", Settings())
        journey.tell(m.Start(b'{"id":"order-1","cents":100}'), NOW)
        steps: list[m.Message] = [
            m.Failure("reserve", e.ACTION, "busy", resolved=True),
            m.Tick(),
            m.Done("reserve", e.ACTION, b'{"id":"r-1"}'),
            m.Done("charge", e.ACTION, b'{"id":"c-1"}'),
            last,
            m.Done("charge", e.UNDO),
            m.Done("reserve", e.UNDO, void=True),
        ]
        for message in steps:
            found.append(journey.history)
            try:
                journey.tell(message, NOW + len(found) * 60)
            except ImpossibleTransition:
                break
        found.append(journey.history)
    return found


ROUTE = route(place_order.program)
SAGA = b.Saga(bytes(16), "order-1", place_order.program.plan.name, "0f" * 16, "orders")


def rows(data: bytes) -> bool:
    """A row of a journal."""
    try:
        row = journal.decode(data)
    except StoreDamaged:
        return False
    holds(journal.decode(journal.encode(*row)) == row, "a row is written and read as itself")
    for event in row.events:
        holds(journal.name_of(event) in data.decode("utf-8", "replace"), "an event has the name that stands there")
    try:
        replay(row.events)
    except (ImpossibleTransition, LookupError):
        return False
    return True


def baton(data: bytes) -> bool:
    """A history that came with a baton, and all that its holder does with it."""
    try:
        holds(length_of(data) >= 0, "it has a length")
        journey = Journey(SAGA, ROUTE, data, Settings())
        command = journey.command(NOW)
    except MessageRefused:
        return False
    holds(not wire.UNFIT.search(journey.history.decode()), "a database keeps it")
    address, phase = command.step, command.phase
    ended = (m.Done(address, phase, b'{"id":"1"}'), m.No(address, phase, "no", sure=True))
    failed = m.Failure(address, phase, "it failed", resolved=True)
    try:
        for message in (*ended, failed):
            own = journey.copy()
            own.meet(b.Mark(SAGA, "1" * 32, "cancel", "", "ada", "why"), NOW)
            own.begin(NOW)
            own = journey.copy()
            own.begin(NOW)
            if own.length == journey.length:
                own.tell(message, NOW)
                own.next("inventory", NOW)
    except (MessageRefused, ImpossibleTransition, LookupError):  # which Hops puts aside, too
        return False
    return True


# Plans, mails, tokens, URLs


def plan(data: bytes) -> bool:
    """A stored plan."""
    try:
        read = p.from_json(data.decode("utf-8", "surrogatepass"))
    except (KeyError, TypeError, ValueError):
        return False
    return bool(read.root.nodes)


LIVE: Any = SimpleNamespace(
    program=place_order.program, changed=1, seq=2, shell=SimpleNamespace(settings=Settings()), running={}
)


def mail(data: bytes) -> bool:
    """A mail for a saga."""
    found = False
    for kind in ("signal", "cancel", "act", "late", "reply", data[:5].decode("latin-1")):
        row = MailRow(1, bytes(16), "x", kind, data, 0.0, None, None, None)
        try:
            mailbox.message_of(row, LIVE, frozenset())
        except (ValueError, LookupError):
            continue
        found = mailbox.read(row) != mailbox.Letter()
    return found


TOKENS = Tokens([TokenKey(12, "b", b"y" * 32), TokenKey(1, "a", b"x" * 32)])
OURS = ("default", bytes(16), "ship", 1, e.ACTION)


def token(data: bytes) -> bool:
    """A token fits in one spelling, and in one place."""
    text, real = data.decode("utf-8", "surrogatepass"), TOKENS.make(*OURS)
    fits = TOKENS.fits(text, *OURS)
    holds(
        fits == (text == real or text == Tokens([TokenKey(1, "a", b"x" * 32)]).make(*OURS)), "a token has one spelling"
    )
    holds(not TOKENS.fits(real, "other", *OURS[1:]), "a token is of one namespace")
    return fits


def _spoil_token(data: bytes, other: bytes, dice: Random) -> bytes:
    text = data.decode("utf-8", "surrogatepass")
    made = mutate.spoiled_text(text, dice) if dice.random() < 0.5 else mutate.spoiled_bytes(data, other, dice)
    return made.encode("utf-8", "surrogatepass") if isinstance(made, str) else made.decode("utf-8", "replace").encode()


SECRET = "s3cr3t"  # noqa: S105  # of nobody
URLS = (
    *(f"postgresql://app:{SECRET}@db:5432/orders", f"postgresql://app@db/orders?password={SECRET}&sslmode=require"),
    *(f"postgres://a%40b:{SECRET}%2F@[::1]/o", f"postgresql+asyncpg://app:{SECRET}@db,db2:1/orders?target=x"),
    f"postgresql://app:{SECRET}@p:6432/o?pooling=transaction&direct=postgresql%3A%2F%2Fapp%3A{SECRET}%40db%2Fo",
    *(f"kafka://app:{SECRET}@k1:9092,k2", f"amqp://app:{SECRET}@r/vhost?cafile=x", f"nats://{SECRET}@n:4222"),
    *(f"redis://:{SECRET}@r:6379/0", f"nats://n?token={SECRET}", f"kafka+ssl://a:{SECRET}%23@k?prefix=a.b"),
)
SECRET_STANDS = re.compile(  # where a password does, also in what is no URL because of it
    rf"^[^:]*://[^:/@]*:[^@?]*{SECRET}.*@|[?&](?:password|sslpassword|token)=[^&#]*{SECRET}", re.DOTALL | re.IGNORECASE
)
PORTS = {"kafka": 9092, "kafka+ssl": 9093, "amqp": 5672, "nats": 4222, "redis": 6379, "rediss": 6380}


def url(data: bytes) -> bool:
    """A URL, or what somebody took for one: whatever is said about it is said without what stands for a password."""
    text = data.decode("utf-8", "replace")
    said: list[str] = []
    try:
        said.append(repr(parse(text, PORTS)))
        said.append(parse(text, PORTS).shown)
    except TransportRefused as error:
        said.append(str(error))
    said.append(masked(text))
    try:
        check_database(text)
        if is_postgres(text):
            said.append(repr(place_of(text)))
    except DefinitionError as error:
        said.append(str(error))
    if text.count("://") == 1 and SECRET_STANDS.search(text):  # of two in one nobody can say what is what
        holds(not any(SECRET in one for one in said), f"{said} has a password")
    return not isinstance(said[0], Exception)


def _spoil_url(_: bytes, __: bytes, dice: Random) -> bytes:
    """One thing wrong with one that is right: of what is wrong twice nobody can say where the password is."""
    text = dice.choice(URLS)
    at = dice.randrange(len(text) + 1)
    if dice.random() < 0.5:
        return (text[:at] + dice.choice(list("/?#@:%[]&=;, \n\x00é'\"\\")) + text[at:]).encode()
    return mutate.spoiled_text(text, dice).encode("utf-8", "replace")


def targets() -> list[Target]:
    """All of them."""
    plans = [place_order.program.plan.json.encode()]
    histories = _histories()
    return [
        *_codecs(),
        Target("envelope", _letters(), envelope, _spoil_letter),
        Target("journal", [row for history in histories for row in _rows_in(history)], rows),
        Target("baton", histories, baton),
        Target("plan", plans, plan),
        Target("mail", [b'{"name":"go","value":{"a":1},"actor":"ada","reason":"x"}', *_mails()], mail),
        Target("token", [TOKENS.make(*OURS).encode(), b"1." + b"0" * 32], token, _spoil_token),
        Target("url", [one.encode() for one in URLS], url, _spoil_url),
    ]


def _rows_in(history: bytes) -> list[bytes]:
    return [json.dumps(row, separators=(",", ":")).encode() for row in json.loads(history)]


def _mails() -> list[bytes]:
    late = mailbox.write(address="ship", phase="action", outcome="succeeded", value=b'"P-1"')
    act = mailbox.write(verb="resolve", address="ship", actor="ada", reason="by hand", value=b'"P-2"')
    return [late, act]
