"""What destinations are called, at the broker too."""

from __future__ import annotations

import pytest

from amends.errors import TransportRefused
from amends.transport.base import Destination, Kind
from amends.transport.names import (
    at_broker,
    commands_of,
    dead_attributes,
    dead_of,
    events_of,
    group_at_broker,
    replies_of,
)


def test_destinations_are_called_after_services_and_orchestrators() -> None:
    assert commands_of("inventory") == Destination("inventory.commands", Kind.QUEUE)
    assert replies_of("shop") == Destination("shop.replies", Kind.QUEUE)
    assert events_of("inventory") == Destination("inventory.events", Kind.TOPIC)


def test_dead_letters_lie_in_a_queue_beside_theirs() -> None:
    assert dead_of(commands_of("inventory")) == Destination("inventory.commands.dead", Kind.QUEUE)
    assert dead_of(events_of("inventory")) == Destination("inventory.events.dead", Kind.QUEUE)
    assert dead_of(dead_of(events_of("inventory"))) == Destination("inventory.events.dead", Kind.QUEUE)


def test_at_the_broker_the_prefix_stands_before_all() -> None:
    assert at_broker("amends", commands_of("inventory")) == "amends.inventory.commands"
    assert group_at_broker("amends", commands_of("inventory"), "any") == "amends.inventory.commands"
    assert group_at_broker("eu.shop", events_of("inventory"), "billing") == "eu.shop.inventory.events@billing"


def test_no_group_of_a_topic_is_called_as_a_destination_may_be() -> None:
    name = group_at_broker("amends", events_of("inventory"), "dead").removeprefix("amends.")

    with pytest.raises(TransportRefused):
        at_broker("amends", Destination(name))


@pytest.mark.parametrize("name", ["", "a b", "a..b", ".a", "a.", "a*", "ä", "a/b", "a\n", "x" * 300])
def test_a_name_that_some_broker_does_not_take_is_refused(name: str) -> None:
    with pytest.raises(TransportRefused):
        at_broker("amends", Destination(name))
    with pytest.raises(TransportRefused):
        group_at_broker("amends", events_of("inventory"), name)


def test_the_longest_names_of_services_fit() -> None:
    longest = "s" * 100

    assert len(group_at_broker("amends", events_of(longest), longest)) < 240


def test_a_reason_is_one_line_and_not_endless() -> None:
    told = dead_attributes(events_of("inventory"), "billing", "bad\r\nce-amendssaga: x\x00 " + "y" * 5000)

    assert told["amendsdeadreason"].startswith("bad ce-amendssaga: x  y")
    assert len(told["amendsdeadreason"]) == 1000
    assert (told["amendsdeadfrom"], told["amendsdeadgroup"]) == ("inventory.events", "billing")
