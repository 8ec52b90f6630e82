"""Logs that say of which saga they are.

`InContext()` is an observer: with it, whatever is logged within a step or a handler, by anybody, has the saga, its id,
the step, the phase and the attempt: as fields of a line of `JsonLines()`, or, through the filter `Fields()`, as
attributes of the record for a format of one's own.

Guarantees: one record is one line, in ASCII, whatever stands in it; after the end of an attempt nothing of it is left.
Must not: log.
"""

from __future__ import annotations

import json
import logging
import time
from contextvars import ContextVar
from typing import Any

from amends.observe.events import (
    AttemptBegan,
    AttemptEnded,
    Event,
    EventBegan,
    EventEnded,
    HandlerBegan,
    HandlerEnded,
)

FIELDS = ("saga", "saga_id", "step", "phase", "attempt", "service", "event", "event_id")
TEXT_CHARACTERS_MAX = 32_000  # of one message, or of one traceback
_within: ContextVar[dict[str, str | int] | None] = ContextVar("amends_within", default=None)
_OTHERS = frozenset({AttemptEnded, HandlerBegan, HandlerEnded, EventBegan, EventEnded})
_OWN = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {"message", "asctime", "taskName", *FIELDS}


class InContext:
    """Remembers, for the time of an attempt or a handler, of which saga it is. An observer."""

    def __call__(self, event: Event) -> None:
        """Begin to remember, or forget."""
        if isinstance(event, AttemptBegan):
            _within.set(_fields(event))
        elif type(event) not in _OTHERS:
            return
        elif isinstance(event, HandlerBegan):
            _within.set({**_fields(event), "service": event.service})
        elif isinstance(event, EventBegan):
            said = {"event": event.event, "event_id": event.message}
            _within.set({"service": event.service, **said, "attempt": event.attempt})
        elif isinstance(event, EventEnded) or (isinstance(event, (AttemptEnded, HandlerEnded)) and _is_of(event)):
            _within.set(None)


def within() -> dict[str, str | int]:
    """What is known of where this runs; empty outside of steps and handlers."""
    return dict(_within.get() or {})


class Fields(logging.Filter):
    """Gives each record the attributes `saga`, `saga_id`, `step`, `phase`, `attempt`, `service`, and in a handler of
    events `event` and `event_id`; empty where there are none. Set it on a handler of logs."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let everything pass."""
        found = _within.get() or {}
        for name in FIELDS:
            setattr(record, name, found.get(name, ""))
        return True


class JsonLines(logging.Formatter):
    """Each record as one line of JSON: `time`, `level`, `logger`, `message`, what is known of the saga, what was given
    as `extra=`, and `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "time": _instant(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record)[:TEXT_CHARACTERS_MAX],
            **(_within.get() or {}),
        }
        for name, value in vars(record).items():
            if name not in _OWN and name not in line:
                line[name] = value if isinstance(value, (str, int, float, bool, type(None))) else repr(value)[:1000]
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)[-TEXT_CHARACTERS_MAX:]
        return json.dumps(line)


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001  # whoever logs has made a mistake; the line is not to be lost for that
        return str(record.msg)


def _instant(created: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(created))
    return f"{whole}.{int(created * 1000) % 1000:03d}Z"


def _fields(event: AttemptBegan | HandlerBegan) -> dict[str, str | int]:
    about = event.about
    named: dict[str, str | int] = {"saga": about.saga} if about.saga else {}
    return {**named, "saga_id": about.key, "step": event.step, "phase": event.phase.value, "attempt": event.attempt}


def _is_of(event: AttemptEnded | HandlerEnded) -> bool:
    """Whether it is the end of what is remembered: the replies of services are told in anybody's context."""
    found = _within.get()
    return found is not None and found.get("saga_id") == event.about.key and found.get("step") == event.step
