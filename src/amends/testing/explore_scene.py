"""What all runs of one exploration share: the saga, its input, what makes worlds, what calls functions.

Guarantees: built once; a run changes nothing in it but that it has a loop.
Must not: hold anything of a run.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from amends.decide.choreography import obstacles, travelling
from amends.decide.events import Phase
from amends.decide.messages import Message
from amends.decide.plan import EachNode, Plan, StepNode, stem_of
from amends.define.nodes import Signal
from amends.define.program import Program
from amends.define.saga import Saga
from amends.define.step import Remote
from amends.errors import DefinitionError
from amends.run.settings import Settings
from amends.testing.explore_calls import Called, NeedsLoop, Try, call, end_loop, loopless, new_loop
from amends.testing.explore_faults import ATTEMPTS, MOMENTS, TRAVELLING, Fault, Faults, Kind, read
from amends.testing.explore_run import Point, Run
from amends.testing.explore_services import Given, Services
from amends.testing.explore_tx import TX, Transactional
from amends.testing.explore_wire import Wire
from amends.testing.explore_world import Worlds, check_takes
from amends.testing.inline import SandboxLoop

ORCHESTRATED, CHOREOGRAPHED = "orchestrated", "choreographed"
HISTORY_LINES = 300  # of a run; a step that fails without end behind the pivot parks then


class Scene:
    """The stage of every run. Raises DefinitionError, and ValueRefused for an input that cannot be stored."""

    needs_services = True

    def __init__(
        self,
        saga: Saga[Any, Any],
        value: Any,
        world: object,
        signals: Mapping[Signal[Any], Any] | None = None,
        acts: Sequence[Callable[..., Any]] = (),
        services: Given | None = None,
        style: str = ORCHESTRATED,
    ) -> None:
        if not isinstance(saga, Saga):
            raise DefinitionError(f"explore({saga!r:.80}, …): a Saga is expected")
        self.saga: Saga[Any, Any] = saga
        self.program: Program = saga.program
        self.plan: Plan = travelling(saga.plan) if style == CHOREOGRAPHED else saga.plan
        self.settings: Settings = Settings(history_lines=HISTORY_LINES)
        self.payload: bytes = self.program.input.admit(value, f"the input of {saga.name}", self.settings.payload_bytes)[
            0
        ]
        self.worlds: Worlds = self.worlds_of(world)
        self.signals: list[tuple[str, bytes]] = [self.signal(*one) for one in (signals or {}).items()]
        self.acts: dict[str, Callable[..., Any]] = _acts(acts)
        self.transactional: Transactional = Transactional(self.program)
        self.wire: Wire | None = None
        if services is not None:
            self.wire = Wire(Services(services, self.plan, self._remotes()), choreographed=style == CHOREOGRAPHED)
        elif self.plan.remote and self.needs_services:
            raise DefinitionError(f"{saga!r} has commands of services: say who does them, with services=")
        _check_style(saga, style)
        self.accounted: set[object] = set()  # journals that amends' own account has read
        self.looped: bool = False
        self._loop: SandboxLoop | None = None

    def _remotes(self) -> dict[str, Remote]:
        steps = {address: step.step.body.remote for address, step in self.program.steps.items()}
        return {address: remote for address, remote in steps.items() if remote is not None}

    def worlds_of(self, world: object) -> Worlds:
        """What makes worlds. Raises DefinitionError."""
        return Worlds(world, self.program)

    def run(self, faults: Faults = ()) -> Run:
        """One run, from its start to where nothing more happens. Raises what the user's `world` raises."""
        while True:
            made = Run(self, faults)
            try:
                with loopless(guarded=not self.looped):
                    made.go()
            except NeedsLoop:
                if self.looped:
                    raise
                self.looped = True  # once for all: the runs so far waited for nothing, and are as they would be
                continue
            return made

    def perform(self, attempt: Try) -> Called:
        """Make an attempt, as the user wrote it."""
        return call(attempt) if attempt.node.work != TX else self.transactional.call(attempt)

    def instead(self, attempt: Try, message: Message) -> Called:
        """End an attempt without a call; one in a transaction is judged by the barrier all the same."""
        return Called(message) if attempt.node.work != TX else self.transactional.call(attempt, message)

    def send(self, run: Run, node: StepNode, address: str, phase: Phase, *, siblings: bool) -> None:
        """Send a command to its service."""
        if self.wire is None:
            raise DefinitionError(f"{address} is a command of {node.service}: say who does it, with services=")
        self.wire.send(run, node, address, phase, siblings=siblings)

    def kinds(self, point: Point, node: StepNode) -> Iterable[Kind]:
        """What can go wrong with a command and its reply."""
        return () if self.wire is None else self.wire.kinds(point, node)

    def faults(self, text: str) -> Faults:
        """Faults as they are written. Raises DefinitionError for what this saga cannot meet."""
        found = read(text, self.program.signals, self.acts)
        for fault in found:
            if fault.kind not in MOMENTS and stem_of(fault.name) not in self.plan.by_address:
                known = ", ".join(self.plan.by_address)
                raise DefinitionError(f"the fault {fault}: the saga has no {fault.name!r}; it has: {known}")
            self._check_fits(fault)
        return found

    def _check_fits(self, fault: Fault) -> None:
        node = self.plan.by_address.get(stem_of(fault.name))
        node = node.step if isinstance(node, EachNode) else node
        if fault.kind not in ATTEMPTS or not isinstance(node, StepNode):
            return
        if node.work == TX and fault.kind in (Kind.TIMES_OUT, Kind.LOST):
            raise DefinitionError(f"the fault {fault}: what takes a transaction is rolled back then; it is `fails`")
        if fault.kind in (TRAVELLING if not node.remote else (Kind.TIMES_OUT, Kind.CRASH_AFTER)):
            word = "is a command" if node.remote else "is no command"
            raise DefinitionError(f"the fault {fault}: {fault.name} {word}, so this cannot befall it")

    def loop(self) -> SandboxLoop:
        """For attempts that really wait."""
        if self._loop is None:
            self._loop = new_loop()
        return self._loop

    def close(self) -> None:
        """Let go of the loop."""
        if self._loop is not None:
            with loopless(guarded=False):
                end_loop(self._loop)
            self._loop = None

    def signal(self, signal: Signal[Any], value: Any) -> tuple[str, bytes]:
        """A signal's name, and its value as it is stored. Raises DefinitionError and ValueRefused."""
        name = getattr(signal, "stored_name", None)
        if not isinstance(signal, Signal) or name is None:
            raise DefinitionError(f"signals={{{signal!r:.80}: …}}: a wait is expected, as wait_for(…) gives")
        codec = self.program.signals.get(name)
        if codec is None:
            known = ", ".join(self.program.signals) or "none"
            raise DefinitionError(f"signals=: the saga {self.saga.name!r} waits for no {name!r}; it waits for {known}")
        return name, codec.admit(value, f"the signal {name}", self.settings.payload_bytes)[0]


def _acts(acts: Sequence[Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    found: dict[str, Callable[..., Any]] = {}
    for act in acts:
        name = getattr(act, "__name__", "")
        if not inspect.iscoroutinefunction(act) or not name.isidentifier():
            raise DefinitionError(f"meanwhile=[{act!r:.80}]: async functions of the world and the saga are expected")
        if name in found or name in (Kind.CANCEL, Kind.DEADLINE, Kind.SWAPPED):
            raise DefinitionError(f"meanwhile=: {name!r} is taken; give the function another name")
        check_takes(act, "meanwhile=", "the world", "the saga")
        found[name] = act
    return found


def _check_style(saga: Saga[Any, Any], style: str) -> None:
    if style not in (ORCHESTRATED, CHOREOGRAPHED):
        raise DefinitionError(f"style={style!r}: {ORCHESTRATED!r} or {CHOREOGRAPHED!r} is expected")
    in_the_way = obstacles(saga.plan) if style == CHOREOGRAPHED else ()
    if in_the_way:
        raise DefinitionError(f"{saga!r} cannot be choreographed: {'; '.join(in_the_way)}")
