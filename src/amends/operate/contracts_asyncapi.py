"""Contracts as an AsyncAPI 3.0 document: https://www.asyncapi.com.

Guarantees: addresses are those at the broker, computed where the transports compute them; every reference leads
somewhere in the document.
Must not: claim what a broker does not do: where AsyncAPI has no binding that fits, there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from amends.define.schemas import Definitions, Json
from amends.define.values import Codec
from amends.errors import DefinitionError
from amends.operate.contracts import Contract
from amends.operate.contracts_headers import BROKERS, OUTCOMES, headers_schema
from amends.transport.base import Destination, Kind
from amends.transport.names import PREFIX, at_broker, commands_of, events_of

VERSION = "3.0.0"
_SCHEMAS = "#/components/schemas/"
_NAMES = frozenset({"properties", "patternProperties", "definitions", "dependentSchemas"})
_REASON: Json = {
    "type": "object",
    "properties": {"reason": {"type": "string", "description": "In words, for people."}},
    "required": ["reason"],
}
_ENDED: Json = {
    "type": "object",
    "properties": {
        "sagas": {"type": "array", "maxItems": 1000, "items": {"type": "string", "pattern": "^[0-9a-f]{32}$"}}
    },
    "required": ["sagas"],
}


class Options(NamedTuple):
    """How a document is written. prefix: of names at the broker. broker: whose headers and bindings; none for HTTP's
    headers and no bindings. title, version: of the document."""

    prefix: str = PREFIX
    broker: str = "kafka"
    title: str = ""
    version: str = "1"


def asyncapi(contracts: Sequence[Contract], options: Options = Options()) -> Json:  # noqa: B008  # a frozen value
    """The document. Raises TransportRefused for a name that no broker takes, and DefinitionError."""
    writing = _Writing(options)
    for contract in contracts:
        if contract.is_event:
            writing.event(contract)
        else:
            writing.command(contract)
    services = ", ".join(dict.fromkeys(contract.service for contract in contracts))
    return {
        "asyncapi": VERSION,
        "info": {"title": options.title or f"Contracts of {services}", "version": options.version},
        "defaultContentType": "application/json",
        "channels": writing.channels,
        "operations": writing.operations,
        "components": writing.components(),
    }


class _Writing:
    """A document as it grows."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._mark = BROKERS[options.broker]
        self._definitions = Definitions(_SCHEMAS)
        self._messages: dict[str, Json] = {}
        self.channels: dict[str, Json] = {}
        self.operations: dict[str, Json] = {}

    def command(self, contract: Contract) -> None:
        """A command: what is asked, what is answered, and the same for its undo."""
        self._service(contract.service)
        parts = [("action", contract.type, "")]
        parts += [("undo", f"{contract.type}.undo", "Undo ")] if contract.undoable else []
        for kind, id_, word in parts:
            self._message(id_, f"{word}{contract.type}", headers_schema(kind, contract.type, self._mark), contract.sent)
            answers = self._answers(contract, kind, id_)
            operation = {
                "action": "receive",
                "summary": _summary(contract, kind),
                "channel": {"$ref": _to("channels", f"{contract.service}.commands")},
                "messages": [self._in_channel(f"{contract.service}.commands", id_)],
                "reply": {
                    "address": {
                        "location": f"$message.header#/{self._mark}amendsreplyto",
                        "description": f"A queue, whose name at the broker begins with `{self._options.prefix}.`",
                    },
                    "channel": {"$ref": _to("channels", "replies")},
                    "messages": answers,
                },
            }
            self.operations[id_] = self._bound(operation, commands_of(contract.service))

    def event(self, contract: Contract) -> None:
        """An event that a service tells."""
        source = events_of(contract.service)
        self._channel(source.name, source)
        self._message(contract.type, contract.type, headers_schema("event", contract.type, self._mark), contract.sent)
        self.operations[contract.type] = {
            "action": "send",
            "summary": f"{contract.service} tells it to whoever listens"
            + ("; those with the same key in order" if contract.keyed else ""),
            "channel": {"$ref": _to("channels", source.name)},
            "messages": [self._in_channel(source.name, contract.type)],
        }

    def components(self) -> Json:
        """What the rest refers to."""
        saga = {"location": f"$message.header#/{self._mark}amendssaga", "description": "The saga's internal id."}
        return {
            "schemas": {name: as_draft_07(schema) for name, schema in self._definitions.found.items()},
            "messages": self._messages,
            "correlationIds": {"saga": saga},
        }

    def _service(self, service: str) -> None:
        """What every service with commands has: its queue, the replies, and the notices that sagas have ended."""
        source = commands_of(service)
        if source.name in self.channels:
            return
        self._channel(source.name, source)
        replies = "Of the orchestrators: each has a queue of its own, and names it in its commands."
        self.channels.setdefault("replies", {"address": None, "description": replies, "messages": {}})
        id_ = f"{service}.amends.ended"
        self._messages[id_] = {
            "name": "amends.ended",
            "title": "Sagas have ended",
            "summary": "What the service keeps of them may be forgotten after its horizon.",
            "headers": headers_schema("ended", "amends.ended", self._mark),
            "payload": _ENDED,
        }
        operation = {
            "action": "receive",
            "summary": "Learns which sagas have ended",
            "channel": {"$ref": _to("channels", source.name)},
            "messages": [self._in_channel(source.name, id_)],
        }
        self.operations[id_] = self._bound(operation, source)

    def _answers(self, contract: Contract, kind: str, id_: str) -> list[Json]:
        """The messages that answer a command: that it is done, with its result, or why it is not."""
        good, *others = OUTCOMES[kind]
        replied = contract.replied if kind == "action" else None
        found: list[Json] = []
        for name, words, codec in ((good, [good], replied), (f"not-{good}", others, None)):
            outcome: Json = {"enum": words}
            headers = headers_schema(
                "reply", contract.type, self._mark, amendsphase={"const": kind}, amendsoutcome=outcome
            )
            self._message(f"{id_}.{name}", f"{contract.type}: {' or '.join(words)}", headers, codec)
            found.append(self._in_channel("replies", f"{id_}.{name}"))
        return found

    def _message(self, id_: str, title: str, headers: Json, codec: Codec[Any] | None) -> None:
        if id_ in self._messages:
            raise DefinitionError(f"two messages of the document would be called {id_}; rename that contract")
        payload = _REASON if codec is None else as_draft_07(codec.shape.json_schema(self._definitions))
        made = {"name": id_, "title": title, "contentType": "application/json", "headers": headers, "payload": payload}
        if f"{self._mark}amendssaga" in headers["properties"]:
            made["correlationId"] = {"$ref": "#/components/correlationIds/saga"}
        if self._options.broker == "kafka":
            key = {"type": "string", "description": "The saga's internal id, or the event's key."}
            made["bindings"] = {"kafka": {"key": key, "bindingVersion": "0.5.0"}}
        self._messages[id_] = made

    def _channel(self, name: str, source: Destination) -> None:
        if name in self.channels:
            return
        address = at_broker(self._options.prefix, source)
        made: Json = {"address": address, "messages": {}}
        if self._options.broker == "kafka":
            made["bindings"] = {"kafka": {"topic": address, "bindingVersion": "0.5.0"}}
        if self._options.broker == "rabbitmq":
            made["bindings"] = {"amqp": {**_at_rabbitmq(address, source), "bindingVersion": "0.3.0"}}
        self.channels[name] = made

    def _in_channel(self, channel: str, id_: str) -> Json:
        """A message as one of a channel."""
        self.channels[channel]["messages"][id_] = {"$ref": _to("components", "messages", id_)}
        return {"$ref": _to("channels", channel, "messages", id_)}

    def _bound(self, operation: Json, source: Destination) -> Json:
        """The operation of a service that takes from its queue: at Kafka as the one group of its topic."""
        if self._options.broker == "kafka":
            group = {"type": "string", "const": at_broker(self._options.prefix, source)}
            operation["bindings"] = {"kafka": {"groupId": group, "bindingVersion": "0.5.0"}}
        return operation


def as_draft_07(schema: Any, *, names: bool = False) -> Any:
    """A schema in the words of JSON Schema's draft 07, which AsyncAPI's own are. What only OpenAPI knows goes."""
    if isinstance(schema, list):
        return [as_draft_07(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    given = cast("Json", schema)
    if names:
        return {name: as_draft_07(inner) for name, inner in given.items()}
    if "prefixItems" in given:
        rest = given.get("items", True)
        given = {**given, "items": given["prefixItems"], "additionalItems": rest}
    if given.keys() > {"$ref"}:  # in draft 07 nothing beside a reference counts
        beside = {key: value for key, value in given.items() if key != "$ref"}
        given = {**beside, "allOf": [*beside.get("allOf", ()), {"$ref": given["$ref"]}]}
    kept = {key: value for key, value in given.items() if key not in ("prefixItems", "discriminator")}
    return {key: as_draft_07(value, names=key in _NAMES) for key, value in kept.items()}


def _summary(contract: Contract, kind: str) -> str:
    if kind == "undo":
        return f"{contract.service} undoes {contract.name}"
    changes = ", which changes nothing" if contract.readonly else "" if contract.undoable else ", which it cannot undo"
    return f"{contract.service} does {contract.name}{changes}"


def _at_rabbitmq(address: str, source: Destination) -> Json:
    if source.kind is Kind.QUEUE:
        return {"is": "queue", "queue": {"name": address, "durable": True, "exclusive": False, "autoDelete": False}}
    return {"is": "routingKey", "exchange": {"name": address, "type": "fanout", "durable": True, "autoDelete": False}}


def _to(*path: str) -> str:
    return "#/" + "/".join(part.replace("~", "~0").replace("/", "~1") for part in path)
