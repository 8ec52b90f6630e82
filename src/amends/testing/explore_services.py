"""The services of a saga in a run: the user's handlers, or fakes of them, behind the barrier of production.

Guarantees: what is done with a command follows from `decide/barrier.py`; a handler that fails leaves the world as it
was.
Must not: know how messages travel; `explore_wire.py` does.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, cast

from amends.decide import messages as m
from amends.decide.barrier import Arrival, Entry
from amends.decide.events import Phase
from amends.decide.messages import Message
from amends.decide.plan import EachNode, Plan, StepNode, walk
from amends.define.bind import Kind
from amends.define.context import Context, StillAttempt
from amends.define.contract import Command
from amends.define.handlers import Handler
from amends.define.hints import hints_of
from amends.define.policy import Park, Reject, RetryAfter
from amends.define.step import Remote
from amends.define.values import describe, named
from amends.errors import DefinitionError, LimitExceeded, ValueRefused
from amends.run.participant import Participant
from amends.testing.explore_barrier import through
from amends.testing.explore_calls import NeedsLoop, driven
from amends.testing.explore_run import INTERNAL_ID, NAMESPACE, SAGA_ID, Run
from amends.testing.explore_run import says_no as function_says_no
from amends.testing.explore_world import check_takes

Fake = Callable[..., Any]
Given = Sequence[Participant] | Mapping[Command[Any, Any], Fake | tuple[Fake, Fake]]


class Half(NamedTuple):
    """Who does, or undoes, a command. handler: of a participant's function, how its parameters are filled; else it is a
    fake, which is given what it is about and then the world."""

    fn: Fake
    handler: Handler | None = None
    hints: Mapping[str, Any] | None = None


class Asked(NamedTuple):
    """A command on its way. payload: it, encoded."""

    node: StepNode
    address: str
    phase: Phase
    arrival: Arrival
    payload: bytes
    attempt: int


class Services:
    """Everything that services do for one saga. Raises DefinitionError where somebody is missing."""

    def __init__(self, given: Given, plan: Plan, remotes: Mapping[str, Remote]) -> None:
        self._halves = _halves(given)
        self._remotes = remotes  # by address, as the plan knows it
        for node in walk(plan.root):
            step = node.step if isinstance(node, EachNode) else node
            if isinstance(step, StepNode) and step.remote:
                self._check(step)

    def says_no(self, node: StepNode) -> bool:
        """Whether a handler says that it may say no."""
        half = self._halves[node.command, Phase.ACTION]
        return function_says_no(half.fn) or bool(half.handler is not None and half.handler.rejects)

    def take(self, run: Run, asked: Asked, *, rejects: bool = False, fails: bool = False) -> tuple[Message, bool]:
        """A command arrives: what is answered, and whether it was answered before. rejects, fails: put into the run."""
        if asked.node.readonly:
            return self._told(asked, self._do(run, asked, None, rejects=rejects, fails=fails)), False

        def do(entry: Entry | None) -> Message:
            return self._do(run, asked, entry, rejects=rejects, fails=fails)

        message, again = through(run, asked.address, asked.arrival, asked.payload, do)
        return self._told(asked, message), again

    def _told(self, asked: Asked, message: Message) -> Message:
        """As the orchestrator takes it: the barrier vouches for a no, and a compensation has none."""
        if isinstance(message, m.No) and asked.phase is Phase.UNDO:
            words = f"its compensation says no: {message.reason}"
            return m.Failure(asked.address, asked.phase, words, resolved=True, park=True, attempt=asked.attempt)
        return message

    def _do(self, run: Run, asked: Asked, entry: Entry | None, *, rejects: bool, fails: bool) -> Message:
        """The handler does it, or what was put into the run."""
        address, phase = asked.address, asked.phase
        run.own_errors.pop((address, phase), None)
        run.own_parks.pop((address, phase), None)
        if rejects:
            return m.No(address, phase, "it was made to say no", sure=True)
        if fails:
            return m.Failure(address, phase, "it was made to fail", resolved=True, attempt=asked.attempt)
        half, remote = self._halves[asked.node.command, phase], self._remote(address)
        run.called.add((address, phase))
        try:
            value = self._called(run, half, remote, asked, entry)
            result = b"null"
            if phase is Phase.ACTION:
                result = remote.replied.admit(value, f"the reply of {address}", run.scene.settings.payload_bytes)[0]
            return m.Done(address, phase, result)
        except (NeedsLoop, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001  # whatever a user's function raises is an outcome
            message = _failure(asked, half, error)
            run.ended_by_itself((address, phase), message, error)
            return message

    def _called(self, run: Run, half: Half, remote: Remote, asked: Asked, entry: Entry | None) -> Any:
        stored = asked.payload if entry is None or entry.command is None else entry.command
        command = remote.sent.decode(stored)
        reply = None if entry is None or entry.result is None else remote.replied.decode(entry.result)
        if half.handler is None:
            about = (command,) if asked.phase is Phase.ACTION else (command, reply)
            made = half.fn(*about, run.world)
        else:
            made = half.fn(**_filled(run, half, asked, command, reply))
        if not inspect.iscoroutine(made):
            return made
        return run.scene.loop().run_until_complete(made) if run.scene.looped else driven(made)

    def _remote(self, address: str) -> Remote:
        found = self._remotes.get(address)
        return self._remotes[address.rpartition("[")[0]] if found is None else found

    def _check(self, node: StepNode) -> None:
        wanted = [Phase.ACTION, Phase.UNDO] if node.compensated else [Phase.ACTION]
        for phase in wanted:
            if (node.command, phase) not in self._halves:
                word = "does" if phase is Phase.ACTION else "undoes"
                raise DefinitionError(
                    f"{node.address}: nobody {word} {node.command}; give its participant, or a fake: "
                    "services={command: (do, undo)}"
                )


def _halves(given: Given) -> dict[tuple[str, Phase], Half]:
    halves: dict[tuple[str, Phase], Half] = {}
    if isinstance(given, Mapping):
        for command, fakes in given.items():
            if not isinstance(command, Command):
                raise DefinitionError(f"services={{{command!r:.80}: …}}: a command is expected, as a Service makes it")
            do, *undo = fakes if isinstance(fakes, tuple) else (fakes,)
            for fn, reply in ((do, ()), *((one, ("the reply",)) for one in undo)):
                if not callable(fn):
                    raise DefinitionError(f"services={{{command.type}: …}}, {fn!r:.80}: a function is expected")
                check_takes(fn, f"services={{{command.type}: …}}, ", "the command", *reply, "the world")
            halves[command.type, Phase.ACTION] = Half(do)
            for fn in undo:
                halves[command.type, Phase.UNDO] = Half(fn)
        return halves
    for participant in given:
        if not isinstance(participant, Participant):
            raise DefinitionError(f"services=[{participant!r:.80}]: participants are expected, or {{command: fake}}")
        for handled in participant._built.handlers.commands.values():
            for phase in Phase:
                handler = handled.handler(phase)
                if handler is not None:
                    hints = hints_of(handler.call.fn, {}, handler.where)
                    halves[handled.contract.type, phase] = Half(handler.call.fn, handler, hints)
    return halves


def _filled(run: Run, half: Half, asked: Asked, command: Any, reply: Any) -> dict[str, Any]:
    """What a participant's function is called with."""
    handler = cast("Handler", half.handler)
    given: dict[str, Any] = {}
    for argument in handler.call.arguments:
        if argument.kind is Kind.INPUT:
            given[argument.name] = command
        elif argument.kind is Kind.RESULT:
            given[argument.name] = reply
        elif argument.kind is Kind.CONTEXT:
            given[argument.name] = _context(run, asked)
        else:
            wanted = argument.key if argument.kind is Kind.RESOURCE else (half.hints or {})[argument.name]
            given[argument.name] = run.scene.worlds.find(run.world, wanted)
    return given


def _context(run: Run, asked: Asked) -> Context:
    attempt, round_, deadline = asked.attempt, asked.arrival.round, run.standing.deadline
    address, phase = asked.address, asked.phase
    return Context(
        NAMESPACE, SAGA_ID, INTERNAL_ID, address, phase, attempt, round_, run.worker, deadline, StillAttempt()
    )


def _failure(asked: Asked, half: Half, error: BaseException) -> Message:
    """The handler raised, and all that it did was rolled back."""
    address, phase, attempt = asked.address, asked.phase, asked.attempt
    rejects = half.handler.rejects if half.handler is not None else ()
    if isinstance(error, (Reject, *rejects)):
        return m.No(address, phase, describe(error), sure=True)
    reason = named(error)
    if isinstance(error, RetryAfter):
        return m.Failure(address, phase, reason, resolved=True, after=error.seconds, attempt=attempt)
    final = isinstance(error, (ValueRefused, LimitExceeded))
    park = isinstance(error, Park)
    return m.Failure(address, phase, reason, resolved=True, final=final, park=park, attempt=attempt)
