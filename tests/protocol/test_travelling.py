"""What travels of choreographed sagas: the page, the schemas and the vectors say what the code does."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from amends.decide import baton as b
from amends.decide.baton import Kind
from amends.errors import MessageRefused
from amends.message import Message, from_headers, headers, rfc3339

DOCS = Path(__file__).parents[2] / "docs"
PREFIX = {"http": "ce-", "nats": "ce-", "kafka": "ce_", "rabbitmq": "cloudEvents_", "redis": "ce_"}
READ: dict[str, Callable[[Message], Any]] = {
    "baton": b.baton_of,
    "word": b.word_of,
    "mark": b.mark_of,
    "answer": b.answer_of,
    "progress": b.progress_of,
}
WRITE: dict[str, Callable[[Any, Message], Message]] = {
    "baton": lambda told, like: b.baton_message(told, like.id, like.source),
    "word": lambda told, like: b.word_message(told, like.id, like.source, like.time),
    "mark": lambda told, like: b.mark_message(told, like.id, like.source, like.time),
    "answer": lambda told, like: b.answer_message(told, like.id, like.source, like.time),
    "progress": lambda told, like: b.progress_message(told, like.id, like.source, like.time),
}
NAMES = [
    *("amendskind", "amendssaga", "amendskey", "amendsplan", "amendsfingerprint", "amendshome", "amendsstep"),
    *("amendsphase", "amendsround", "amendsmarks", "amendsmark", "amendsverb", "amendsanswer", "amendsstand"),
    *("amendsservice", "amendslength", "other"),
]
HEX = "0f" * 16
WORDS = [HEX, f"{HEX},{HEX}", f",{HEX},,", f"{HEX},x", "x" * 201, "a.b-c", "7up", "a b", "cancel", "a" * 21, "Cancel"]
OTHERS = ["action", "undo", "1", "0", "01", "10000", "10001", "ended", "parked", "unknown-plan", "accepted", "refused"]
VALUES = st.sampled_from([*WORDS, *READ, *OTHERS, "999999", "1000000", "too late", "", ",", " ", "\n"]) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=6
)
PAGE = (DOCS / "protocol.md").read_text()
NOTHING = "\N{EN DASH}"


def schema(name: str) -> Draft202012Validator:
    """One of the schemas."""
    loaded = json.loads((DOCS / "protocol" / "schemas" / f"{name}.json").read_text())
    Draft202012Validator.check_schema(loaded)
    return Draft202012Validator(loaded)


def vectors(kind: str) -> list[dict[str, Any]]:
    """The vectors of a kind."""
    loaded: list[dict[str, Any]] = json.loads((DOCS / "protocol" / "vectors" / f"{kind}.json").read_text())
    return loaded


def each(word: str) -> list[Any]:
    """Those that have a word: `means` or `refused`."""
    return [pytest.param(kind, told, id=told["name"]) for kind in READ for told in vectors(kind) if word in told]


def message_of(told: dict[str, Any]) -> Message:
    """What a vector is. Raises MessageRefused."""
    return from_headers(told["headers"], told["body"].encode(), PREFIX[told["carrier"]])


def attributes(told: dict[str, Any]) -> dict[str, str]:
    """Those of a vector, without the carrier's prefix and encoding."""
    return {name.removeprefix("ce_"): value for name, value in headers(message_of(told), "ce_").items()}


def plain(value: Any) -> Any:
    """As JSON would have it."""
    if isinstance(value, b.Saga):
        return {**value._asdict(), "id": value.id.hex()}
    if isinstance(value, bytes):
        return value.decode()
    return list(value) if isinstance(value, tuple) else value


def meaning(read: Any) -> dict[str, Any]:
    """What was read, as a vector tells it."""
    told = {name: plain(value) for name, value in read._asdict().items()}
    if "history" in told:
        told["history"] = json.loads(told["history"])
    if "sent_at" in told:
        told["sent_at"] = rfc3339(told["sent_at"])
    return told


@pytest.mark.parametrize(("kind", "told"), each("means"))
def test_a_vector_is_read_as_it_says(kind: str, told: dict[str, Any]) -> None:
    assert meaning(READ[kind](message_of(told))) == told["means"]


@pytest.mark.parametrize(("kind", "told"), each("means"))
def test_a_vector_is_what_is_written(kind: str, told: dict[str, Any]) -> None:
    message = message_of(told)
    written = WRITE[kind](READ[kind](message), message)

    prefix = PREFIX[told["carrier"]]
    given = {name: value for name, value in told["headers"].items() if name.startswith(prefix)}
    assert (headers(written, prefix), json.loads(written.data)) == (given, json.loads(told["body"]))


@pytest.mark.parametrize(("kind", "told"), each("refused"))
def test_a_vector_that_is_none_is_refused_for_the_reason_it_gives(kind: str, told: dict[str, Any]) -> None:
    with pytest.raises(MessageRefused) as refusal:
        READ[kind](message_of(told))

    assert told["refused"] in str(refusal.value)


@pytest.mark.parametrize("carrier", PREFIX)
@pytest.mark.parametrize("kind", READ)
def test_every_kind_has_a_vector_over_every_carrier(kind: str, carrier: str) -> None:
    assert set(READ) == {kind.value for kind in Kind}
    assert [told for told in vectors(kind) if told["carrier"] == carrier and "means" in told]


@pytest.mark.parametrize("kind", READ)
def test_only_the_vectors_of_its_kind_fit_a_schema(kind: str) -> None:
    for other in READ:
        for told in vectors(other):
            if "means" in told:
                assert schema(kind).is_valid(attributes(told)) == (kind == other), told["name"]


@pytest.mark.parametrize("kind", READ)
@settings(max_examples=150, deadline=None)
@given(changes=st.dictionaries(st.sampled_from(NAMES), st.none() | VALUES, max_size=3))
def test_a_schema_takes_just_what_the_code_takes(kind: str, changes: dict[str, str | None]) -> None:
    first = vectors(kind)[0]
    merged = {**attributes(first), **changes}
    found = {name: value for name, value in merged.items() if value is not None}

    try:
        READ[kind](from_headers({f"ce_{name}": value for name, value in found.items()}, first["body"].encode(), "ce_"))
        taken = True
    except MessageRefused:
        taken = False

    assert schema(kind).is_valid(found) == taken


@pytest.mark.parametrize("kind", ["mark", "answer"])
def test_the_data_of_the_vectors_fits_where_it_is_taken(kind: str) -> None:
    for told in vectors(kind):
        assert schema(f"{kind}-data").is_valid(json.loads(told["body"])) == (told.get("refused") != "data")


@pytest.mark.parametrize("kind", READ)
def test_the_page_has_the_attributes_of_the_schemas(kind: str) -> None:
    found = re.search(r"^\| of what travels \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.M)
    assert found is not None
    rows = [[cell.strip() for cell in row.strip("|").split(" | ")] for row in found[1].splitlines()]
    told = {row[0].strip("| `"): row[1 + list(READ).index(kind)].strip("`") for row in rows}
    known = json.loads((DOCS / "protocol" / "schemas" / f"{kind}.json").read_text())
    common = ("specversion", "id", "type", "source", "time", "amendskind")
    needed = {name for name in known["required"] if name not in common}

    assert {name for name, word in told.items() if word == "must"} == needed | {"time"} & set(known["required"])
    named = {name for name in known["properties"] if name.startswith("amends") and name != "amendskind"}
    assert {name for name, word in told.items() if word != NOTHING} - {"time"} == named
