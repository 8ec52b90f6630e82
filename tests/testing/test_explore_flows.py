"""Explore over every node of the definition language; and what it runs is what the engine runs."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from amends import (
    Compensated,
    Completed,
    Context,
    Reject,
    Resource,
    Retry,
    Saga,
    for_each,
    parallel,
    pivot,
    sequence,
    sleep,
    step,
    wait_for,
    when,
)
from amends.errors import DefinitionError, TooLate
from amends.testing import Beside, Counterexample, Exploration, Sandbox, explore


@dataclass(frozen=True)
class Trip:
    nights: int


@dataclass
class Desk:
    """What is booked, by key; and what was called, in order."""

    booked: set[str] = field(default_factory=set[str])
    calls: list[str] = field(default_factory=list[str])
    tries: int = 0
    letters: list[str] = field(default_factory=list[str])


@step(retry=Retry(attempts=3))
async def flight(trip: Trip, desk: Resource[Desk], ctx: Context) -> str:
    desk.booked.add(ctx.key)
    return "f1"


@flight.compensation
async def cancel_flight(desk: Resource[Desk], ctx: Context) -> None:
    desk.booked.discard(ctx.action_key)


@step
async def night(number: int, desk: Resource[Desk], ctx: Context) -> int:
    desk.booked.add(ctx.key)
    return number


@night.compensation
async def cancel_night(number: int, desk: Resource[Desk], ctx: Context) -> None:
    desk.booked.discard(ctx.action_key)


@step
def insure(trip: Trip, desk: Resource[Desk], ctx: Context) -> None:
    desk.booked.add(ctx.key)


@insure.compensation
def cancel_insurance(desk: Resource[Desk], ctx: Context) -> None:
    desk.booked.discard(ctx.action_key)


@step(readonly=True)
async def check(trip: Trip) -> bool:
    return True


@step
async def confirm(trip: Trip, desk: Resource[Desk], ctx: Context) -> None:
    desk.booked.add(ctx.key)


def nights(trip: Trip) -> list[int]:
    return list(range(trip.nights))


approval = wait_for("approval", str, timeout=timedelta(days=3), reject_if=lambda answer: answer == "no")
book_trip = Saga(
    "book-trip",
    parallel(sequence(flight, insure), for_each(night, over=nights, limit=2)),
    check,
    when(check, sleep(timedelta(hours=1))),
    approval,
    pivot,
    confirm,
    input=Trip,
    deadline=timedelta(days=7),
)


def all_or_nothing(desk: Desk, outcome: object) -> None:
    assert len(desk.booked) == (6 if isinstance(outcome, Completed) else 0)


def test_a_saga_of_every_node_passes() -> None:
    report = explore(book_trip, Trip(3), world=Desk, invariant=all_or_nothing, signals={approval: "yes"}, runs=700)

    assert report.ok
    assert report.unreached == ()
    assert {"signal-lost", "signal-early", "signal-twice", "signal-late", "deadline", "swapped"} <= set(report.kinds)


def test_an_answer_that_says_no_sends_it_back() -> None:
    report = explore(book_trip, Trip(1), world=Desk, invariant=all_or_nothing, signals={approval: "no"}, runs=1)

    assert set(report.outcomes) == {"compensated"}


def test_code_beside_a_saga_hears_what_its_cancel_is_told() -> None:
    async def give_up(desk: Desk, saga: Beside) -> None:
        desk.letters.append(f"asked while {saga.status}")
        try:
            await saga.cancel(reason="rain")
            desk.letters.append("cancelled")
        except TooLate:
            desk.letters.append("too late")

    def told_the_truth(desk: Desk, outcome: object) -> None:
        if "cancelled" in desk.letters:
            assert isinstance(outcome, Compensated)
        elif "too late" in desk.letters and "asked while running" in desk.letters:
            assert isinstance(outcome, Completed)
        assert len(desk.letters) % 2 == 0  # whoever asked was answered

    made = Exploration(
        book_trip, Trip(1), world=Desk, invariant=told_the_truth, signals={approval: "yes"}, meanwhile=[give_up]
    )

    report = made.run(runs=400)

    assert report.ok, str(report)
    assert report.kinds["give_up"] > 10
    early, late = made.run(only="give_up@1"), made.run(only="give_up@6")
    assert "'asked while running', 'cancelled'" in str(early)
    assert "'asked while running', 'too late'" in str(late)


def test_an_error_in_code_beside_a_saga_is_told() -> None:
    async def stumble(desk: Desk, saga: Beside) -> None:
        raise LookupError("no such trip")

    with pytest.raises(Counterexample, match="stumble raised LookupError: no such trip"):
        explore(book_trip, Trip(0), world=Desk, signals={approval: "yes"}, meanwhile=[stumble])


@pytest.mark.parametrize("name", ["cancel", "deadline"])
def test_code_beside_a_saga_has_a_name_of_its_own(name: str) -> None:
    async def act(desk: Desk, saga: Beside) -> None: ...

    act.__name__ = name
    with pytest.raises(DefinitionError, match="is taken"):
        explore(book_trip, Trip(0), world=Desk, meanwhile=[act])


# The same faults, in the engine


class Script:
    """What befalls the attempts of steps: their functions ask it, in the sandbox and in a run alike."""

    def __init__(self, name: str, kind: str) -> None:
        self.name, self.kind = name, kind

    async def befalls(self, ctx: Context, desk: Desk) -> None:
        desk.calls.append(f"{ctx.phase} {ctx.address} {ctx.attempt} {ctx.key}")
        if ctx.address != self.name or ctx.phase != "action":
            return
        desk.tries += 1
        if self.kind == "rejects":
            raise Reject("it was made to say no")
        if self.kind == "fails" and desk.tries == 1:
            raise ConnectionError
        if self.kind == "times-out" and desk.tries == 1:
            await asyncio.sleep(3600)
        if self.kind == "dies" and desk.tries == 1:
            await asyncio.sleep(2)


def scripted(script: Script) -> Saga[Trip, None]:
    @step(timeout=5)
    async def first(trip: Trip, desk: Resource[Desk], ctx: Context) -> int:
        await script.befalls(ctx, desk)
        return 1

    @first.compensation
    async def undo_first(result: int | None, desk: Resource[Desk], ctx: Context) -> None:
        await script.befalls(ctx, desk)
        desk.calls.append(f"with {result}")

    @step(timeout=5)
    async def left(trip: Trip, desk: Resource[Desk], ctx: Context) -> None:
        await script.befalls(ctx, desk)

    @left.compensation
    async def undo_left(desk: Resource[Desk], ctx: Context) -> None:
        await script.befalls(ctx, desk)

    @step(timeout=5)
    async def right(trip: Trip, desk: Resource[Desk], ctx: Context) -> None:
        await script.befalls(ctx, desk)

    @right.compensation
    async def undo_right(desk: Resource[Desk], ctx: Context) -> None:
        await script.befalls(ctx, desk)

    @step(timeout=5, retry=Retry(attempts=2))
    async def last(trip: Trip, desk: Resource[Desk], ctx: Context) -> None:
        await script.befalls(ctx, desk)

    return Saga("scripted", first, parallel(left, right), pivot(last), input=Trip)


def without_keys(calls: list[str]) -> list[str]:
    """Keys have the saga's id in them; what matters is which of them are equal."""
    known: dict[str, str] = {}
    return [
        " ".join(known.setdefault(word, f"k{len(known)}") if len(word) == 32 else word for word in call.split())
        for call in calls
    ]


@pytest.mark.parametrize("where", ["first", "left", "right", "last"])
@pytest.mark.parametrize("kind", ["none", "rejects", "fails", "times-out"])
def test_a_run_calls_what_the_engine_calls_and_ends_as_it_does(where: str, kind: str) -> None:
    in_engine, made = Desk(), list[Desk]()

    def desk() -> Desk:
        made.append(Desk())
        return made[-1]

    saga = scripted(Script(where, kind))
    with Sandbox([saga], resources=[in_engine]) as app:
        ended = app.run(saga, Trip(1))

    report = Exploration(saga, Trip(1), world=desk).run(only="cancel@99")

    assert report.shown is not None
    assert report.shown.outcome == ended
    assert without_keys(made[-1].calls) == without_keys(in_engine.calls)


@pytest.mark.parametrize("where", ["first", "last"])
def test_a_worker_that_dies_in_a_run_leaves_what_one_leaves_in_the_engine(where: str) -> None:
    in_engine, made = Desk(), list[Desk]()

    def desk() -> Desk:
        made.append(Desk())
        return made[-1]

    saga = scripted(Script(where, "dies"))
    with Sandbox([saga], resources=[in_engine]) as app:
        started = app.start(saga, Trip(1))
        app.advance(seconds=1)
        app.kill_worker()
        ended = started.outcome()

    report = Exploration(scripted(Script(where, "none")), Trip(1), world=desk).run(only=f"{where}:crash-after-effect")

    assert report.shown is not None
    assert report.shown.outcome == ended
    assert without_keys(made[-1].calls) == without_keys(in_engine.calls)
    assert len([call for call in in_engine.calls if f"action {where} " in call]) == 2


def test_a_saga_whose_workers_die_is_run_carefully_one_attempt_at_a_time() -> None:
    made: list[Desk] = []

    def desk() -> Desk:
        made.append(Desk())
        return made[-1]

    saga = scripted(Script("", "none"))

    report = Exploration(saga, Trip(1), world=desk).run(
        only="left:crash-after-effect, left#2:crash-before-effect, left#3:fails"
    )

    assert report.unmet == ()
    assert report.outcomes == {"completed": 1}
    called = [call.split()[1:3] for call in made[-1].calls if "action" in call]
    assert called == [["first", "1"], ["left", "1"], ["right", "3"], ["left", "4"], ["last", "1"]]


def called_in(only: str) -> list[str]:
    """The actions that a run calls, in order."""
    made: list[Desk] = []

    def desk() -> Desk:
        made.append(Desk())
        return made[-1]

    report = Exploration(scripted(Script("", "none")), Trip(1), world=desk).run(only=only)

    assert report.unmet == ()
    assert ": late, " not in str(report)  # nobody hears of what a dead worker knew
    return [call.split()[1] for call in made[-1].calls if "action" in call]


def test_what_a_dead_worker_has_not_written_is_done_again() -> None:
    assert called_in("right:crash-after-effect") == ["first", "left", "right", "left", "right", "last"]


def test_a_cancel_that_came_before_its_worker_died_is_known_to_whoever_takes_over() -> None:
    made = Exploration(scripted(Script("", "none")), Trip(1), world=Desk)

    before = str(made.run(only="first:crash-after-effect, cancel@0"))
    behind = str(made.run(only="first:crash-after-effect, cancel@1"))

    assert "first is unknown" in before  # it is not tried again
    assert "first (attempt 2) is done" not in before
    assert "first (attempt 2) is done" in behind


def test_siblings_are_called_in_the_other_order_too() -> None:
    assert called_in("cancel@4") == ["first", "left", "right", "last"]
    assert called_in("swapped@1") == ["first", "right", "left", "last"]


def test_an_answer_that_is_slow_is_heard_after_what_its_siblings_do() -> None:
    report = Exploration(scripted(Script("", "none")), Trip(1), world=Desk).run(only="left:slow")

    heard = re.findall(r"(\w+) succeeded", str(report))
    assert heard == ["first", "right", "left", "last"]


def test_what_takes_its_worker_down_again_and_again_is_parked_and_goes_on_once_that_is_over() -> None:
    deaths = ", ".join(f"left#{number}:crash-before-effect" for number in range(1, 6))

    report = Exploration(scripted(Script("", "none")), Trip(1), world=Desk).run(only=deaths)

    assert report.outcomes == {"completed": 1}
    assert "it took its worker down 3 times, running alone" in str(report)
