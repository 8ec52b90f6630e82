"""The attributes of messages as JSON Schemas, for documents about contracts. `decide/wire.py` reads and writes them.

Guarantees: the names and which of them must be there are those of the protocol's own schemas.
Must not: be used to check messages.
"""

from __future__ import annotations

from amends.define.schemas import Json

BROKERS = {"kafka": "ce_", "rabbitmq": "cloudEvents_", "nats": "ce-", "redis": "ce_"}  # what stands before a name
_TEXT: Json = {"type": "string", "minLength": 1}
_NUMBER: Json = {"type": "string", "pattern": "^[0-9]{1,9}$"}
_COMMON: dict[str, Json] = {
    "specversion": {"const": "1.0"},
    "id": {**_TEXT, "description": "Of this send."},
    "type": _TEXT,
    "source": {**_TEXT, "description": "Who sent it."},
    "time": {"type": "string", "format": "date-time", "description": "When it was sent."},
    "subject": {**_TEXT, "description": "The saga's id as its user knows it."},
    "partitionkey": {**_TEXT, "description": "Messages with the same key keep their order where the carrier has one."},
    "traceparent": {"type": "string", "description": "W3C trace context."},
    "tracestate": {"type": "string", "description": "W3C trace context."},
}
_SAGA: dict[str, Json] = {
    "amendsnamespace": {**_TEXT, "description": "The orchestrator's share of its store."},
    "amendssaga": {"type": "string", "pattern": "^[0-9a-f]{32}$", "description": "The saga's internal id."},
    "amendskey": {**_TEXT, "description": "The saga's id as its user knows it."},
    "amendsstep": {**_TEXT, "description": "The step's address in the saga."},
    "amendsround": {**_NUMBER, "description": "A life of the step. 1 if it is not there."},
    "amendsattempt": {**_NUMBER, "description": "Which send it is, for information."},
    "amendstoken": {**_TEXT, "description": "Opaque; a reply has that of the command that it answers."},
}
_COMMAND: dict[str, Json] = {
    "amendsclosed": {**_NUMBER, "description": "Rounds up to this one were closed by an operator."},
    "amendsreplyto": {**_TEXT, "description": "The queue that the reply goes to, without the prefix at the broker."},
}
_KNOWN: Json = {
    "enum": ["succeeded", "unknown"],
    "description": "What the sender knows of the action; unknown if it is not there.",
}
OUTCOMES: dict[str, list[str]] = {  # of an action and of an undo; the good one first
    "action": ["succeeded", "rejected", "failed", "fenced", "earlier-open", "expired"],
    "undo": ["compensated", "void", "missing", "failed", "expired"],
}
_REPLY: dict[str, Json] = {
    "amendsphase": {"enum": ["action", "undo"], "description": "The kind of the command that is answered."},
    "amendsoutcome": {"enum": list(dict.fromkeys([*OUTCOMES["action"], *OUTCOMES["undo"]]))},
    "amendsafter": {"type": "string", "description": "Of `failed`: seconds until the command should be sent again."},
    "amendspark": {"enum": ["true", "false"], "description": "Of `failed`: nothing helps but a person."},
    "amendsfinal": {"enum": ["true", "false"], "description": "Of `failed`: another attempt would give the same."},
}
_KINDS: dict[str, dict[str, Json]] = {
    "action": {**_SAGA, **_COMMAND, "amendsknown": _KNOWN},
    "undo": {**_SAGA, **_COMMAND, "amendsknown": _KNOWN},
    "reply": {**_SAGA, **_REPLY},
    "ended": {"amendsnamespace": _SAGA["amendsnamespace"]},
    "event": {
        "amendscorrelation": {
            **_TEXT,
            "description": "What all events of one chain share. Its own id if it is not there.",
        },
        "amendscausation": {**_TEXT, "description": "The id of the message that led to it; the first has none."},
        "amendshops": {**_NUMBER, "description": "How many events led to it, each to the next. 0 if it is not there."},
    },
}
_ALWAYS = ["specversion", "id", "type", "source"]
_OF_SAGA = ["amendskind", "amendsnamespace", "amendssaga", "amendskey", "amendsstep", "amendstoken"]
_REQUIRED = {
    "action": [*_ALWAYS, "time", *_OF_SAGA, "amendsreplyto"],
    "undo": [*_ALWAYS, "time", *_OF_SAGA, "amendsreplyto"],
    "reply": [*_ALWAYS, *_OF_SAGA, "amendsphase", "amendsoutcome"],
    "ended": [*_ALWAYS, "amendskind", "amendsnamespace"],
    "event": [*_ALWAYS, "amendskind"],
}


def headers_schema(kind: str, type_: str, prefix: str, **narrowed: Json) -> Json:
    """The headers of a message. kind: what `amendskind` says; type_: the contract's name; prefix: of the carrier's
    binding. narrowed: what attributes may say here, where that is less than elsewhere."""
    known: dict[str, Json] = {**_COMMON, "amendskind": {"const": kind}, **_KINDS[kind], "type": {"const": type_}}
    known |= narrowed
    return {
        "type": "object",
        "properties": {prefix + name: schema for name, schema in known.items()},
        "required": [prefix + name for name in _REQUIRED[kind]],
    }
