"""The chain that an event stands in, as its message says it."""

from __future__ import annotations

import pytest

from amends.decide.chain import HOPS_MAX, Chain, chain_of
from amends.errors import MessageRefused
from amends.message import Message


def told(id_: str, **attributes: str) -> Message:
    """An event."""
    return Message(id_, "a.b", "a", attributes=attributes)


def test_an_event_that_says_nothing_begins_a_chain_of_its_own() -> None:
    assert chain_of(told("m-1")) == Chain("m-1", "", 0)
    assert Chain().attributes("m-1") == {"amendscorrelation": "m-1"}


def test_what_comes_of_an_event_says_so_and_is_read_as_it_was_written() -> None:
    second = Chain("order-42").after("m-1")
    third = second.after("m-2")

    attributes = third.attributes("m-3")

    assert attributes == {"amendscorrelation": "order-42", "amendscausation": "m-2", "amendshops": "2"}
    assert chain_of(told("m-3", **attributes)) == third


def test_hops_are_never_more_than_a_message_may_say() -> None:
    longest = Chain("c", "m-1", HOPS_MAX)

    assert chain_of(told("m-3", **longest.after("m-2").attributes("m-3"))).hops == HOPS_MAX


@pytest.mark.parametrize("hops", ["", "-1", "01", "1.5", "x", str(HOPS_MAX + 1)])
def test_hops_that_are_no_number_are_refused(hops: str) -> None:
    with pytest.raises(MessageRefused, match="amendshops"):
        chain_of(told("m-1", amendshops=hops))
