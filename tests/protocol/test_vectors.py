"""The test vectors of the protocol's page say what this code does, in both directions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from amends.decide.barrier import HORIZON_SECONDS, Arrival, Entry, Kept, Verdict, answer, arrives
from amends.decide.events import Phase
from amends.decide.wire import (
    Command,
    Ended,
    Reply,
    Word,
    command_message,
    command_of,
    ended_message,
    ended_of,
    reply_message,
    reply_of,
)
from amends.errors import MessageRefused
from amends.message import Message, from_headers, from_rfc3339, headers, rfc3339

VECTORS = Path(__file__).parents[2] / "docs" / "protocol" / "vectors"
PREFIX = {"http": "ce-", "nats": "ce-", "kafka": "ce_", "rabbitmq": "cloudEvents_", "redis": "ce_"}
KINDS = ["action", "undo", "reply", "ended"]


class Vector(NamedTuple):
    """One of a message."""

    kind: str
    told: dict[str, Any]

    def message(self) -> Message:
        """What comes out of its headers. Raises MessageRefused."""
        return from_headers(self.told["headers"], self.told["body"].encode(), PREFIX[self.told["carrier"]])

    def read(self) -> Command | Reply | Ended:
        """What it says. Raises MessageRefused."""
        message = self.message()
        if self.kind == "reply":
            return reply_of(message)
        return ended_of(message) if self.kind == "ended" else command_of(message)


def load(kind: str) -> list[dict[str, Any]]:
    """The vectors of one file."""
    loaded: list[dict[str, Any]] = json.loads((VECTORS / f"{kind}.json").read_text())
    return loaded


def vectors(word: str) -> list[Any]:
    """Those that have a word: `means` or `refused`."""
    made = [Vector(kind, told) for kind in KINDS for told in load(kind)]
    return [pytest.param(one, id=f"{one.kind}: {one.told['name']}") for one in made if word in one.told]


def meaning(read: Command | Reply | Ended) -> dict[str, Any]:
    """What was read, as a vector tells it."""
    told = dict(read._asdict())
    if isinstance(read, Ended):
        return told | {"sagas": [saga.hex() for saga in read.sagas]}
    told |= {"saga": read.saga.hex(), "phase": read.phase.value, "data": json.loads(read.data)}
    if isinstance(read, Reply):
        return told | {"word": read.word.value}
    return told | {"sent_at": rfc3339(read.sent_at), "trace": dict(read.trace)}


def message_of(read: Command | Reply | Ended, like: Message) -> Message:
    """The message that says it, with the id, source, time and trace of another."""
    if isinstance(read, Command):
        return command_message(read, like.id, like.source)
    if isinstance(read, Ended):
        return ended_message(read, like.id, like.source, like.time)
    trace = {name: like.attributes[name] for name in ("traceparent", "tracestate") if name in like.attributes}
    return reply_message(read, like.type, like.id, like.source, like.time, trace)


@pytest.mark.parametrize("vector", vectors("means"))
def test_a_vector_is_read_as_it_says(vector: Vector) -> None:
    assert meaning(vector.read()) == vector.told["means"]


@pytest.mark.parametrize("vector", [each for each in vectors("means") if "reads_only" not in each.values[0].told])
def test_a_vector_is_what_is_written(vector: Vector) -> None:
    prefix = PREFIX[vector.told["carrier"]]
    message = message_of(vector.read(), vector.message())

    told = vector.told["headers"]
    assert headers(message, prefix) == {name: value for name, value in told.items() if name.startswith(prefix)}
    assert json.loads(message.data) == json.loads(vector.told["body"])


@pytest.mark.parametrize("vector", vectors("refused"))
def test_a_vector_that_is_none_is_refused_for_the_reason_it_gives(vector: Vector) -> None:
    with pytest.raises(MessageRefused) as refusal:
        vector.read()

    assert vector.told["refused"] in str(refusal.value)


@pytest.mark.parametrize("carrier", PREFIX)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_vector_over_every_carrier(kind: str, carrier: str) -> None:
    assert [told for told in load(kind) if told["carrier"] == carrier and "means" in told]


def test_every_outcome_has_a_vector() -> None:
    assert {told["means"]["word"] for told in load("reply") if "means" in told} == {word.value for word in Word}


def entry(told: dict[str, Any]) -> Entry:
    """A row of the inbox."""
    return Entry(Kept(told["action"]), told["compensated"], told["missing"])


@pytest.mark.parametrize("told", [pytest.param(told, id=told["name"]) for told in load("barrier")])
def test_a_vector_of_the_barrier_is_what_the_barrier_does(told: dict[str, Any]) -> None:
    now = from_rfc3339("2026-03-01T00:00:00Z")
    command = told["command"]
    sent_at = now - HORIZON_SECONDS - 1 if command["old"] else now
    rows = {int(round_): entry(row) for round_, row in told["rows"].items()}
    arrival = Arrival(Phase(command["phase"]), command["round"], sent_at, command["closed"], command["known"])

    verdict, written, tombstones = arrives(arrival, rows, now)

    writes = {str(round_): Entry(Kept.TOMBSTONE) for round_ in tombstones}
    if written is not None:
        writes[str(command["round"])] = written
    assert verdict == told["verdict"]
    assert writes == {round_: entry(row) for round_, row in told.get("writes", {}).items()}
    if verdict is not Verdict.RUN:
        assert answer(verdict, rows.get(command["round"])) == told["outcome"]


def test_every_verdict_has_a_vector_for_each_phase_that_can_have_it() -> None:
    found = {(told["command"]["phase"], told["verdict"]) for told in load("barrier")}

    both, actions, undos = ["expired", "replay", "run"], ["fenced", "earlier open"], ["void", "missing"]
    assert found == {("action", one) for one in both + actions} | {("undo", one) for one in both + undos}
