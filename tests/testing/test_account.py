"""A saga's account from its journal: what it takes for misconduct, and what not."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from amends import Reject, Saga, Service, step
from amends.decide import events as e
from amends.decide.events import Phase
from amends.decide.plan import Plan, SequenceNode, StepNode
from amends.run.journal import Row
from amends.testing.account import Account, Misconduct

stock = Service("stock")


@dataclass(frozen=True)
class Reserve:
    cents: int


reserve = stock.command("reserve", Reserve)


@reserve.request
def ask(cents: int) -> Reserve:
    return Reserve(cents)


@step
async def book(cents: int) -> None:
    raise Reject("no")


@book.compensation
async def unbook() -> None: ...


def no_after_doubt(plan: Plan, address: str) -> list[Row]:
    """One attempt that nobody knows the end of, and one that says no."""
    again = e.Failed(address, Phase.ACTION, "no answer", False, 0.0)
    events = (
        e.Issued(address, Phase.ACTION),
        again,
        e.Issued(address, Phase.ACTION),
        e.Rejected(address, "no"),
        e.TurnedBack("rejected", address, "no"),
        e.Compensated(),
    )
    return [Row(1.0, 1, events)]


def test_a_no_after_an_attempt_that_may_have_worked_is_misconduct_of_a_plain_step() -> None:
    plan = Saga("plain", book, input=int).plan

    with pytest.raises(Misconduct, match="an earlier attempt may have worked"):
        Account(plan).read(no_after_doubt(plan, "book"))


def test_a_barrier_says_no_for_all_attempts_of_a_command() -> None:
    plan = Saga("asked", ask, input=int).plan

    assert Account(plan).read(no_after_doubt(plan, "ask")).end == "compensated"


def test_a_barrier_says_no_for_all_attempts_of_a_step_with_a_transaction() -> None:
    plan = Saga("plain", book, input=int).plan
    root = plan.root
    assert isinstance(root, SequenceNode)
    [node] = root.nodes
    assert isinstance(node, StepNode)
    within = replace(plan, root=SequenceNode((replace(node, work="tx"),)))

    assert Account(within).read(no_after_doubt(within, "book")).end == "compensated"
