"""What is given to explore and cannot be right: it says so at once, and what to do."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import pytest

from amends import Context, Resource, Saga, Service, step, wait_for
from amends.errors import DefinitionError
from amends.testing import Counterexample, Exploration, explore


@dataclass
class Till:
    cents: int = 0
    lock: Any = field(default_factory=object)


@step
def pay(cents: int, till: Resource[Till], ctx: Context) -> None:
    till.cents = cents


@pay.compensation
def pay_back(till: Resource[Till]) -> None:
    till.cents = 0


@step(readonly=True)
def thank(cents: int) -> None: ...


SELL = Saga("sell", pay, thank, input=int)
bank = Service("bank")
charge = bank.command("charge", int)


@charge.request(name="charge")
def ask(cents: int) -> int:
    return cents


ASK = Saga("ask", ask, input=int)


def law_of_one(till: Till) -> bool:
    return True


def law_of_three(till: Till, outcome: object, more: int) -> bool:
    return True


async def alone(till: Till) -> None: ...


def take(cents: int) -> None: ...


def give(cents: int, till: Till) -> None: ...


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"invariant": law_of_one}, r"invariant=law_of_one: it is called with the world, the outcome; it takes \(till"),
    ({"invariant": law_of_three}, r"invariant=law_of_three: it is called with the world, the outcome; it takes"),
    ({"invariant": True}, "invariant=True: a plain function of the world and the outcome is expected"),
    ({"meanwhile": [alone]}, "meanwhile=alone: it is called with the world, the saga; it takes"),
    ({"signals": {"approval": 1}}, r"signals=\{'approval': …\}: a wait is expected, as wait_for"),
    ({"world": {}}, "asks for Resource.*Till.*nothing in the world is one; there is nothing in it"),
    ({"world": None}, "and no world is given"),
]


@pytest.mark.parametrize(("given", "words"), WRONG)
def test_it_is_refused_with_words_that_help(given: dict[str, Any], words: str) -> None:
    with pytest.raises(DefinitionError, match=words):
        explore(SELL, 5, **{"world": Till, **given})


@pytest.mark.parametrize(
    ("services", "words"),
    [
        ({charge: (take, give)}, r"services=.*take: it is called with the command, the world; it takes \(cents"),
        ({charge: (give, give)}, r"services=.*give: it is called with the command, the reply, the world; it takes"),
        ({charge: (give, None)}, r"services=.*None: a function is expected"),
    ],
)
def test_a_fake_that_cannot_be_called_is_refused(services: Any, words: str) -> None:
    with pytest.raises(DefinitionError, match=words):
        explore(ASK, 5, world=Till, services=services)


def test_what_is_no_saga_is_refused() -> None:
    thing: Any = pay
    with pytest.raises(DefinitionError, match=r"explore.*a Saga is expected"):
        explore(thing, 5, world=Till)


def test_a_world_that_cannot_be_copied_and_has_to_be_says_what_to_do() -> None:
    words = "the world is copied.*cannot pickle.*world=.*a function that makes it"
    with pytest.raises(DefinitionError, match=words):
        explore(SELL, 5, world=Till(lock=threading.Lock()))

    def put_back(cents: int, reply: None, till: Till) -> None: ...

    words = "what a handler did is taken back.*cannot pickle.*__deepcopy__"
    with pytest.raises(DefinitionError, match=words):
        explore(ASK, 5, world=lambda: Till(lock=threading.Lock()), services={charge: (give, put_back)})


def test_a_world_that_cannot_be_made_is_told_with_what_was_called() -> None:
    def world() -> Till:
        raise OSError("no such database")

    with pytest.raises(OSError, match="no such database") as caught:
        explore(SELL, 5, world=world)

    assert any("while world=world made a world" in note for note in caught.value.__notes__)


def test_a_wait_that_nobody_was_told_to_answer_is_named() -> None:
    approval, patient = wait_for("approval", str), wait_for("approval", str, timeout=60)

    with pytest.raises(Counterexample, match=r"it waits for approval for ever: say what it gets, with signals=\{"):
        explore(Saga("s", pay, approval, input=int), 5, world=Till)
    report = Exploration(Saga("s", pay, patient, thank, input=int), 5, world=Till, runs=1).run()
    assert "never answered: approval; say with signals= what it gets" in str(report)
    answered = Exploration(
        Saga("s", pay, patient, thank, input=int), 5, world=Till, runs=1, signals={patient: "yes"}
    ).run()
    assert "never answered" not in str(answered)
