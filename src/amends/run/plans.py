"""Which stored plans a worker can run.

Guarantees: a saga runs on the plan it has, or moves to a changed one that fits, or is stalled
with the reason; never on one that does not fit. As long as a live worker has its plan it is left to
that one: two versions side by side take nothing from each other.
Must not: decide whether plans fit; the core does (`decide/upgrade.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

from amends.decide import plan as p
from amends.decide.state import State
from amends.decide.upgrade import obstacle
from amends.decide.watching import watched_of
from amends.define.program import Program
from amends.define.registry import Registry
from amends.errors import DefinitionError, ValueRefused
from amends.store.base import PlanRow, Store

COUNTS_SKIPPED = 2  # so that it is done every minute


class Plans:
    """The numbers of plans, as the store gave them."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._rows: dict[int, PlanRow] = {}
        self._numbers: dict[str, int] = {}
        self._alive: frozenset[int] = frozenset()  # plans that live workers have, as of the last look
        self._counted: frozenset[int] = frozenset()  # plans that nobody had when open sagas were counted last
        self._counts_skipped = 0
        self._told: set[tuple[str, str]] = set()
        self.exact: tuple[int, ...] = ()
        self.claimable: frozenset[int] = frozenset()  # its own, and those of the same name that nobody has

    async def register(self, store: Store) -> None:
        """Make the plans of this process known."""
        sagas = self._registry.by_fingerprint
        if sagas:
            self._check_place(await store.plans())
        given = [(fingerprint, saga.name, saga.plan.json) for fingerprint, saga in sagas.items()]
        numbers = await store.add_plans(given)
        self._numbers = dict(zip(sagas, numbers, strict=True))
        self.exact = tuple(sorted(numbers))
        await self.refresh(store)

    @staticmethod
    def _check_place(rows: Sequence[PlanRow]) -> None:
        """See that nobody watches here what is run elsewhere. Raises DefinitionError."""
        if any(watched_of(row.fingerprint) is not None for row in rows):
            raise DefinitionError(
                "this namespace is a watcher's, which keeps choreographed sagas in it; give the orchestrator another: "
                "Orchestrator(…, namespace=…)"
            )

    async def refresh(self, store: Store) -> None:
        """Learn of plans that others have registered."""
        self._rows = {row.id: row for row in await store.plans()}

    async def look_around(self, store: Store) -> frozenset[int]:
        """Learn of plans, and who has them. Gives those that fall to this worker from now on: it runs their
        sagas, moves them or says why not."""
        await self.refresh(store)
        self._alive = frozenset(plan for row in await store.workers() if row.retired_at is None for plan in row.plans)
        names, before = set(self._registry.names), self.claimable
        orphans = frozenset(row.id for row in self._rows.values() if row.name in names and not _is_watched(row))
        orphans -= self._alive
        self.claimable = orphans | frozenset(self.exact)
        return self.claimable - before

    def number_of(self, fingerprint: str) -> int:
        """The number of one of this process's plans."""
        return self._numbers[fingerprint]

    @property
    def rows(self) -> dict[int, PlanRow]:
        """All registered plans by number, as of the last look."""
        return self._rows

    def name_of(self, number: int) -> str:
        """The name of the saga that a plan is of; empty for a plan that is not known."""
        row = self._rows.get(number)
        return "" if row is None else row.name

    async def stranded(self, store: Store) -> list[str]:
        """What to say of open sagas that no live worker can run: a line for each kind, once. Counting takes a
        while where a million sleep: where every definition has a worker it is not done, and where nothing was
        found, seldom."""
        names = {self.name_of(plan) for plan in self._alive}
        others = (row for row in self._rows.values() if row.name not in names)
        strange = frozenset(row.id for row in others if not _is_watched(row))
        if not strange:
            self._told = set()
        if not strange or (strange == self._counted and self._counts_skipped < COUNTS_SKIPPED):
            self._counts_skipped += 1
            return []
        counts = [
            (self.name_of(plan), status, count)
            for (plan, status), count in sorted((await store.count(open_only=True)).items())
            if status in ("running", "compensating") and plan in strange
        ]
        self._counted, self._counts_skipped = strange, 0
        told, self._told = self._told, {(name, status) for name, status, _ in counts}
        return [
            f"{count} of {name!r} {'are' if count > 1 else 'is'} {status}, and no live worker knows it"
            for name, status, count in counts
            if (name, status) not in told
        ]

    def to_run(self, number: int, state: State) -> tuple[Program | None, str]:
        """What `program_for` gives, unless a live worker has the very plan."""
        if number in self._alive and number not in self.exact:
            return None, "it is left to a worker that has its definition as it is"
        return self.program_for(number, state)

    def program_for(self, number: int, state: State) -> tuple[Program | None, str]:
        """The program that runs a saga of this plan; the fingerprint to move to, or the reason
        why there is none."""
        row = self._rows.get(number)
        if row is None:
            return None, "its plan is not registered"
        saga = self._registry.by_fingerprint.get(row.fingerprint)
        if saga is not None:
            return saga.program, ""
        if row.name not in self._registry.names:
            return None, f"this worker knows no saga called {row.name!r}"
        current = self._registry.named(row.name).program
        reason = obstacle(p.from_json(row.body), current.plan, state) or _unreadable(current, state)
        if reason:
            return None, reason
        return current, current.plan.fingerprint


def _is_watched(row: PlanRow) -> bool:
    """Whether nobody runs it."""
    return watched_of(row.fingerprint) is not None


def _unreadable(program: Program, state: State) -> str:
    """Why the changed code cannot read what is stored; empty if it can."""
    try:
        program.input.decode(state.input)
        for address, step in state.steps.items():
            codec = program.codecs.get(address)
            if step.result is not None and codec is not None and address not in program.lists:
                codec.decode(step.result)
        for name, group in state.groups.items():
            item, result = program.steps[name].item, program.steps[name].result
            for index, payload in enumerate(group.items):
                if item is not None:
                    item.decode(payload)
                kept = state.step(p.item_address(name, index)).result
                if kept is not None:
                    result.decode(kept)
    except ValueRefused as error:
        return str(error)
    return ""
