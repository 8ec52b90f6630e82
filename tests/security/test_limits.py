"""F69, X10: what is too long, too deep or too much is refused in words, in little time and memory."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from amends.decide import wire
from amends.decide.events import Phase
from amends.define.values import codec_for
from amends.errors import AmendsError, LimitExceeded, MessageRefused, StoreDamaged, ValueRefused
from amends.message import Message, from_headers
from amends.operate.cli.inputs import payload_of
from amends.run import journal, mailbox
from amends.run.journey import length_of
from amends.run.tokens import Tokens
from amends.store.base import TokenKey
from amends.transport.door import MESSAGE_BYTES, unfit

SECONDS = 6.0  # of CPU; the slowest takes one where nothing else runs
MEGABYTES = 300
DEEP = b"[" * 100_000 + b"]" * 100_000
WIDE = b"[" + b"1," * 1_000_000 + b"1]"
LONG = b"9" * 100_000
REQUIRED = {"ce-specversion": "1.0", "ce-id": "1", "ce-type": "a.b", "ce-source": "/x"}
REPLY = {
    "amendskind": "reply",
    "amendsnamespace": "n",
    "amendssaga": "0" * 32,
    "amendskey": "k",
    "amendsstep": "s",
    "amendsphase": "action",
    "amendsoutcome": "rejected",
    "amendstoken": "1.x",
}
ENDED = {"amendskind": "ended", "amendsnamespace": "n"}


@dataclass
class Form:
    """A value of a few fields."""

    number: int
    text: str = ""


def said(attributes: dict[str, str], data: bytes) -> Message:
    """A message."""
    return Message("1", "a.b", "/x", data, 1.0, attributes=attributes)


def row(payload: bytes) -> bytes:
    """A row of a journal."""
    return b'[1.0,0,[["started",%b]]]' % payload


Try = tuple[Callable[[], Any], type[AmendsError] | None]
TRIES: dict[str, Try] = {
    "deep payload": (lambda: codec_for(Any, "x").decode(DEEP), ValueRefused),
    "deep payload of a type": (lambda: codec_for(Form, "x").decode(DEEP), ValueRefused),
    "wide payload of a type": (lambda: codec_for(list[int], "x").admit([1] * 1_000_000, "x"), LimitExceeded),
    "long number": (lambda: codec_for(Any, "x").decode(LONG), ValueRefused),
    "number beyond floats": (lambda: codec_for(float, "x").decode(b"1e400"), ValueRefused),
    "many digits of a decimal": (lambda: codec_for(Decimal, "x").decode(b'"' + LONG + b'"'), None),
    "deep value": (lambda: codec_for(Any, "x").admit(nested(5_000), "x"), ValueRefused),
    "large text": (lambda: codec_for(str, "x").admit("x" * 20_000_000, "x"), LimitExceeded),
    "deep row": (lambda: journal.decode(row(DEEP)), StoreDamaged),
    "wide row": (lambda: journal.decode(row(WIDE)), None),
    "deep history": (lambda: length_of(b"[" + DEEP + b"]"), MessageRefused),
    "history of nothing": (lambda: length_of(b"[" + b"[1.0,0,[]]," * 100_000 + b"[1.0,0,[]]]"), MessageRefused),
    "10,000 headers": (lambda: from_headers({f"ce-a{n}": "x" for n in range(10_000)} | REQUIRED, b""), MessageRefused),
    "a header's long name": (lambda: from_headers({"ce-" + "x" * 1_000_000: "x"} | REQUIRED, b""), MessageRefused),
    "a header's long value": (lambda: from_headers({"ce-x": "%41" * 2_000_000} | REQUIRED, b""), MessageRefused),
    "a foreign header's long name": (lambda: from_headers({"x" * 1_000_000: "x"} | REQUIRED, b""), None),
    "a body that is too long": (lambda: unfit(said({}, b"x" * (MESSAGE_BYTES + 1))), None),
    "deep reason": (lambda: wire.reply_of(said(REPLY, DEEP)), None),
    "wide reason": (lambda: wire.reply_of(said(REPLY, WIDE)), None),
    "long number for a reason": (lambda: wire.reply_of(said(REPLY, LONG)), None),
    "long step": (lambda: wire.reply_of(said(REPLY | {"amendsstep": "a" * 1_000_000}, b"")), MessageRefused),
    "long round": (lambda: wire.reply_of(said(REPLY | {"amendsround": "9" * 1_000_000}, b"")), MessageRefused),
    "too many rounds": (lambda: wire.reply_of(said(REPLY | {"amendsround": "10001"}, b"")), MessageRefused),
    "deep notice": (lambda: wire.ended_of(said(ENDED, b'{"sagas":' + DEEP + b"}")), MessageRefused),
    "wide notice": (lambda: wire.ended_of(said(ENDED, b'{"sagas":' + WIDE + b"}")), MessageRefused),
    "deep mail": (lambda: mailbox.flaw_of(DEEP, 10_000_000), None),
    "wide mail": (lambda: mailbox.flaw_of(WIDE, 1_000_000), None),
    "deep argument": (lambda: payload_of(DEEP.decode(), "the input"), ValueRefused),
    "long number for an argument": (lambda: payload_of(LONG.decode(), "the input"), ValueRefused),
    "long argument": (lambda: payload_of(json.dumps("x" * 2_000_000), "the input"), LimitExceeded),
}


def nested(depth: int) -> Any:
    """A list in a list, and so on."""
    made: Any = []
    for _ in range(depth):
        made = [made]
    return made


@pytest.mark.parametrize("name", TRIES)
def test_what_is_too_much_is_refused_in_words_and_soon(name: str) -> None:
    act, refusal = TRIES[name]
    before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()

    if refusal is None:
        act()
    else:
        with pytest.raises(refusal) as refused:
            act()
        assert len(str(refused.value)) < 1000, "it does not repeat what it refuses"

    assert time.process_time() - begun < SECONDS
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < MEGABYTES


def test_a_token_of_a_million_digits_is_looked_at_no_longer_than_another() -> None:
    tokens = Tokens([TokenKey(1, "a", b"x" * 32)])
    begun = time.process_time()

    for token in ("9" * 1_000_000, "1." + "0" * 1_000_000, "1" * 1_000_000 + ".0"):
        assert not tokens.fits(token, "n", bytes(16), "s", 1, Phase.ACTION)

    assert time.process_time() - begun < SECONDS


def test_names_of_headers_that_others_send_are_not_remembered() -> None:
    from amends.message import _attribute

    _attribute.cache_clear()
    for number in range(100):
        from_headers({f"{number}-{'x' * 10_000}": "1"} | REQUIRED, b"")

    assert _attribute.cache_info().currsize <= len(REQUIRED) + 1
