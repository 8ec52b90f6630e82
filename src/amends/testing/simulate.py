"""Simulation: the real engine, many workers and sagas, a virtual clock, and seeded faults.

Workers die before and after every call to the store and to the services, pause past their
lease and come back, lose answers and hints; services reject, fail, answer late or twice;
clients start twice, signal early, cancel at any time. Then everything heals, and what stands
in the ledger is compared with what the sagas say.

    python -m amends.testing.simulate --seeds 0:5000
    python -m amends.testing.simulate --seed 1234 --trace

Guarantees: one seed is one run; a failure names its seed and the command that repeats it.
Must not: loosen a check to pass.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from amends.decide.compensate import closed_by_hand
from amends.decide.state import Action, State, Status
from amends.define.nodes import Signal, wait_for
from amends.define.outcome import Parked
from amends.define.program import Program
from amends.define.registry import Registry
from amends.define.resources import Resources
from amends.define.saga import Saga
from amends.errors import AmendsError, NotAnswered, Refused, StoreUnavailable, TooLate
from amends.run import journal
from amends.run.chance import Chance
from amends.run.outcomes import outcome_of
from amends.run.session import Config, Session, state_of
from amends.run.settings import Settings
from amends.store.base import Loaded
from amends.store.memory import MemoryDatabase, MemoryStore
from amends.testing.faults import FaultyStore, Gate, Rates
from amends.testing.random_sagas import Ticket, random_sagas
from amends.testing.timeline import timeline
from amends.testing.virtual import Inline, VirtualLoop, close
from amends.testing.world import Line, Troubles, World

SETTINGS = Settings(lease_seconds=15.0, poll_seconds=1.0, drain_seconds=10.0, answer_seconds=30.0)
STORM_SECONDS = 150.0
CALM_SECONDS = 300.0  # everything must be at rest this long after the last fault
POOL = random_sagas(seed=20261124, number=60)


class SimulationFailed(AssertionError):
    """A law was broken. The text says which, for which seed and saga, and how to repeat it."""


@dataclass
class Report:
    """What a run did, so that a run in which nothing happened is seen."""

    seed: int
    counts: Counter[str] = field(default_factory=Counter)


@dataclass
class Plan:
    """What the driver wants of one saga."""

    key: str
    saga: Saga[Ticket, None]
    ticket: Ticket
    told: dict[str, str] = field(default_factory=dict)  # what clients were told
    ended: str = ""


class Simulation:
    """One run."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.report = Report(seed)
        self.rates = Rates(
            death=self._some(0.004, 0.012),
            pause=self._some(0.004, 0.03),
            away=self._some(0.01, 0.05),
            answer_lost=self._some(0.005, 0.03),
            hint_lost=self._some(0.1, 0.5),
            slow=self._some(0.02, 0.1),
            pause_seconds=self.chance.choice([40.0, 120.0]),
        )
        self.troubles = Troubles(
            reject=self._some(0.02, 0.2),
            error_before=self._some(0.05, 0.15),
            error_after=self._some(0.05, 0.15),
            slow=self._some(0.02, 0.05),
            held=self._some(0.01, 0.1),
            park=self._some(0.0, 0.02),
            later=self._some(0.0, 0.05),
            undo_error=self._some(0.05, 0.3),
            undo_reject=self._some(0.0, 0.05),
        )
        self.world = World(Random(self.chance.random()), self.troubles)
        self.loop: VirtualLoop = asyncio.get_running_loop()  # type: ignore[assignment]  # it runs on one
        self.database = MemoryDatabase(clock=self.loop.now)
        self.sagas = self.chance.sample(POOL, 3)
        self.plans = self._plans()
        self.world.poisoned = self._poison()
        self.was_poisoned = self.world.poisoned[0]
        self.rates_could_kill = self.rates.death > 0.0  # by chance three times in the same attempt
        self.open_gates: list[Gate] = []
        self.stormy = True

    def _some(self, low: float, high: float) -> float:
        """Half of all runs go without a given fault, so that faults are met alone too."""
        return self.chance.uniform(low, high) if self.chance.random() < 0.5 else 0.0

    def _poison(self) -> tuple[str, str]:
        """Now and then one step of one saga takes down whichever worker runs it."""
        plan = self.chance.choice(self.plans)
        steps = [name for name in plan.saga.program.steps if name not in plan.saga.program.lists]
        return (plan.key, self.chance.choice(steps)) if steps and self.chance.random() < 0.15 else ("", "")

    def _plans(self) -> list[Plan]:
        return [
            Plan(
                f"s{index}",
                self.chance.choice(self.sagas),
                Ticket(self.chance.randint(0, 4), self.chance.random() < 0.5),
            )
            for index in range(self.chance.randint(2, 6))
        ]

    # The run

    async def run(self) -> Report:
        """Storm, heal, check; then let an operator finish what is parked, and check again."""
        processes = [asyncio.create_task(self._process(index)) for index in range(self.chance.randint(1, 3))]
        watcher = asyncio.create_task(self._watch())
        session = await self._client()
        clients = [asyncio.create_task(self._drive(session, plan)) for plan in self.plans]
        await asyncio.wait([asyncio.ensure_future(self._storm(clients))])
        self._heal()
        await self._until_rest()
        self._check_all()
        for plan in self.plans:
            await self._operate(session, plan)
        await self._until_rest()
        self._check_all(finally_=True)
        for task in [watcher, *processes, *clients]:
            if task.done():
                task.result()  # a broken law that was seen on the way
            task.cancel()
        return self.report

    async def _storm(self, clients: list[asyncio.Task[None]]) -> None:
        """Faults, until the clients are done or the time is up."""
        await asyncio.wait(clients, timeout=STORM_SECONDS)
        if not all(task.done() for task in clients):
            await asyncio.sleep(self.chance.uniform(0.0, 30.0))

    def _heal(self) -> None:
        self.stormy = False
        self.world.poisoned = ("", "")
        self.rates.heal()
        self.client_rates.heal()
        self.troubles.heal()

    async def _until_rest(self) -> None:
        """Every saga ends or parks by itself, in bounded time."""
        end = self.loop.time() + CALM_SECONDS
        while not all(self._at_rest(plan) for plan in self.plans):
            if self.loop.time() > end:
                plan = next(plan for plan in self.plans if not self._at_rest(plan))
                self._fail(plan, f"does not come to rest within {CALM_SECONDS:g} s of the last fault")
            await asyncio.sleep(1.0)

    def _at_rest(self, plan: Plan) -> bool:
        loaded = self._loaded(plan.key)
        if loaded is None:
            return "start" not in plan.told
        return loaded.head.status in ("completed", "compensated", "parked") and loaded.head.owner is None

    # Processes

    async def _process(self, index: int) -> None:
        """A worker process under a supervisor that starts it again."""
        number = 0
        while True:
            number += 1
            gate = Gate(self.chance, self.rates, f"worker {index}.{number}")
            self.open_gates.append(gate)
            session = Session(self._config(gate))
            opening = asyncio.create_task(session.open(work=True))
            life = asyncio.create_task(self._life(session))
            dying = asyncio.create_task(gate.death())
            await asyncio.wait([opening, dying], return_when=asyncio.FIRST_COMPLETED)
            if opening.done() and not gate.dead:
                if opening.exception() is not None:
                    life.cancel()
                    self.report.counts["could not open"] += 1
                    await asyncio.sleep(1.0)
                    continue
                await asyncio.wait([life, dying], return_when=asyncio.FIRST_COMPLETED)
            life.cancel()
            self.report.counts["deaths"] += len(gate.deaths)
            self.report.counts["pauses"] += gate.pauses
            await asyncio.sleep(self.chance.uniform(0.1, 20.0))

    async def _life(self, session: Session) -> None:
        """Work until it is time for a clean restart, which is rare."""
        while True:
            await asyncio.sleep(self.chance.uniform(10.0, 60.0))
            if self.stormy and self.chance.random() < 0.2:
                self.report.counts["drains"] += 1
                await session.close()
                return

    def _config(self, gate: Gate) -> Config:
        line = Line(self.world, gate)

        def the_line() -> Line:
            return line

        resources = Resources([the_line], depth=1)
        store = FaultyStore(MemoryStore(self.database), gate)
        chance = Chance(Random(self.chance.random()))
        return Config(
            store, Registry(self.sagas, resources), resources, "sim", SETTINGS, chance=chance, threads=Inline()
        )

    async def _client(self) -> Session:
        """A client whose own calls are never lost for good, so that what it was told is known."""
        rates = Rates(away=self.rates.away, answer_lost=self.rates.answer_lost, hint_lost=self.rates.hint_lost)
        self.client_rates = rates
        while True:
            session = Session(self._config(Gate(self.chance, rates, "client")))
            try:
                await session.open(work=False)
            except StoreUnavailable:
                continue
            return session

    # Clients

    async def _drive(self, session: Session, plan: Plan) -> None:
        """Start a saga, perhaps twice, and say things to it at odd times."""
        await asyncio.sleep(self.chance.uniform(0.0, 20.0))
        duties = [self._start(session, plan)]
        if self.chance.random() < 0.3:
            duties.append(self._start(session, plan))
        await asyncio.gather(*duties)
        await asyncio.gather(self._signal_all(session, plan), self._maybe_cancel(session, plan))

    async def _start(self, session: Session, plan: Plan) -> None:
        await session.start(plan.saga, plan.ticket, plan.key)
        plan.told["start"] = "accepted"

    async def _signal_all(self, session: Session, plan: Plan) -> None:
        for name in plan.saga.program.signals:
            if self.chance.random() < 0.7:
                await asyncio.sleep(self.chance.uniform(0.0, 10.0))
                signal: Signal[str] = wait_for(name, str)
                for _ in range(self.chance.choice([1, 1, 2])):
                    plan.told[f"signal {name}"] = await self._ask(session.signal(plan.key, signal, "yes", f"id-{name}"))

    async def _maybe_cancel(self, session: Session, plan: Plan) -> None:
        if self.chance.random() < 0.25:
            await asyncio.sleep(self.chance.uniform(0.0, 25.0))
            plan.told["cancel"] = await self._ask(session.cancel(plan.key, reason="changed my mind", actor="ann"))

    async def _ask(self, asking: Any) -> str:
        try:
            await asking
        except TooLate:
            return "too late"
        except Refused:
            return "refused"
        except NotAnswered:
            return "not answered"
        return "accepted"

    # The operator

    async def _operate(self, session: Session, plan: Plan) -> None:
        """Bring a parked saga to its end, by one of the ways there are."""
        for _ in range(300):
            loaded = self._loaded(plan.key)
            if loaded is None or loaded.head.status in ("completed", "compensated"):
                return
            state = state_of(loaded)
            if loaded.head.status != "parked":
                await self._answer_waits(session, plan, state)
                await asyncio.sleep(2.0)
                continue
            verb, address = "unpark", ""
            if state.turned is None and not state.passed and self.chance.random() < 0.4:
                verb = "compensate"
            elif self.chance.random() < 0.4:
                verb, address = "retry", self._stuck(state)
            self.report.counts[f"operator {verb}"] += 1
            await self._ask(session.act(plan.key, verb, address, actor="bob", reason="it is mended", result=None))
            await asyncio.sleep(5.0)
        self._fail(plan, "an operator cannot bring it to its end")

    async def _answer_waits(self, session: Session, plan: Plan, state: State) -> None:
        for name in plan.saga.program.signals:
            if state.step(name).action.status is Action.WAITING and name not in state.kept:
                signal: Signal[str] = wait_for(name, str)
                await self._ask(session.signal(plan.key, signal, "yes", None))

    def _stuck(self, state: State) -> str:
        for address, step in state.steps.items():
            if step.undo is not None and step.undo.status == "stuck":
                return address
        for address, step in state.steps.items():
            if step.action.status in (Action.STUCK, Action.UNKNOWN) and step.undo is None:
                return address
        return ""

    # What must hold

    async def _watch(self) -> None:
        """Once anybody saw an end, nobody sees another; a journal only grows."""
        lengths: dict[bytes, int] = {}
        while True:
            await asyncio.sleep(1.0)
            for plan in self.plans:
                loaded = self._loaded(plan.key)
                if loaded is None:
                    continue
                status = loaded.head.status
                if plan.ended and status != plan.ended:
                    self._fail(plan, f"was seen {plan.ended}, and then {status}")
                if status in ("completed", "compensated"):
                    plan.ended = status
                if len(loaded.rows) < lengths.get(loaded.head.id, 0):
                    self._fail(plan, "its journal shrank")
                lengths[loaded.head.id] = len(loaded.rows)

    def _check_all(self, *, finally_: bool = False) -> None:
        for plan in self.plans:
            loaded = self._loaded(plan.key)
            if loaded is None:
                continue
            state = state_of(loaded)
            self._check_head(plan, loaded, state)
            self._check_ledger(plan, state)
            self._check_answers(plan, state)
            self._check_poison(plan, state)
            if finally_ and not state.ended:
                self._fail(plan, "did not end")
            if finally_:
                self._count_events(loaded)
            self.report.counts[f"{'finally ' if finally_ else ''}{state.status}"] += 1
        self._check_keys()
        retired = [worker for worker in self.database.workers.values() if worker.retired_at and worker.survived]
        self.report.counts["workers retired alive"] = len(retired)
        self.report.counts["calls"] = self.world.calls
        self.report.counts["repeated calls"] = self.world.repeated
        self.report.counts["fenced calls"] = self.world.fenced

    def _check_head(self, plan: Plan, loaded: Loaded, state: State) -> None:
        if loaded.head.status != state.status:
            self._fail(plan, f"its head says {loaded.head.status}, its journal {state.status}")
        if state.status is Status.PARKED and loaded.head.owner is not None:
            self._fail(plan, "it is parked and has an owner")

    def _check_ledger(self, plan: Plan, state: State) -> None:
        """The effects that stand are exactly those that the saga's state allows."""
        stands = self.world.of(plan.key) - set(closed_by_hand(state))
        succeeded = {
            address
            for address, step in state.steps.items()
            if step.action.status is Action.SUCCEEDED and address in self._steps(plan, state)
        }
        if state.status is Status.COMPLETED and stands != succeeded:
            self._fail(plan, f"completed, and in the ledger stand {sorted(stands ^ succeeded)} too many or too few")
        if state.status is Status.COMPENSATED and stands:
            self._fail(plan, f"compensated, and in the ledger still stand {sorted(stands)}")
        if state.status is Status.PARKED:
            outcome = outcome_of(_program(plan), state)
            listed = {entry.step for entry in outcome.unsettled} if isinstance(outcome, Parked) else set()
            allowed = listed | (succeeded if state.passed else set())
            if not stands <= allowed:
                self._fail(plan, f"parked, and {sorted(stands - allowed)} stand without being listed")

    def _steps(self, plan: Plan, state: State) -> set[str]:
        names = plan.saga.program.steps
        return {
            address
            for address in state.steps
            if address.partition("[")[0] in names and not (address in names and address in state.groups)
        }

    def _check_answers(self, plan: Plan, state: State) -> None:
        """Whoever asked was told what happened."""
        cancel = plan.told.get("cancel")
        if cancel == "accepted" and state.turned is None:
            self._fail(plan, "the cancel was accepted, and the saga did not go back")
        if cancel == "too late" and not (state.passed or state.ended):
            self._fail(plan, "the cancel was told to be too late, and it was not")

    def _check_poison(self, plan: Plan, state: State) -> None:
        """A saga that takes its workers down is parked for it; its neighbours are not."""
        if "took its worker down" in state.parked and not self.rates_could_kill and plan.key != self.was_poisoned:
            self._fail(plan, "was parked for taking down workers, and it was another one")

    def _check_keys(self) -> None:
        for (saga, address, round_), keys in self.world.keys.items():
            if len(keys) != 1:
                raise SimulationFailed(self._text(f"saga {saga}: {address}, round {round_}, had {len(keys)} keys"))

    # Parts

    def _count_events(self, loaded: Loaded) -> None:
        for row in loaded.rows:
            for event in journal.decode(row).events:
                self.report.counts[f"event {type(event).__name__}"] += 1

    def _loaded(self, key: str) -> Loaded | None:
        internal = self.database.keys.get(key)
        if internal is None:
            return None
        rows = tuple(row for _, row in self.database.journal[internal])
        return Loaded(self.database.sagas[internal], rows)

    def _fail(self, plan: Plan, what: str) -> None:
        loaded = self._loaded(plan.key)
        lines = timeline(loaded.rows) if loaded is not None else ["(never written)"]
        story = "\n".join(f"    {line}" for line in lines)
        raise SimulationFailed(self._text(f"saga {plan.key} ({plan.saga.name}): {what}\n{story}"))

    def _text(self, what: str) -> str:
        return f"{what}\nrepeat it with: python -m amends.testing.simulate --seed {self.report.seed} --trace"


def _program(plan: Plan) -> Program:
    return plan.saga.program


def simulate(seed: int) -> Report:
    """One run. Raises SimulationFailed."""
    loop = VirtualLoop(Random(seed))
    failures: list[BaseException] = []

    def on_error(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if error is not None and not isinstance(error, AmendsError):
            failures.append(error)

    loop.set_exception_handler(on_error)
    try:
        report = loop.run_until_complete(_main(seed))
    finally:
        close(loop)
    if failures:
        raise SimulationFailed(
            f"an error that nobody saw: {failures[0]!r}\n"
            f"repeat it with: python -m amends.testing.simulate --seed {seed} --trace"
        ) from failures[0]
    return report


async def _main(seed: int) -> Report:
    return await Simulation(seed).run()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m amends.testing.simulate", description="Seeded simulation.")
    parser.add_argument("--seed", type=int, help="run one seed")
    parser.add_argument("--seeds", default="0:100", help="first:last, the last not included")
    parser.add_argument("--trace", action="store_true", help="log what the engine does")
    options = parser.parse_args(arguments)
    logging.disable(logging.NOTSET if options.trace else logging.CRITICAL)
    if options.trace:
        logging.basicConfig(level=logging.DEBUG, stream=sys.stdout)
    first, last = (options.seed, options.seed + 1) if options.seed is not None else map(int, options.seeds.split(":"))
    total: Counter[str] = Counter()
    began = time.perf_counter()
    for seed in range(first, last):
        try:
            total += simulate(seed).counts
        except SimulationFailed as failure:
            sys.stdout.write(f"seed {seed} FAILED: {failure}\n")
            return 1
    seconds = time.perf_counter() - began
    for name, number in sorted(total.items()):
        sys.stdout.write(f"{name:24} {number:>10,}\n")
    sys.stdout.write(f"{last - first} seeds held, {(last - first) / seconds:.0f} seeds a second\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
