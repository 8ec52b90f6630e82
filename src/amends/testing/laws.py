"""The laws of the simulation: what must hold of sagas, ledger and answers.

Guarantees: a broken law is told with the saga's history and the command that repeats the run.
Must not: change anything.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from amends.decide.compensate import closed_by_hand
from amends.decide.state import Action, State, Status
from amends.define.outcome import Parked
from amends.define.saga import Saga
from amends.run import journal
from amends.run.outcomes import outcome_of
from amends.run.session import state_of
from amends.store.base import Loaded
from amends.store.memory import MemoryDatabase
from amends.testing.random_sagas import Ticket
from amends.testing.timeline import timeline
from amends.testing.world import World


class SimulationFailed(AssertionError):
    """A law was broken. The text says which, for which seed and saga, and how to repeat it."""


@dataclass
class Wanted:
    """What the driver wants of one saga."""

    key: str
    saga: Saga[Ticket, None]
    ticket: Ticket
    told: dict[str, str] = field(default_factory=dict)  # what clients were told
    ended: str = ""


class Laws:
    """What is checked in one run."""

    def __init__(self, seed: int, wanted: list[Wanted], database: MemoryDatabase, world: World) -> None:
        self.seed = seed
        self.wanted = wanted
        self.counts: Counter[str] = Counter()
        self.poisoned = world.poisoned[0]
        self.could_die_by_chance = False  # three times in the same attempt
        self._database = database
        self._world = world

    def at_rest(self, wanted: Wanted) -> bool:
        loaded = self.loaded(wanted.key)
        if loaded is None:
            return "start" not in wanted.told
        return loaded.head.status in ("completed", "compensated", "parked") and loaded.head.owner is None

    async def watch(self) -> None:
        """Once anybody saw an end, nobody sees another; a journal only grows."""
        lengths: dict[bytes, int] = {}
        while True:
            await asyncio.sleep(1.0)
            for wanted in self.wanted:
                loaded = self.loaded(wanted.key)
                if loaded is None:
                    continue
                status = loaded.head.status
                if wanted.ended and status != wanted.ended:
                    self.fail(wanted, f"was seen {wanted.ended}, and then {status}")
                if status in ("completed", "compensated"):
                    wanted.ended = status
                if len(loaded.rows) < lengths.get(loaded.head.id, 0):
                    self.fail(wanted, "its journal shrank")
                lengths[loaded.head.id] = len(loaded.rows)

    def check_all(self, *, finally_: bool = False) -> None:
        for wanted in self.wanted:
            loaded = self.loaded(wanted.key)
            if loaded is None:
                continue
            state = state_of(loaded)
            self._check_head(wanted, loaded, state)
            self._check_ledger(wanted, state)
            self._check_answers(wanted, state)
            self._check_poison(wanted, state)
            if finally_ and not state.ended:
                self.fail(wanted, "did not end")
            if finally_:
                self._count_events(loaded)
            self.counts[f"{'finally ' if finally_ else ''}{state.status}"] += 1
        self._check_keys()
        retired = [worker for worker in self._database.workers.values() if worker.retired_at and worker.survived]
        self.counts["workers retired alive"] = len(retired)
        self.counts["calls"] = self._world.calls
        self.counts["repeated calls"] = self._world.repeated
        self.counts["fenced calls"] = self._world.fenced

    def _check_head(self, wanted: Wanted, loaded: Loaded, state: State) -> None:
        if loaded.head.status != state.status:
            self.fail(wanted, f"its head says {loaded.head.status}, its journal {state.status}")
        if state.status is Status.PARKED and loaded.head.owner is not None:
            self.fail(wanted, "it is parked and has an owner")

    def _check_ledger(self, wanted: Wanted, state: State) -> None:
        """The effects that stand are exactly those that the saga's state allows."""
        stands = self._world.of(wanted.key) - set(closed_by_hand(state))
        succeeded = {
            address
            for address, step in state.steps.items()
            if step.action.status is Action.SUCCEEDED and address in self._steps(wanted, state)
        }
        if state.status is Status.COMPLETED and stands != succeeded:
            self.fail(wanted, f"completed, and in the ledger stand {sorted(stands ^ succeeded)} too many or too few")
        if state.status is Status.COMPENSATED and stands:
            self.fail(wanted, f"compensated, and in the ledger still stand {sorted(stands)}")
        if state.status is Status.PARKED:
            outcome = outcome_of(wanted.saga.program, state)
            listed = {entry.step for entry in outcome.unsettled} if isinstance(outcome, Parked) else set()
            allowed = listed | (succeeded if state.passed else set())
            if not stands <= allowed:
                self.fail(wanted, f"parked, and {sorted(stands - allowed)} stand without being listed")

    def _steps(self, wanted: Wanted, state: State) -> set[str]:
        names = wanted.saga.program.steps
        return {
            address
            for address in state.steps
            if address.partition("[")[0] in names and not (address in names and address in state.groups)
        }

    def _check_answers(self, wanted: Wanted, state: State) -> None:
        """Whoever asked was told what happened."""
        cancel = wanted.told.get("cancel")
        if cancel == "accepted" and state.turned is None:
            self.fail(wanted, "the cancel was accepted, and the saga did not go back")
        if cancel == "too late" and not (state.passed or state.ended):
            self.fail(wanted, "the cancel was told to be too late, and it was not")

    def _check_poison(self, wanted: Wanted, state: State) -> None:
        """A saga that takes its workers down is parked for it; its neighbours are not."""
        if "took its worker down" in state.parked and not self.could_die_by_chance and wanted.key != self.poisoned:
            self.fail(wanted, "was parked for taking down workers, and it was another one")

    def _check_keys(self) -> None:
        for (saga, address, round_), keys in self._world.keys.items():
            if len(keys) != 1:
                raise SimulationFailed(self.text(f"saga {saga}: {address}, round {round_}, had {len(keys)} keys"))

    def _count_events(self, loaded: Loaded) -> None:
        for row in loaded.rows:
            for event in journal.decode(row).events:
                self.counts[f"event {type(event).__name__}"] += 1

    def loaded(self, key: str) -> Loaded | None:
        internal = self._database.keys.get(key)
        if internal is None:
            return None
        rows = tuple(row for _, row in self._database.journal[internal])
        return Loaded(self._database.sagas[internal], rows)

    def fail(self, wanted: Wanted, what: str) -> None:
        loaded = self.loaded(wanted.key)
        lines = timeline(loaded.rows) if loaded is not None else ["(never written)"]
        story = "\n".join(f"    {line}" for line in lines)
        raise SimulationFailed(self.text(f"saga {wanted.key} ({wanted.saga.name}): {what}\n{story}"))

    def text(self, what: str) -> str:
        return f"{what}\nrepeat it with: python -m amends.testing.simulate --seed {self.seed} --trace"
