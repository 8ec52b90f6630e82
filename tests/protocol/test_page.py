"""The protocol's page says what the code does: its tables, its examples, its figures."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from amends.decide import wire
from amends.decide.barrier import HORIZON_SECONDS
from amends.decide.events import Phase
from amends.decide.wire import Word, command_of, reply_of
from amends.define.values import PAYLOAD_BYTES_MAX
from amends.errors import MessageRefused
from amends.message import ATTRIBUTE_BYTES_MAX, ATTRIBUTES_MAX, from_headers
from amends.run.settings import ID_CHARACTERS_MAX
from amends.transport.base import Destination, Kind
from amends.transport.door import MESSAGE_BYTES
from amends.transport.kafka_publish import PREFIX as KAFKA
from amends.transport.names import NAME_MAX, at_broker, commands_of, events_of, group_at_broker
from amends.transport.nats_places import consumer_of, stream_of
from amends.transport.rabbitmq_wire import PREFIX as RABBITMQ
from docs_page import blocks

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "protocol.md").read_text()
KINDS = ["action", "undo", "reply", "ended", "event"]
NOTHING = "\N{EN DASH}"
WITHOUT = {"datacontenttype"}  # it travels as the content type
EXAMPLES = {block.options["title"]: json.loads(block.body) for block in blocks(PAGE) if "title" in block.options}


def cells(row: str) -> list[str]:
    """What stands between the lines of a table's row."""
    return [cell.strip() for cell in row.strip("|").split(" | ")]


LIMITS = {row[0]: row[1] for row in map(cells, PAGE.split("## Limits")[1].splitlines()) if len(row) == 2}


def table(heading: str) -> list[list[str]]:
    """The rows of the table whose first column is called so, without its head."""
    found = re.search(rf"^\| {re.escape(heading)} \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.M)
    assert found is not None
    return [cells(row) for row in found[1].splitlines()]


def schema(kind: str) -> dict[str, Any]:
    """A schema beside the page."""
    loaded: dict[str, Any] = json.loads((DOCS / "protocol" / "schemas" / f"{kind}.json").read_text())
    return loaded


@pytest.mark.parametrize("kind", KINDS)
def test_the_table_of_attributes_is_that_of_the_schema(kind: str) -> None:
    column = KINDS.index(kind) + 1
    told = {row[0].strip("| `"): row[column].strip("`") for row in table("attribute")}
    known = schema(kind)

    assert {name for name, word in told.items() if word == "must"} == set(known["required"])
    means = {name: word for name, word in told.items() if word not in ("must", "may", NOTHING)}
    assert means == {
        name: one["default"]
        for name, one in known["properties"].items()
        if "default" in one and (kind, name) != ("action", "amendsknown")
    }
    named = set(known["properties"]) - WITHOUT
    assert {name for name, word in told.items() if word != NOTHING} <= named
    assert named <= set(told)


def test_the_example_of_a_command_and_that_of_its_reply_are_one_another_s() -> None:
    given, answer = EXAMPLES["action.json"], EXAMPLES["reply.json"]

    command = command_of(from_headers(given["headers"], given["body"].encode(), "ce_"))
    reply = reply_of(from_headers(answer["headers"], answer["body"].encode(), "ce_"))

    assert json.loads(command.data) == {"sku": "apple", "quantity": 3}
    assert (reply.word, json.loads(reply.data)) == (Word.SUCCEEDED, {"parcel": "P-1"})
    same = ("namespace", "saga", "key", "step", "phase", "round", "attempt", "token")
    assert [getattr(reply, name) for name in same] == [getattr(command, name) for name in same]


def test_the_table_of_outcomes_has_each_with_what_it_answers() -> None:
    answer = EXAMPLES["reply.json"]
    told = {row[0].strip("| `"): row[1] for row in table("word")}

    for word in Word:
        for phase in Phase:
            changed = answer["headers"] | {"ce_amendsoutcome": word.value, "ce_amendsphase": phase.value}
            try:
                taken = bool(reply_of(from_headers(changed, b"{}", "ce_")))
            except MessageRefused:
                taken = False
            assert taken == (told[word.value] in (phase.value, "both")), (word, phase)
    assert set(told) == {word.value for word in Word}


def test_the_names_at_the_brokers_are_those_of_the_transports() -> None:
    queue, topic = commands_of("shipping"), events_of("shop")
    told = {row[0].strip("| "): " ".join(row[1:]) for row in table("broker")}

    assert at_broker("amends", queue) == "amends.shipping.commands"
    assert group_at_broker("amends", topic, "billing") == "amends.shop.events@billing"
    for broker in ("Kafka", "RabbitMQ", "Redis"):
        assert at_broker("amends", queue) in told[broker]
        assert at_broker("amends", topic) in told[broker]
    for broker in ("Kafka", "RabbitMQ"):
        assert group_at_broker("amends", topic, "billing") in told[broker]
    assert stream_of("amends", queue) in told["NATS"]
    assert stream_of("amends", topic) in told["NATS"]
    assert f"`{consumer_of('amends', queue, '')}`" in told["NATS"]
    assert f"`{consumer_of('amends', topic, 'billing')}`" in told["NATS"]
    assert Destination("shop.events", Kind.TOPIC) == topic


def test_the_prefixes_of_headers_are_those_of_the_transports() -> None:
    told = {row[0].strip("| "): row[1] for row in table("carrier")}

    assert f"`{KAFKA}id`" in told["Kafka"]
    assert f"`{RABBITMQ}id`" in told["RabbitMQ (AMQP 0.9.1)"]
    assert "`ce_id`" in told["Redis streams"]
    assert "`ce-id`" in told["NATS"]


@pytest.mark.parametrize(
    ("what", "figure"),
    [
        (
            "attributes of a message beside `specversion`; a name; a value",
            f"{ATTRIBUTES_MAX}; 40 characters; 4,096 bytes",
        ),
        ("`amendskey`", f"{ID_CHARACTERS_MAX} characters"),
        ("`amendsround`, `amendsclosed`", f"{wire.ROUNDS_MAX:,}"),
        ("`amendsreplyto`", f"{wire._REPLIES_MAX} characters"),
        ("`amendsstep`", f"{wire._ADDRESS_MAX:,} characters"),
        ("`amendsattempt`", f"{wire.ATTEMPTS_MAX:,}"),
        ("a reason", f"{wire.REASON_CHARACTERS:,} characters"),
        ("sagas in an ended notice", f"{wire.SAGAS_PER_NOTICE:,}"),
        ("names at the broker, with prefix and group", f"{NAME_MAX} characters"),
        (
            "data",
            f"{PAYLOAD_BYTES_MAX // 2**20} MiB for a result unless configured otherwise; {MESSAGE_BYTES // 2**20} MiB",
        ),
    ],
)
def test_the_table_of_limits_has_the_figures_of_the_code(what: str, figure: str) -> None:
    assert LIMITS[what].startswith(figure)


def test_the_figures_in_the_text_are_those_of_the_code() -> None:
    assert ATTRIBUTE_BYTES_MAX == 4096
    assert f"more than {ATTRIBUTES_MAX} attributes beside `specversion`, or one of more than 4,096 bytes" in PAGE
    assert f"more than {HORIZON_SECONDS / 86400:.0f} days ago" in PAGE
    assert f"1 to {wire.ROUNDS_MAX:,}" in PAGE
