"""What is wrong with a choreography, seen from who reacts to what."""

from __future__ import annotations

import pytest

from amends.decide.flows import EventName, Expectation, FlowPlan
from amends.decide.reactions import Fact, Problem, Reaction, Rule, Scene, problems

PLACED = Fact("orders.placed", "orders", begins=True)
CANCELLED = Fact("orders.cancelled", "orders", compensates="orders.placed")
RESERVED = Fact("inventory.reserved", "inventory")
RELEASED = Fact("inventory.released", "inventory", compensates="inventory.reserved")
PAID = Fact("billing.paid", "billing")
DECLINED = Fact("billing.declined", "billing", rejection=True)
ALL = ("orders", "inventory", "billing")
GOOD = Scene(
    ALL,
    (PLACED, CANCELLED, RESERVED, RELEASED, PAID, DECLINED),
    (
        Reaction("inventory", "reserve", "orders.placed", (("inventory.reserved",),)),
        Reaction("billing", "charge", "inventory.reserved", (("billing.paid",), ("billing.declined",))),
        Reaction("inventory", "release", "billing.declined", (("inventory.released",),)),
        Reaction("orders", "cancel", "inventory.released", (("orders.cancelled",),)),
        Reaction("orders", "ship", "billing.paid"),
        Reaction("crm", "note", "orders.cancelled"),
    ),
)


def scene(*reactions: Reaction, facts: tuple[Fact, ...] = (), services: tuple[str, ...] = ("a", "b")) -> Scene:
    """Services a and b. Without facts of their own, all events are theirs, and `a.first` begins."""
    named = dict.fromkeys(type_ for one in reactions for type_ in (one.event, *one.tells))
    known = facts or tuple(Fact(type_, type_[0], begins=type_ == "a.first") for type_ in named)
    return Scene(services, known, reactions)


def on(event: str, *outcomes: tuple[str, ...], by: str = "b", function: str = "react") -> Reaction:
    """Somebody reacts."""
    return Reaction(by, function, event, outcomes or ((),))


def found(given: Scene, rule: Rule) -> list[str]:
    """The events where a rule is broken."""
    return [one.event for one in problems(given) if one.rule is rule]


def test_a_choreography_where_everything_is_heard_triggered_and_undone_has_no_problem() -> None:
    assert problems(GOOD) == ()


def test_an_event_that_nobody_handles_is_a_problem_unless_a_flow_ends_with_it() -> None:
    given = scene(on("a.first", ("b.done",)))
    ending = FlowPlan("f", (Expectation(EventName("a", "first"), (EventName("b", "done"),), 1.0),))

    assert problems(given) == (
        Problem(Rule.UNHEARD, "b.done", "nobody here handles b.done: name who does, or have a Flow end with it"),
    )
    assert problems(Scene(given.services, given.facts, given.reactions, flows=(ending,))) == ()


def test_an_event_of_a_service_whose_handlers_nobody_named_may_be_heard_elsewhere() -> None:
    given = scene(on("a.first"), facts=(Fact("a.first", "a", begins=True), Fact("c.told", "c")))

    assert problems(given) == ()


def test_a_handler_whose_event_nothing_leads_to_is_named() -> None:
    given = scene(on("a.lost"), facts=(Fact("a.lost", "a"),))

    assert problems(given) == (
        Problem(
            Rule.UNTRIGGERED,
            "a.lost",
            "nothing leads to a.lost, so react of b never runs: return it from a handler of a; where a tells it by "
            "itself, declare it with begins=True",
        ),
    )


def test_what_comes_of_an_event_that_nothing_leads_to_is_not_a_problem_of_its_own() -> None:
    lost = on("b.next"), on("a.lost", ("b.next",)), on("a.lost", by="a", function="too")

    assert found(scene(*lost), Rule.UNTRIGGERED) == ["a.lost"]
    assert "react of b and too of a never runs" in problems(scene(*lost))[0].words


def test_a_circle_that_nothing_leads_into_is_named_once() -> None:
    apart = on("a.one", ("b.two",), ()), on("b.two", ("a.one",), ())

    assert found(scene(*apart), Rule.UNTRIGGERED) == ["a.one"]


def test_an_event_of_a_service_whose_handlers_nobody_named_may_come_at_any_time() -> None:
    assert found(scene(on("a.first"), on("c.told"), services=("a", "b")), Rule.UNTRIGGERED) == []


def test_a_flow_says_which_event_begins_it() -> None:
    given = scene(on("a.begins"))
    flow = FlowPlan("f", (Expectation(EventName("a", "begins"), (EventName("b", "x"),), 1.0),))

    assert found(given, Rule.UNTRIGGERED) == ["a.begins"]
    assert found(Scene(given.services, given.facts, given.reactions, flows=(flow,)), Rule.UNTRIGGERED) == []


def test_a_circle_without_an_end_is_named_once_with_its_way() -> None:
    given = scene(on("a.first", ("b.two",)), on("b.two", ("a.one",)), on("a.one", ("b.two",)))

    assert problems(given) == (
        Problem(
            Rule.ENDLESS,
            "a.one",
            "a.one -> b.two -> a.one goes round without an end: have a handler on the way return nothing, or what ends",
        ),
    )


@pytest.mark.parametrize("way_out", [(), ("b.done",)])
def test_a_circle_that_a_handler_may_leave_has_an_end(way_out: tuple[str, ...]) -> None:
    again = on("a.first", ("b.two",)), on("b.two", ("a.first",), way_out), on("b.done")

    assert found(scene(*again), Rule.ENDLESS) == []


def test_every_handler_of_an_event_and_every_event_of_an_outcome_has_to_end() -> None:
    one_of_two_handlers = scene(on("a.first", ()), on("a.first", ("a.first",), by="a"))
    one_of_two_events = scene(on("a.first", ("a.first", "b.done")), on("b.done"))

    assert found(one_of_two_handlers, Rule.ENDLESS) == ["a.first"]
    assert found(one_of_two_events, Rule.ENDLESS) == ["a.first"]


def test_two_circles_are_two_problems() -> None:
    given = scene(on("a.first", ("a.first",)), on("b.one", ("b.one",)))

    assert found(given, Rule.ENDLESS) == ["a.first", "b.one"]


def test_what_was_done_before_a_rejection_has_to_be_undone_by_what_comes_of_it() -> None:
    silent = Reaction("orders", "cancel", "inventory.released")
    others = tuple(one for one in GOOD.reactions if one.function != "cancel")
    without = Scene(GOOD.services, GOOD.facts, (*others, silent))

    assert found(without, Rule.UNCOMPENSATED) == ["orders.placed", "orders.placed"]
    words = [one.words for one in problems(without) if one.rule is Rule.UNCOMPENSATED]
    assert words == [
        "orders.placed stays after billing.declined, which may come of it: no event that compensates it comes of that; "
        "declare one with compensates=, and have a handler return it",
        "orders.cancelled compensates orders.placed, and nothing that comes of that leads to it",
    ]


def test_what_leads_to_a_compensating_event_may_be_in_a_service_that_nobody_named() -> None:
    facts = (PLACED, CANCELLED, RESERVED)
    given = Scene(("orders", "inventory"), facts, (GOOD.reactions[0], on("orders.cancelled")))

    assert found(given, Rule.UNCOMPENSATED) == []
    assert found(given, Rule.UNHEARD) == ["inventory.reserved"]


def test_without_a_rejection_there_is_nothing_to_go_back_from() -> None:
    facts = (PLACED, RESERVED, PAID, DECLINED._replace(rejection=False))

    assert found(Scene(ALL, facts, GOOD.reactions[:2]), Rule.UNCOMPENSATED) == []


def test_what_does_not_come_before_a_rejection_need_not_be_undone() -> None:
    facts = (*GOOD.facts, Fact("orders.shipped", "orders"))
    reactions = (*GOOD.reactions[:4], on("billing.paid", ("orders.shipped",), by="orders"), on("orders.shipped"))

    assert found(Scene(ALL, facts, reactions), Rule.UNCOMPENSATED) == []


def test_a_rejection_may_itself_tell_that_something_is_undone() -> None:
    facts = (PLACED, Fact("orders.refused", "orders", rejection=True, compensates="orders.placed"))
    given = Scene(ALL, facts, (on("orders.placed", ("orders.refused",), (), by="orders"), on("orders.refused")))

    assert problems(given) == ()


def test_a_compensating_event_that_a_person_tells_needs_no_way() -> None:
    by_hand = RELEASED._replace(begins=True)
    elsewhere = Scene(("orders",), (RELEASED, RESERVED), (on("inventory.released"), on("inventory.reserved")))

    assert found(Scene(ALL, (RESERVED, by_hand), (on("inventory.released"),)), Rule.UNCOMPENSATED) == []
    assert found(elsewhere, Rule.UNCOMPENSATED) == []


def test_what_undoes_an_event_must_not_lead_to_it_again() -> None:
    again = Scene(GOOD.services, GOOD.facts, (*GOOD.reactions, on("orders.cancelled", ("inventory.reserved",), ())))

    assert problems(again) == (
        Problem(
            Rule.FORWARD_AGAIN,
            "inventory.released",
            "inventory.released compensates inventory.reserved, and leads to it again: it goes back, and then forward",
        ),
    )
