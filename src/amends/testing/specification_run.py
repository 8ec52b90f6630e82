"""The run behind a specification: attempts end as the script says.

Guarantees: a step that gives something and has no answer in the script is named, never guessed.
Must not: call a step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from amends.decide import events as e
from amends.decide import messages as m
from amends.decide.events import Event, Phase
from amends.decide.messages import Message
from amends.decide.plan import StepNode, index_of, stem_of
from amends.define.nodes import Signal
from amends.define.program import Program
from amends.define.saga import Saga
from amends.testing.explore_acts import FIRST
from amends.testing.explore_calls import Called, Try, loopless
from amends.testing.explore_course import CallOf
from amends.testing.explore_run import Run
from amends.testing.explore_scene import Scene
from amends.testing.explore_world import Clock, Worlds


@dataclass(frozen=True)
class Answer:
    """How one attempt ends. word: done, no or failure. ever: the later ones too."""

    word: str
    value: Any = None
    reason: str = ""
    seconds: float = 0.0
    ever: bool = False


class Unanswered(Exception):
    """The script does not say what a step answers."""


class NoWorlds(Worlds):
    """There is no world where nothing is called."""

    def __init__(self, program: Program) -> None:
        self._program = program

    def make(self, clock: Clock) -> Any:
        return None

    def resources(self, world: Any) -> dict[Any, Any]:
        return {}


class ScriptedScene(Scene):
    """A saga whose steps answer as they are told to. script: by the step's name, and whether its undo is meant."""

    needs_services = False

    def __init__(
        self,
        saga: Saga[Any, Any],
        value: Any,
        signals: Mapping[Signal[Any], Any],
        script: Mapping[tuple[str, bool], Sequence[Answer]],
        cancelled: Sequence[str],
    ) -> None:
        super().__init__(saga, value, None, signals)
        self.script = script
        self.cancelled = cancelled

    def worlds_of(self, world: object) -> Worlds:
        return NoWorlds(self.program)

    def play(self) -> ScriptedRun:
        """The run. Raises Unanswered."""
        run = ScriptedRun(self)
        with loopless(guarded=False):
            run.go()
        return run

    def perform(self, attempt: Try) -> Called:
        run = attempt.run
        number = run.standing.step(attempt.address).track(attempt.phase).attempts
        answer = self._answer(attempt.address, attempt.phase, number)
        return Called(self._message(run, attempt.address, attempt.phase, answer), answer.seconds)

    def send(self, run: Run, node: StepNode, address: str, phase: Phase, *, siblings: bool) -> None:
        number, _ = run.fault_at(address, phase, node)
        answer = self._answer(address, phase, run.standing.step(address).track(phase).attempts)
        message = self._message(run, address, phase, answer)
        run.story.append((run.now, CallOf(address, phase, number, f"is asked of {node.service}")))
        run.push(run.now + answer.seconds, message)

    def _answer(self, address: str, phase: Phase, number: int) -> Answer:
        name, undo = stem_of(address), phase is Phase.UNDO
        script = self.script.get((name, undo), ())
        if not script:
            if undo or self._gives_nothing(address):
                return Answer("done")
            given = getattr(self.program.step(address).result.type, "__name__", "a value")
            raise Unanswered(f"{name} gives a {given}; say which: replies({name}, …)")
        if address.endswith("]") and len(script) > 1 and all(answer.word == "done" for answer in script):
            return script[min(index_of(address), len(script) - 1)]
        if number > len(script) and not script[-1].ever:
            if script[-1].word == "failure" and (undo or self._gives_nothing(address)):
                return Answer("done")
            if script[-1].word == "failure":
                raise Unanswered(f"{name} is tried {number} times; say what the last try gives: replies({name}, …)")
        return script[min(number, len(script)) - 1]

    def _gives_nothing(self, address: str) -> bool:
        return self.program.step(address).result.type in (None, type(None))

    def _message(self, run: Run, address: str, phase: Phase, answer: Answer) -> Message:
        if answer.word == "no":
            return m.No(address, phase, answer.reason, sure=self.plan.step(address).work != "local")
        if answer.word == "failure":
            return m.Failure(address, phase, answer.reason)
        payload = b"null" if phase is Phase.UNDO else run.admit(address, answer.value)
        return m.Done(address, phase, payload)


class ScriptedRun(Run):
    """What was tried, in order: actions, and compensations."""

    def __init__(self, scene: ScriptedScene) -> None:
        super().__init__(scene, ())
        self._script = scene
        self.acted: list[str] = []
        self.undone: list[str] = []

    def follow(self, events: tuple[Event, ...], line: int) -> None:
        for event in events:
            if isinstance(event, (e.Issued, e.Sent)):
                (self.undone if event.phase is Phase.UNDO else self.acted).append(event.address)
            begins = isinstance(event, e.Started) and "" in self._script.cancelled
            if begins or (isinstance(event, e.Succeeded) and event.address in self._script.cancelled):
                self.note("somebody cancels")
                self.push(FIRST, m.Cancel("the cancel", "test", "cancelled by the test"))
        super().follow(events, line)

    def mend(self) -> bool:
        return False  # nobody comes
