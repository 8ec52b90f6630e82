"""`given(…).when(…).then(…)`: a saga as a specification, without any of its functions being called.

    given(place_order, Order("book", 1, 2_900)).when(
        replies(reserve_stock, Reservation("book", 1)), rejects(charge_card, "declined")
    ).then(compensates(reserve_stock), status="compensated")

Guarantees: what follows is decided as in production; a specification that does not hold shows what happened.
Must not: call a step. Requests, conditions and their like are called: they steer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Literal, TypeVar

from amends.decide.plan import stem_of
from amends.define.node import Node, Source
from amends.define.nodes import Signal
from amends.define.saga import Saga
from amends.define.step import Step
from amends.errors import DefinitionError
from amends.run.outcomes import Outcome
from amends.testing.explore_laws import outcome_in
from amends.testing.explore_story import story_of
from amends.testing.specification_run import Answer, ScriptedRun, ScriptedScene, Unanswered

I = TypeVar("I")  # noqa: E741  # the input, as in the documented signatures
T = TypeVar("T")
Status = Literal["running", "compensating", "completed", "compensated", "parked"]


class SpecificationFailed(AssertionError):
    """What was expected did not happen. The text shows both."""


@dataclass(frozen=True)
class Undo:
    """The compensation of a step, where an answer is meant for it."""

    step: Step[..., Any, Any]


@dataclass(frozen=True)
class Event:
    """One thing of a `when`. of: the step, wait or undo that it is about."""

    of: object = None
    answers: tuple[Answer, ...] = ()
    signal: tuple[Signal[Any], Any] | None = None
    cancel: bool = False


def undo(step: Step[..., Any, Any], /) -> Undo:
    """The compensation of a step: `fails(undo(reserve_stock), times=2)`."""
    return Undo(step)


def replies(step: Source[T], /, *values: T, after: float = 0.0) -> Event:
    """A step succeeds with a result; one that gives nothing needs no value. Of a `for_each`: one value for each item.
    after: seconds that it takes."""
    return Event(step, tuple(Answer("done", value=value, seconds=after) for value in values or (None,)))


def rejects(step: Step[..., Any, Any] | Undo, reason: str = "no", /, *, after: float = 0.0) -> Event:
    """A step says a definite no; an undo that does is stuck."""
    return Event(step, (Answer("no", reason=reason, seconds=after),))


def fails(step: Step[..., Any, Any] | Undo, reason: str = "it failed", /, *, times: int | None = None) -> Event:
    """An attempt fails, and nobody knows what stayed of it. times: so often; every time unless it is said."""
    answer = Answer("failure", reason=reason)
    return Event(step, (answer,) * times if times is not None else (replace(answer, ever=True),))


def signals(signal: Signal[T], value: T, /) -> Event:
    """A wait is answered, a moment after it has begun. One that is not waits until its timeout."""
    return Event(signal=(signal, value))


def cancels(*, after: Source[Any] | None = None) -> Event:
    """Somebody cancels, after a step or wait has succeeded; at the very start unless it is said."""
    return Event(after, cancel=True)


@dataclass(frozen=True)
class Expectation:
    """One thing of a `then`: all the actions, or all the compensations, that were tried, in order."""

    word: str
    names: tuple[str, ...]


def runs(*steps: Node[Any]) -> Expectation:
    """The steps that are called, each once however often it is tried: these and no others, in this order."""
    return Expectation("runs", tuple(map(_name, steps)))


def compensates(*steps: Node[Any]) -> Expectation:
    """The steps that are undone: these and no others, in this order. Without a step: none is."""
    return Expectation("compensates", tuple(map(_name, steps)))


@dataclass(frozen=True)
class Specification(Generic[I, T]):
    """A saga with an input, and what happens to it. Made by `given`."""

    saga: Saga[I, T]
    input: I
    events: tuple[Event, ...] = field(default=())

    def when(self, *events: Event) -> Specification[I, T]:
        """What happens. Of one step several answers are those of its attempts, one after the other."""
        return replace(self, events=(*self.events, *events))

    def then(
        self,
        *expected: Expectation,
        status: Status | None = None,
        outcome: object = None,
        reason: str | None = None,
    ) -> Outcome | None:
        """What follows, until nothing more happens. The outcome, for more to be asked of it; None where the saga waits.

        status: where it stands. outcome: equal to this. reason: a part of why it is compensated or parked.

        Raises SpecificationFailed, an AssertionError that shows what happened, and DefinitionError for what cannot be.
        """
        __tracebackhide__ = True
        scene = _scene(self)
        try:
            run = scene.play()
            wrong = list(_wrong(run, expected, status, outcome, reason))
        except Unanswered as error:
            raise DefinitionError(str(error)) from None
        finally:
            scene.close()
        if wrong:
            raise SpecificationFailed(
                "\n".join([*wrong, "", "what happened:", *(f"    {line}" for line in story_of(run))])
            )
        return outcome_in(run)


def given(saga: Saga[I, T], input: I, /) -> Specification[I, T]:
    """A saga that is about to start with this input."""
    return Specification(saga, input)


def _scene(specification: Specification[Any, Any]) -> ScriptedScene:
    saga, script, cancelled = specification.saga, dict[tuple[str, bool], list[Answer]](), list[str]()
    answered: dict[Signal[Any], Any] = {}
    for event in specification.events:
        if event.signal is not None:
            answered[event.signal[0]] = event.signal[1]
        elif event.cancel:
            cancelled.append("" if event.of is None else _known(saga, _name(event.of)))
        else:
            undone = isinstance(event.of, Undo)
            name = _known(saga, _name(event.of.step if isinstance(event.of, Undo) else event.of))
            script.setdefault((name, undone), []).extend(event.answers)
    return ScriptedScene(saga, specification.input, answered, script, cancelled)


def _wrong(
    run: ScriptedRun, expected: Sequence[Expectation], status: str | None, outcome: object, reason: str | None
) -> list[str]:
    found = {"runs": run.acted, "compensates": run.undone}
    wrong = []
    for one in expected:
        names = tuple(dict.fromkeys(map(stem_of, found[one.word])))
        if names != one.names:
            wrong.append(f"expected: {one.word} {_listed(one.names)}; it {one.word} {_listed(names)}")
    standing = str(run.standing.status)
    if status is not None and standing != status:
        wrong.append(f"expected: {status}; it is {standing}")
    ended = outcome_in(run)
    if outcome is not None and ended != outcome:
        wrong.append(f"expected: {outcome}; the outcome is {ended}")
    said = getattr(ended, "reason", "")
    if reason is not None and reason not in said:
        wrong.append(f"expected: {reason!r} in the reason; it is {said!r}")
    return wrong


def _name(node: object) -> str:
    name = getattr(node, "stored_name", None)
    if not isinstance(name, str):
        raise DefinitionError(f"{node!r:.80}: a step or a wait is expected")
    return name


def _known(saga: Saga[Any, Any], name: str) -> str:
    if name not in saga.plan.by_address:
        raise DefinitionError(f"the saga {saga.name!r} has no {name!r}; it has: {', '.join(saga.plan.by_address)}")
    return name


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "nothing"
