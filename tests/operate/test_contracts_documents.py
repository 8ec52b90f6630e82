"""Documents about contracts: AsyncAPI says where what travels and is valid, and a change that breaks is found."""

from __future__ import annotations

import copy
import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pydantic
import pytest
from jsonschema import Draft7Validator, Draft202012Validator

from amends import Orchestrator, Saga, Service, pivot, step
from amends.decide.events import Phase
from amends.decide.wire import Command, Ended, Reply, Word, command_message, ended_message, reply_message
from amends.errors import DefinitionError, TransportRefused
from amends.message import Message, headers
from amends.operate.contracts import contracts_in, document
from amends.operate.contracts_asyncapi import Options, as_draft_07, asyncapi
from amends.operate.contracts_check import broken
from amends.operate.contracts_headers import BROKERS, OUTCOMES, headers_schema
from amends.run.outbox_rows import EventRow, message_of
from amends.transport.rabbitmq_wire import PREFIX as AT_RABBITMQ

ROOT = Path(__file__).parents[2]
# The official schema of AsyncAPI 3.0.0 (npm: @asyncapi/specs, schemas/3.0.0-without-$id.json, Apache License 2.0),
# without its descriptions and examples.
OFFICIAL = Path(__file__).parent / "asyncapi-3.0.0.json.gz"
SAGA = bytes(range(16))


@dataclass(frozen=True)
class Order:
    sku: str


@dataclass(frozen=True)
class ReserveStock:
    sku: str
    quantity: int = 1


@dataclass(frozen=True)
class Reservation:
    ref: str


@dataclass(frozen=True)
class Short:
    missing: int


class Gone(pydantic.BaseModel):
    label: tuple[str, int]


def inventory() -> Service:
    """A service with a contract of every kind."""
    service = Service("inventory")
    service.command("reserve-stock", ReserveStock, reply=Reservation | Short)  # type: ignore[arg-type]  # a union
    service.command("forget", ReserveStock, compensation=False)
    service.command("count", ReserveStock, reply=tuple[int, str], readonly=True)
    service.event("gone", Gone, key=lambda event: event.label[0])
    return service


def made(broker: str = "kafka", **options: Any) -> dict[str, Any]:
    """The document of that service."""
    return asyncapi(contracts_in(inventory()), Options(broker=broker, **options))


@cache
def official() -> Draft7Validator:
    """AsyncAPI's own schema."""
    return Draft7Validator(json.loads(gzip.decompress(OFFICIAL.read_bytes())))


def references(part: Any) -> Iterator[str]:
    """All that a document refers to."""
    if isinstance(part, dict):
        yield from ([part["$ref"]] if isinstance(part.get("$ref"), str) else [])
        part = list(part.values())
    for inner in part if isinstance(part, list) else []:
        yield from references(inner)


def at(whole: Any, reference: str) -> Any:
    """What a reference leads to. Raises KeyError."""
    found = whole
    for name in reference.removeprefix("#/").split("/"):
        found = found[name]
    return found


# AsyncAPI


@pytest.mark.parametrize("broker", BROKERS)
def test_the_document_is_valid_asyncapi_for_every_broker(broker: str) -> None:
    whole = made(broker, prefix="shop.test", title="Shop", version="2026-01")

    assert [error.message for error in official().iter_errors(whole)] == []
    assert whole["info"] == {"title": "Shop", "version": "2026-01"}


def test_the_official_schema_refuses_what_is_wrong() -> None:
    """The check can fail."""
    for change in ({"asyncapi": "2.6.0"}, {"operations": {"x": {"action": "take", "channel": {"$ref": "#/x"}}}}):
        assert list(official().iter_errors({**made(), **change})) != []


@pytest.mark.parametrize("broker", BROKERS)
def test_every_reference_leads_somewhere(broker: str) -> None:
    whole = made(broker)
    found = list(references(whole))

    assert len(found) > 20
    for reference in found:
        assert at(whole, reference)


def test_messages_of_an_operation_are_messages_of_its_channel() -> None:
    whole = made()

    for operation in whole["operations"].values():
        for part in (operation, operation.get("reply")):
            if part is not None:
                channel = part["channel"]["$ref"]
                assert all(message["$ref"].startswith(f"{channel}/messages/") for message in part["messages"])


def test_a_channel_has_the_name_that_it_has_at_the_broker() -> None:
    channels = made(prefix="shop")["channels"]

    assert channels["inventory.commands"]["address"] == "shop.inventory.commands"
    assert channels["inventory.events"]["address"] == "shop.inventory.events"
    assert channels["replies"]["address"] is None, "each orchestrator's is another"


def test_a_service_receives_commands_and_sends_events() -> None:
    operations = made()["operations"]

    assert {name: operation["action"] for name, operation in operations.items()} == {
        "inventory.amends.ended": "receive",
        "inventory.count": "receive",
        "inventory.forget": "receive",
        "inventory.gone": "send",
        "inventory.reserve-stock": "receive",
        "inventory.reserve-stock.undo": "receive",
    }
    assert "reply" in operations["inventory.forget"], "a command without a result is answered all the same"
    assert "reply" not in operations["inventory.gone"]


def test_bindings_are_there_where_asyncapi_knows_what_the_transport_does() -> None:
    kafka, rabbitmq = made("kafka"), made("rabbitmq")

    assert kafka["channels"]["inventory.commands"]["bindings"]["kafka"]["topic"] == "amends.inventory.commands"
    assert kafka["operations"]["inventory.forget"]["bindings"]["kafka"]["groupId"]["const"] == (
        "amends.inventory.commands"
    )
    assert rabbitmq["channels"]["inventory.commands"]["bindings"]["amqp"]["queue"]["name"] == (
        "amends.inventory.commands"
    )
    assert rabbitmq["channels"]["inventory.events"]["bindings"]["amqp"]["exchange"]["type"] == "fanout"
    assert "bindings" not in json.dumps([made("nats"), made("redis")])


def test_a_name_that_is_too_long_at_the_broker_is_refused() -> None:
    with pytest.raises(TransportRefused, match="is no name of a destination"):
        made(prefix="x" * 220)


def test_payloads_in_the_document_are_those_that_travel() -> None:
    whole = made()
    known = {contract.type: contract for contract in contracts_in(inventory())}

    def check(message: str, codec: Any, value: object) -> None:
        payload, _ = codec.admit(value, "it")
        schema = {**whole["components"]["messages"][message]["payload"], "components": whole["components"]}
        assert [error.message for error in Draft7Validator(schema).iter_errors(json.loads(payload))] == []
        assert list(Draft7Validator(schema).iter_errors({"other": 1})) != []

    check("inventory.reserve-stock", known["inventory.reserve-stock"].sent, ReserveStock("tea", 3))
    check("inventory.reserve-stock.succeeded", known["inventory.reserve-stock"].replied, Short(2))
    check("inventory.count.succeeded", known["inventory.count"].replied, (3, "tea"))
    check("inventory.gone", known["inventory.gone"].sent, Gone(label=("tea", 3)))


def test_schemas_are_written_in_the_words_that_asyncapi_knows() -> None:
    given = {
        "properties": {"prefixItems": {"$ref": "#/x", "minimum": 3}, "discriminator": {"type": "string"}},
        "discriminator": {"propertyName": "kind", "mapping": {}},
        "prefixItems": [{"type": "integer"}],
        "items": False,
    }

    assert as_draft_07(given) == {
        "properties": {
            "prefixItems": {"minimum": 3, "allOf": [{"$ref": "#/x"}]},
            "discriminator": {"type": "string"},
        },
        "items": [{"type": "integer"}],
        "additionalItems": False,
    }


def test_contracts_whose_messages_would_have_one_name_are_refused() -> None:
    service = inventory()
    service.command("reserve-stock.undo", ReserveStock)

    with pytest.raises(DefinitionError, match=r"two messages .* called inventory.reserve-stock.undo; rename"):
        asyncapi(contracts_in(service))


# Headers


def command(phase: Phase) -> Message:
    """A command as it is sent."""
    told = Command(
        "a.b", "default", SAGA, "order-1", "book", phase, b"{}", "token", "shop.replies", 1e9, closed=1, known=True
    )
    return command_message(told._replace(trace={"traceparent": "00-x"}), "1", "/shop")


def reply(phase: Phase, word: Word) -> Message:
    """A reply as it is sent."""
    told = Reply("default", SAGA, "order-1", "book", phase, word, "token", after=1.0, park=True, final=True)
    return reply_message(told, "a.b", "1", "/inventory", 1e9, {})


SENT = {
    "action": [command(Phase.ACTION)],
    "undo": [command(Phase.UNDO)],
    "reply": [
        *(reply(Phase.ACTION, Word(word)) for word in OUTCOMES["action"]),
        *(reply(Phase.UNDO, Word(word)) for word in OUTCOMES["undo"]),
    ],
    "ended": [ended_message(Ended("default", (SAGA,)), "1", "/shop", 1e9)],
    "event": [message_of(EventRow(1, "1", "a.b", "tea", "{}", '{"traceparent": "00-x"}', 1e9), "inventory")],
}


@pytest.mark.parametrize("kind", SENT)
def test_what_is_sent_has_the_headers_that_the_document_tells(kind: str) -> None:
    for message in SENT[kind]:
        schema = headers_schema(kind, message.type, "ce_")
        found = headers(message, "ce_")

        assert [error.message for error in Draft202012Validator(schema).iter_errors(found)] == []
        assert found.keys() - schema["properties"].keys() == set()


@pytest.mark.parametrize("kind", SENT)
def test_headers_are_those_of_the_protocol(kind: str) -> None:
    told = json.loads((ROOT / "docs" / "protocol" / "schemas" / f"{kind}.json").read_text())
    schema = headers_schema(kind, "a.b", "")

    assert schema["properties"].keys() == told["properties"].keys() - {"datacontenttype"}
    assert sorted(schema["required"]) == sorted(told["required"])
    if kind == "reply":
        assert sorted(schema["properties"]["amendsoutcome"]["enum"]) == sorted(Word)


def test_headers_begin_as_the_broker_has_them() -> None:
    assert BROKERS["rabbitmq"] == AT_RABBITMQ
    for broker, mark in BROKERS.items():
        message = made(broker)["components"]["messages"]["inventory.forget"]
        assert f"{mark}amendssaga" in message["headers"]["required"]
        assert made(broker)["components"]["correlationIds"]["saga"]["location"].endswith(f"#/{mark}amendssaga")


# Where contracts are found


def test_contracts_are_found_in_sagas_and_orchestrators_too() -> None:
    service = inventory()
    reserve = service.commands["reserve-stock"].request(_ask)
    count = service.commands["count"].request(name="count")(_ask)
    saga = Saga("order", count, reserve, pivot, step(_ship), input=Order)

    found = document(contracts_in(Orchestrator("memory://", sagas=[saga])))

    whole = document(contracts_in(service))
    assert found == {name: whole[name] for name in ("inventory.count", "inventory.reserve-stock")}
    assert found == document(contracts_in(saga))


def test_two_contracts_of_one_name_that_differ_are_refused() -> None:
    service, other = Service("inventory"), Service("inventory")
    one = service.command("stock", ReserveStock).request(name="one")(_ask)
    two = other.command("stock", ReserveStock, reply=Reservation).request(name="two")(_ask)

    with pytest.raises(
        DefinitionError, match=r"the contract inventory\.stock is declared twice, and not in the same way"
    ):
        contracts_in(Saga("order", one, two, input=Order))


# What has changed


def changed(**parts: Any) -> list[str]:
    """What a change to the schema of a command breaks. Each part: a field's schema, or None to leave it out."""
    old = document(contracts_in(inventory()))
    new = copy.deepcopy(old)
    fields = new["inventory.forget"]["command"]["$defs"]["ReserveStock"]["properties"]
    for name, schema in parts.items():
        fields[name] = schema
        if schema is None:
            del fields[name]
    return broken(old, new)


def test_nothing_has_changed_between_a_document_and_itself() -> None:
    whole = document(contracts_in(inventory()))

    assert broken(whole, json.loads(json.dumps(whole))) == []


def test_new_contracts_new_optional_fields_and_words_break_nothing() -> None:
    old = document(contracts_in(inventory()))
    service = inventory()
    service.event("came", Gone)

    assert broken(old, document(contracts_in(service))) == []
    assert changed(note={"type": "string", "default": ""}) == []
    assert changed(sku={"type": "string", "description": "in words"}) == []


def test_a_field_that_is_gone_is_named() -> None:
    assert changed(sku=None) == ["inventory.forget, command.sku: it is gone, and older programs need it"]
    assert changed(quantity=None) == ["inventory.forget, command.quantity: it is gone"]


def test_a_field_of_another_type_is_named() -> None:
    assert changed(quantity={"type": "string"}) == ["inventory.forget, command.quantity: it was integer and is string"]
    assert changed(quantity={"anyOf": [{"type": "integer"}, {"type": "null"}]}) == [
        "inventory.forget, command.quantity: it was integer and is one of several"
    ]
    assert changed(sku={"type": "string", "format": "uuid"}) == [
        "inventory.forget, command.sku: format was not said and is 'uuid'"
    ]


def test_a_new_field_that_must_be_there_is_named() -> None:
    old = document(contracts_in(inventory()))
    new = copy.deepcopy(old)
    new["inventory.forget"]["command"]["$defs"]["ReserveStock"]["required"].append("quantity")

    assert broken(old, new) == [
        "inventory.forget, command.quantity: it must be there now, and older programs may not send it"
    ]


def test_a_contract_that_is_gone_or_of_another_kind_is_named() -> None:
    old = document(contracts_in(inventory()))
    without = {name: told for name, told in old.items() if name != "inventory.gone"}

    assert broken(old, without) == ["inventory.gone: it is gone"]
    assert broken(old, {**old, "inventory.gone": old["inventory.forget"]}) == [
        "inventory.gone: it was an event and is none any more"
    ]


def test_what_sagas_rely_on_is_kept() -> None:
    old = document(contracts_in(inventory()))
    new = copy.deepcopy(old)
    new["inventory.reserve-stock"]["compensation"] = False
    new["inventory.count"]["readonly"] = False

    assert broken(old, new) == [
        "inventory.count: it is no longer readonly, so sagas that ask for it would not undo it",
        "inventory.reserve-stock: it can no longer be undone, and sagas that have asked for it rely on that",
    ]


def test_a_change_deep_inside_a_type_in_itself_is_found_once() -> None:
    def documented(kind: str) -> dict[str, Any]:
        node = {"type": "object", "properties": {"value": {"type": kind}, "next": {"$ref": "#/$defs/Node"}}}
        listed = {"type": "array", "items": {"$ref": "#/$defs/Node"}, "$defs": {"Node": node}}
        return {"a.b": {"event": listed}}

    assert broken(documented("string"), documented("integer")) == ["a.b, event[…].value: it was string and is integer"]


def test_alternatives_of_a_union_are_compared() -> None:
    old = document(contracts_in(inventory()))
    new = copy.deepcopy(old)
    arms = new["inventory.reserve-stock"]["reply"]["anyOf"]
    arms[0]["properties"]["$type"]["const"] = "Renamed"

    assert broken(old, new) == ["inventory.reserve-stock, reply.$type: const was 'Reservation' and is 'Renamed'"]
    arms.pop()
    assert broken(old, new) == ["inventory.reserve-stock, reply: it had 2 alternatives and has 1"]


def _ask(order: Order) -> ReserveStock:
    return ReserveStock(order.sku)


def _ship(order: Order) -> None: ...
