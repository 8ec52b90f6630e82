"""The laws of the simulation: what must hold of sagas, ledger and answers.

Guarantees: a broken law is told with the saga's history and the command that repeats the run.
Must not: change anything, or take the engine's word where the ledger or the journal has one.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from amends.decide import events as e
from amends.decide.state import State, Status
from amends.define.context import Context
from amends.define.outcome import Parked
from amends.define.saga import Saga
from amends.run import journal
from amends.run.outcomes import outcome_of
from amends.run.session import state_of
from amends.store.base import Loaded
from amends.store.memory import MemoryDatabase
from amends.testing.account import Account, Misconduct
from amends.testing.random_sagas import Ticket
from amends.testing.timeline import timeline
from amends.testing.watched import Witness
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
    acts: list[tuple[str, str]] = field(default_factory=list)  # what an operator did, and was told
    ended: str = ""


class Laws:
    """What is checked in one run."""

    def __init__(self, seed: int, wanted: list[Wanted], database: MemoryDatabase, world: World) -> None:
        self.seed = seed
        self.wanted = wanted
        self.counts: Counter[str] = Counter()
        self.poisoned: str = world.poisoned[0]
        self.could_die_by_chance = False  # three times in the same attempt
        self.witness: Witness = Witness()
        self._database = database
        self._world = world

    # While it runs

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
                internal = self._database.keys.get(wanted.key)
                if internal is None:
                    continue
                status, length = self._database.sagas[internal].status, len(self._database.journal[internal])
                if wanted.ended and status != wanted.ended:
                    self.fail(wanted, f"was seen {wanted.ended}, and then {status}")
                if status in ("completed", "compensated"):
                    wanted.ended = status
                if length < lengths.get(internal, 0):
                    self.fail(wanted, "its journal shrank")
                lengths[internal] = length

    def called(self, ctx: Context) -> None:
        """A step or compensation is being called: that it may be is written already. Nothing is
        raised here, where it would be taken for the step's own failure."""
        internal = self._database.keys.get(ctx.saga_id)
        needle = f'["issued","{ctx.address}","{ctx.phase}"]'.encode()
        rows = () if internal is None else self._database.journal[internal]
        if sum(row.count(needle) for _, row in rows) < ctx.attempt:
            breach = f"saga {ctx.saga_id}: {ctx.address}, {ctx.phase}, was called before that attempt was written"
            self.witness.breaches.append(breach)

    # When all is at rest

    def check_all(self, *, finally_: bool = False) -> None:
        if self.witness.breaches:
            raise SimulationFailed(self.text(self.witness.breaches[0]))
        for wanted in self.wanted:
            loaded = self.loaded(wanted.key)
            if loaded is None:
                if "start" in wanted.told:
                    self.fail(wanted, "its start was acknowledged, and it is not there")
                continue
            state = state_of(loaded)
            account = self._account(wanted, loaded)
            self._check_head(wanted, loaded, state, account)
            self._check_ledger(wanted, account)
            self._check_listed(wanted, state, account)
            self._check_answers(wanted, state, account)
            self._check_deaths(wanted, state, account)
            if finally_ and not account.end:
                self.fail(wanted, "did not end")
            if finally_:
                self._count_events(loaded)
            self.counts[f"{'finally ' if finally_ else ''}{state.status}"] += 1
        self._check_keys()
        self._count_all()

    def _account(self, wanted: Wanted, loaded: Loaded) -> Account:
        try:
            return Account(wanted.saga.plan).read(map(journal.decode, loaded.rows))
        except Misconduct as wrong:
            self.fail(wanted, str(wrong))
            raise

    def _check_head(self, wanted: Wanted, loaded: Loaded, state: State, account: Account) -> None:
        if loaded.head.status != state.status:
            self.fail(wanted, f"its head says {loaded.head.status}, its journal {state.status}")
        if account.end and state.status != account.end:
            self.fail(wanted, f"its journal ends {account.end}, its state is {state.status}")
        if loaded.head.owner is not None:
            self.fail(wanted, f"it is {state.status} and has an owner")

    def _check_ledger(self, wanted: Wanted, account: Account) -> None:
        """What stands in the ledger is what the journal says, wherever the journal is sure."""
        stands = Counter(effect.address for effect in self._world.effects.values() if effect.saga == wanted.key)
        twice = [address for address, number in stands.items() if number > 1]
        if twice:
            self.fail(wanted, f"the effects of {twice} stand more than once")
        path = {address for address, node, _ in account.steps() if not node.readonly}
        must, must_not = _sure(account, path)
        if account.end == "completed":
            must |= path - {address for address in path if account.entry(address).action in ("closed", "rejected")}
        if account.end == "compensated":
            must_not |= {address for address in stands if "closed" not in _words(account, address)}
        if set(stands) - path:
            self.fail(wanted, f"in the ledger stand {sorted(set(stands) - path)}, which are not on its path")
        if must - set(stands):
            self.fail(wanted, f"{account.end or 'parked'}, and {sorted(must - set(stands))} do not stand in the ledger")
        if must_not & set(stands):
            self.fail(wanted, f"{account.end or 'parked'}, and {sorted(must_not & set(stands))} stand in the ledger")
        if not account.end:
            succeeded = {address for address in path if account.entry(address).action == "succeeded"}
            allowed = account.unsettled() | (succeeded if account.passed else set())
            hidden = {address for address in stands if "closed" not in _words(account, address)} - allowed
            if hidden:
                self.fail(wanted, f"parked, and {sorted(hidden)} stand without being unsettled")

    def _check_listed(self, wanted: Wanted, state: State, account: Account) -> None:
        """A parked saga lists exactly what is unsettled."""
        if state.status is not Status.PARKED:
            return
        outcome = outcome_of(wanted.saga.program, state)
        listed = [entry.step for entry in outcome.unsettled] if isinstance(outcome, Parked) else []
        if sorted(listed) != sorted(account.unsettled()):
            self.fail(wanted, f"parked, it lists {sorted(listed)}, and {sorted(account.unsettled())} are unsettled")

    def _check_answers(self, wanted: Wanted, state: State, account: Account) -> None:
        """Whoever asked was told what happened."""
        told = wanted.told
        if told.get("cancel") == "accepted" and not account.turned:
            self.fail(wanted, "the cancel was accepted, and the saga did not go back")
        if told.get("cancel") == "too late" and not (account.passed or account.end):
            self.fail(wanted, "the cancel was told to be too late, and it was not")
        for name in wanted.saga.program.signals:
            used = name in account.kept or account.entry(name).action == "succeeded"
            if told.get(f"signal {name}") == "accepted" and not used:
                self.fail(wanted, f"the signal {name} was accepted, and nobody has it")
        if told.get("outcome", state.status) != state.status and told["outcome"] != "parked":
            self.fail(wanted, f"a client was told {told['outcome']}, and the saga is {state.status}")
        for verb in {verb for verb, _ in wanted.acts}:
            accepted = wanted.acts.count((verb, "accepted"))
            unheard = wanted.acts.count((verb, "not answered"))
            if not accepted <= account.acts.count(verb) <= accepted + unheard:
                self.fail(wanted, f"{accepted} times {verb} was accepted, and {account.acts.count(verb)} times done")

    def _check_deaths(self, wanted: Wanted, state: State, account: Account) -> None:
        """Whoever died counts, whoever lived or left does not; a saga is parked for taking its
        workers down only if it did."""
        for at, worker, deaths, gone in account.take_overs:
            alive = self.witness.knew(worker, at) | {worker}
            died = [other for other in gone if other not in alive]
            if deaths != len(died):
                self.fail(wanted, f"{deaths} deaths are counted, and of workers {list(gone)} {died} had died")
        if "took its worker down" in state.parked:
            self.counts["parked as poison"] += 1
            if not self.could_die_by_chance and wanted.key != self.poisoned:
                self.fail(wanted, "was parked for taking down workers, and it was another one")

    def _check_keys(self) -> None:
        for (saga, address, round_), keys in self._world.keys.items():
            if len(keys) != 1:
                raise SimulationFailed(self.text(f"saga {saga}: {address}, round {round_}, had {len(keys)} keys"))

    # Telling

    def _count_all(self) -> None:
        retired = [worker for worker in self._database.workers.values() if worker.retired_at and worker.survived]
        self.counts["workers retired alive"] = len(retired)
        self.counts["calls"] = self._world.calls
        self.counts["repeated calls"] = self._world.repeated
        self.counts["fenced calls"] = self._world.fenced

    def _count_events(self, loaded: Loaded) -> None:
        for row in loaded.rows:
            for event in journal.decode(row).events:
                self.counts[f"event {type(event).__name__}"] += 1
                self.counts["still running"] += isinstance(event, e.Stuck) and event.overdue > 0

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


def _words(account: Account, address: str) -> set[str]:
    entry = account.entry(address)
    return {entry.action, entry.undo}


def _sure(account: Account, path: set[str]) -> tuple[set[str], set[str]]:
    """Which effects must stand, and which must not, whatever has become of the saga."""
    must: set[str] = set()
    must_not: set[str] = set()
    for address in path:
        entry = account.entry(address)
        if entry.action == "succeeded" and not entry.undo:
            must.add(address)
        if entry.action == "rejected" or (entry.undo in ("undone", "void") and entry.action != "closed"):
            must_not.add(address)
    return must, must_not
