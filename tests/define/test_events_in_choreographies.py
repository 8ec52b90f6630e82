"""What an event means in a choreography, as it is declared; and what its handlers may tell, as they are annotated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from amends import Participant, Service
from amends.errors import DefinitionError


@dataclass(frozen=True)
class Placed:
    """Somebody else's event."""

    order: str


@dataclass(frozen=True)
class Paid:
    """An event of the service."""

    order: str


@dataclass(frozen=True)
class Declined:
    """Another."""

    order: str


orders = Service("orders")
placed = orders.event("placed", Placed)


def outcomes(annotation: Any) -> list[tuple[str, ...]]:
    """What a handler with this annotation may tell."""
    billing = Service("billing")
    billing.event("paid", Paid)
    billing.event("declined", Declined)
    app = Participant(billing)

    def charge(event: Placed) -> None: ...

    charge.__annotations__["return"] = annotation
    app.on(placed)(charge)
    _, handler = app.built.handlers.events["orders.placed"]
    return [tuple(event.name for event in at_once) for at_once in handler.outcomes]


@pytest.mark.parametrize(
    ("annotation", "found"),
    [
        (None, [()]),
        (Paid, [("paid",)]),
        (Paid | None, [("paid",), ()]),
        (Paid | Declined, [("paid",), ("declined",)]),
        (list[Paid], [(), ("paid",)]),
        (list[Paid | Declined] | None, [(), ("paid",), ("declined",)]),
        (tuple[Paid, ...], [(), ("paid",)]),
        (tuple[Paid, Declined], [("paid", "declined")]),
        (tuple[Paid, Paid | None], [("paid", "paid"), ("paid",)]),
        (tuple[Paid | Declined, Paid] | None, [("paid", "paid"), ("declined", "paid"), ()]),
    ],
)
def test_a_handler_s_annotation_says_what_it_may_tell_and_what_at_once(
    annotation: Any, found: list[tuple[str, ...]]
) -> None:
    assert outcomes(annotation) == found


def test_an_event_means_nothing_in_particular_unless_it_is_declared_so() -> None:
    service = Service("billing")
    paid = service.event("paid", Paid)
    refunded = service.event("refunded", Declined, compensates=paid, begins=True)
    declined = service.event("declined", Declined, rejection=True)

    assert (paid.begins, paid.rejection, paid.compensates) == (False, False, None)
    assert (refunded.begins, refunded.rejection, refunded.compensates) == (True, False, paid)
    assert (declined.begins, declined.rejection, declined.compensates) == (False, True, None)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"begins": 1}, r"billing\.paid, begins=…: True or False is expected"),
        ({"rejection": "yes"}, r"billing\.paid, rejection=…: True or False is expected"),
        ({"compensates": placed}, r"billing\.paid, compensates=orders\.placed.*: an event of billing is expected"),
        ({"compensates": "reserved"}, r"billing\.paid, compensates='reserved': an event of billing is expected"),
    ],
)
def test_a_meaning_that_an_event_cannot_have_is_refused(flags: dict[str, Any], words: str) -> None:
    service = Service("billing")

    with pytest.raises(DefinitionError, match=words):
        service.event("paid", Paid, **flags)
    assert service.events == {}
