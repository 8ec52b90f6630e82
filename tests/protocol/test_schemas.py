"""The JSON Schemas of the protocol's page take what the code takes, and refuse what it refuses."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from amends.decide.chain import NAMES as NAMES_OF_CHAINS
from amends.decide.chain import Chain, chain_of
from amends.decide.wire import Kind, Word, command_of, ended_of, reply_of
from amends.errors import MessageRefused
from amends.message import from_headers, headers
from amends.run.outbox_rows import EventRow, message_of

DOCS = Path(__file__).parents[2] / "docs" / "protocol"
PREFIX = {"http": "ce-", "nats": "ce-", "kafka": "ce_", "rabbitmq": "cloudEvents_", "redis": "ce_"}
READ = {"action": command_of, "undo": command_of, "reply": reply_of, "ended": ended_of}
SHORT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
NUMBERS = ["0", "1", "2", "01", "-1", "10000", "10001", "999999999", "1000000000", "2.5", "1.", "99999999.5", "1e3"]
WORDS = ["true", "false", "succeeded", "unknown", "a.replies", ".replies", "A.b-c_.replies", "a/b[0]/c", "0" * 32]
VALUES = st.sampled_from([*NUMBERS, *WORDS, *Kind, *Word, "", " ", "\n", "é"]) | SHORT
NAMES = [
    *("amendskind", "amendsnamespace", "amendssaga", "amendskey", "amendsstep", "amendsround", "amendsattempt"),
    *("amendsclosed", "amendsknown", "amendsreplyto", "amendstoken", "amendsphase", "amendsoutcome", "amendsafter"),
    *("amendspark", "amendsfinal", "traceparent", "other", "No-Name"),
]


@cache
def schema(name: str) -> Draft202012Validator:
    """One of the schemas."""
    loaded = json.loads((DOCS / "schemas" / f"{name}.json").read_text())
    Draft202012Validator.check_schema(loaded)
    return Draft202012Validator(loaded)


def vectors(kind: str) -> list[dict[str, Any]]:
    """The vectors of a kind."""
    loaded: list[dict[str, Any]] = json.loads((DOCS / "vectors" / f"{kind}.json").read_text())
    return loaded


def attributes(kind: str) -> dict[str, str]:
    """The attributes of the first vector of a kind."""
    told = vectors(kind)[0]
    message = from_headers(told["headers"], told["body"].encode(), PREFIX[told["carrier"]])
    return {name.removeprefix("ce_"): value for name, value in headers(message, "ce_").items()}


@pytest.mark.parametrize("kind", READ)
def test_what_the_vectors_mean_fits_the_schema_of_its_kind(kind: str) -> None:
    for told in vectors(kind):
        if "means" in told:
            message = from_headers(told["headers"], told["body"].encode(), PREFIX[told["carrier"]])
            found = {name.removeprefix("ce_"): value for name, value in headers(message, "ce_").items()}
            assert list(schema(kind).iter_errors(found)) == [], told["name"]


@pytest.mark.parametrize("kind", READ)
def test_no_message_of_another_kind_fits(kind: str) -> None:
    for other in READ:
        assert schema(kind).is_valid(attributes(other)) == (kind == other)


@pytest.mark.parametrize("kind", READ)
def test_the_vectors_that_are_refused_for_an_attribute_do_not_fit(kind: str) -> None:
    for told in vectors(kind):
        prefix = PREFIX[told["carrier"]]
        if "refused" in told and prefix == "ce_" and told["refused"] != "data":
            given = told["headers"].items()
            found = {name.removeprefix(prefix): value for name, value in given if name.startswith(prefix)}
            assert not schema(kind).is_valid(found), told["name"]


@pytest.mark.parametrize("kind", READ)
@settings(max_examples=400, deadline=None)
@given(changes=st.dictionaries(st.sampled_from(NAMES), st.none() | VALUES, max_size=3))
def test_a_schema_takes_just_what_the_code_takes(kind: str, changes: dict[str, str | None]) -> None:
    merged = {**attributes(kind), **changes}
    found = {name: value for name, value in merged.items() if value is not None}
    data = vectors(kind)[0]["body"].encode()

    try:
        READ[kind](from_headers({f"ce_{name}": value for name, value in found.items()}, data, "ce_"))
        taken = found["amendskind"] == kind
    except MessageRefused:
        taken = False

    assert schema(kind).is_valid(found | ({"no-name": "x"} if "No-Name" in found else {})) == taken


@pytest.mark.parametrize(
    ("name", "value"), [("amendssaga", "0" * 32 + "\n"), ("amendsstep", "a" * 4001), ("other", "x" * 4097)]
)
def test_a_schema_minds_the_ends_and_the_lengths(name: str, value: str) -> None:
    assert not schema("action").is_valid(attributes("action") | {name: value})


@pytest.mark.parametrize("outcome", Word)
@pytest.mark.parametrize("phase", ["action", "undo"])
def test_a_reply_fits_where_its_phase_can_have_its_outcome(phase: str, outcome: Word) -> None:
    found = attributes("reply") | {"amendsphase": phase, "amendsoutcome": outcome.value}
    message = from_headers({f"ce_{name}": value for name, value in found.items()}, b"", "ce_")

    try:
        taken = bool(reply_of(message))
    except MessageRefused:
        taken = False
    assert schema("reply").is_valid(found) == taken


def test_an_event_needs_its_kind_beside_what_the_standard_asks_for() -> None:
    row = EventRow(1, "e-1", "shipping.shipped", "P-1", '{"parcel":"P-1"}', '{"traceparent":"00-0a-0b-01"}', 1.5)
    written = headers(message_of(row, "shipping"), "ce_")
    event = {name.removeprefix("ce_"): value for name, value in written.items()}
    bare = {"specversion": "1.0", "id": "1", "type": "shipping.shipped", "source": "shipping", "amendskind": "event"}

    assert schema("event").is_valid(event)
    assert schema("event").is_valid(bare)
    for name in bare:
        assert not schema("event").is_valid(bare | {name: "reply"}) or name in ("id", "type", "source")
        assert not schema("event").is_valid({other: value for other, value in bare.items() if other != name})


@settings(max_examples=200, deadline=None)
@given(hops=st.sampled_from(NUMBERS) | VALUES)
def test_the_schema_of_an_event_takes_the_hops_that_the_code_takes(hops: str) -> None:
    bare = {"specversion": "1.0", "id": "1", "type": "shipping.shipped", "source": "shipping", "amendskind": "event"}
    found = {**bare, "amendshops": hops}

    try:
        chain = chain_of(from_headers({f"ce_{name}": value for name, value in found.items()}, b"", "ce_"))
        taken = chain == Chain("1", "", int(hops))
    except MessageRefused:
        taken = False

    assert schema("event").is_valid(found) == taken


def test_what_an_event_says_of_its_chain_fits_the_schema() -> None:
    told = {**Chain("order-42", "m-1", 2).attributes("m-2")}
    bare = {"specversion": "1.0", "id": "m-2", "type": "a.b", "source": "a", "amendskind": "event"}

    known = json.loads((DOCS / "schemas" / "event.json").read_text())["properties"]
    assert set(told) == set(NAMES_OF_CHAINS) <= set(known)
    assert schema("event").is_valid(bare | told)
    assert not schema("event").is_valid(bare | told | {"amendscausation": ""})


@pytest.mark.parametrize(
    ("data", "fits"),
    [({"reason": "no"}, True), ({"reason": ""}, True), ({}, False), ({"reason": 7}, False), (None, False)],
)
def test_the_data_of_a_reply_without_success_is_its_reason(data: object, fits: bool) -> None:
    assert schema("reason-data").is_valid(data) == fits


def test_the_data_of_all_vectors_fits() -> None:
    for told in vectors("ended"):
        fits = schema("ended-data").is_valid(json.loads(told["body"])) if told["body"][:1] == "{" else False
        assert fits == (told.get("refused") != "data")
    for told in vectors("reply"):
        if told.get("means", {}).get("word") not in (None, "succeeded") and "reads_only" not in told:
            assert schema("reason-data").is_valid(json.loads(told["body"]))
