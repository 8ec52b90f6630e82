"""Logs say of which saga they are, one line each, and forget it in time."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from engine import Order, virtually
from onlooker import watched

from amends import Completed, Context, Reject, Saga, step
from amends.observe.logs import TEXT_CHARACTERS_MAX, Fields, InContext, JsonLines, within

log = logging.getLogger("shop")


@step
async def book(order: Order) -> int:
    """A step that logs, through whatever logger."""
    log.info("booking for %d", order.cents)
    return order.cents


@book.compensation
async def unbook(ctx: Context) -> None:
    log.info("taking it back")


@step
def pay(order: Order) -> None:
    """One that runs in a thread."""
    log.info("paying")
    if order.cents % 2:
        raise Reject("odd")


@pay.compensation
def unpay() -> None:
    """Undo it."""


trip = Saga("trip", book, pay, input=Order, output=book)


class Kept(logging.Handler):
    """Keeps each line as a value."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonLines())
        self.lines: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(json.loads(self.format(record)))


@pytest.fixture
def kept() -> Any:
    """What `shop` logs."""
    handler = Kept()
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    yield handler.lines
    log.removeHandler(handler)
    log.setLevel(logging.NOTSET)


def run(order: Order) -> Any:
    """One saga, and what is known after it."""

    async def main() -> Any:
        async with watched(trip, by=InContext()) as orchestrator:
            outcome = await orchestrator.run(trip, order, id="order-1")
            log.info("afterwards")
            return outcome, within()

    return virtually(main())


def test_what_is_logged_within_a_step_says_of_which_saga_it_is(kept: list[dict[str, Any]]) -> None:
    outcome, after = run(Order(4))

    assert outcome == Completed(4)
    assert after == {}
    first = {name: kept[0][name] for name in ("message", "level", "logger", "saga", "saga_id", "step", "attempt")}
    assert first == {
        "message": "booking for 4",
        "level": "info",
        "logger": "shop",
        "saga": "trip",
        "saga_id": "order-1",
        "step": "book",
        "attempt": 1,
    }
    assert "saga_id" not in kept[-1], "outside of steps nothing is left of it"


def test_of_a_compensation_the_phase_is_said_too(kept: list[dict[str, Any]]) -> None:
    run(Order(5))

    said = [(line["message"], line["step"], line["phase"]) for line in kept[:-1]]
    assert said == [
        ("booking for 5", "book", "action"),
        ("paying", "pay", "action"),
        ("taking it back", "book", "undo"),
    ]


def record(message: str, *args: object, **extra: object) -> logging.LogRecord:
    """As a logger makes it."""
    made = logging.LogRecord("shop", logging.INFO, __file__, 1, message, args, None)
    made.__dict__.update(extra)
    return made


def test_whatever_a_message_has_in_it_the_line_is_one_and_plain() -> None:
    line = JsonLines().format(record("a\nb\x1b[31m \ud800 \N{SNOWMAN}"))

    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["message"] == "a\nb\x1b[31m \ud800 \N{SNOWMAN}"


def test_what_is_given_as_extra_is_a_field_and_none_can_pretend_to_be_another() -> None:
    line = json.loads(JsonLines().format(record("hello", tenant="a", saga_id="forged", level="fatal", odd=object)))

    assert line["tenant"] == "a"
    assert line["odd"] == "<class 'object'>"
    assert line["level"] == "info"
    assert "saga_id" not in line


def test_an_exception_is_in_the_same_line_and_bounded() -> None:
    made = record("it failed")
    try:
        raise ValueError("x" * 2 * TEXT_CHARACTERS_MAX)
    except ValueError as error:
        made.exc_info = (type(error), error, error.__traceback__)

    line = JsonLines().format(made)

    assert "\n" not in line
    assert len(json.loads(line)["exception"]) == TEXT_CHARACTERS_MAX


def test_a_message_whose_arguments_do_not_fit_is_not_lost() -> None:
    assert json.loads(JsonLines().format(record("%d of %d", 1)))["message"] == "%d of %d"


def test_a_format_of_ones_own_has_the_fields_too() -> None:
    made = record("hello")

    assert Fields().filter(made)
    assert logging.Formatter("%(saga_id)s|%(step)s|%(message)s").format(made) == "||hello"
