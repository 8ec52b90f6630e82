"""One run of the simulation: the real engine, many workers and sagas, a virtual clock, and
seeded faults.

Workers die before and after every call to the store and to the services, pause past their
lease and come back, lose answers and hints; services reject, fail, answer late or twice;
clients start twice, signal early, cancel at any time. Then everything heals, and what stands
in the ledger is compared with what the sagas say.

Guarantees: one seed is one run; a failure names its seed and the command that repeats it.
Must not: loosen a check to pass.
"""

from __future__ import annotations

import asyncio
import traceback
from collections import Counter
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from amends.define.registry import Registry
from amends.define.resources import Resources
from amends.define.saga import Saga
from amends.errors import AmendsError, ImpossibleTransition, StoreUnavailable
from amends.run.chance import Chance
from amends.run.session import Config, Session
from amends.run.settings import Settings
from amends.store.memory import MemoryDatabase
from amends.testing.crowd import Crowd
from amends.testing.faults import FaultyStore, Gate, Rates
from amends.testing.laws import Laws, SimulationFailed, Wanted
from amends.testing.random_sagas import Ticket, random_sagas
from amends.testing.virtual import Inline, VirtualLoop, close
from amends.testing.watched import WatchedStore
from amends.testing.world import Line, Troubles, World

SETTINGS = Settings(lease_seconds=15.0, drain_seconds=10.0, answer_seconds=30.0)
POLLS_SECONDS = (1.0, 2.0, 4.0)
STORM_SECONDS = 150.0
POISON_SECONDS = 150.0  # what it takes to be found
CALM_SECONDS = 300.0  # everything must be at rest this long after the last fault
POOL = random_sagas(seed=20261124, number=60)


@dataclass
class Report:
    """What a run did, so that a run in which nothing happened is seen."""

    seed: int
    counts: Counter[str] = field(default_factory=Counter)


class Simulation:
    """One run."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.chance: Random = Random(seed)
        self.rates: Rates = Rates(
            death=self._some(0.004, 0.012),
            pause=self._some(0.004, 0.03),
            away=self._some(0.01, 0.05),
            answer_lost=self._some(0.005, 0.03),
            hint_lost=self._some(0.1, 0.5),
            slow=self._some(0.02, 0.1),
            pause_seconds=self.chance.choice([40.0, 120.0]),
            latency_seconds=self.chance.choice([0.02, 0.2]),
        )
        self.troubles: Troubles = Troubles(
            reject=self._some(0.02, 0.2),
            error_before=self._some(0.05, 0.15),
            error_after=self._some(0.05, 0.15),
            slow=self._some(0.02, 0.05),
            held=self._some(0.01, 0.1),
            park=self._some(0.0, 0.02),
            later=self._some(0.0, 0.05),
            undo_error=self._some(0.05, 0.3),
            undo_reject=self._some(0.0, 0.05),
            latency_seconds=self.chance.choice([0.02, 0.5, 3.0]),
        )
        self.world: World = World(Random(self.chance.random()), self.troubles)
        self.loop: VirtualLoop = asyncio.get_running_loop()  # type: ignore[assignment]  # it runs on one
        self.settings: Settings = replace(SETTINGS, poll_seconds=self.chance.choice(POLLS_SECONDS))
        self.database: MemoryDatabase = MemoryDatabase(clock=self.loop.now)
        self.sagas: list[Saga[Ticket, None]] = self.chance.sample(POOL, 3)
        self.wanted: list[Wanted] = self._wanted()
        self.world.poisoned = self._poison()
        self.laws: Laws = Laws(seed, self.wanted, self.database, self.world)
        self.laws.could_die_by_chance = self.rates.death > 0.0
        self.world.called = self.laws.called
        self.stormy: bool = True

    def _some(self, low: float, high: float) -> float:
        """Half of all runs go without a given fault, so that faults are met alone too."""
        return self.chance.uniform(low, high) if self.chance.random() < 0.5 else 0.0

    def _poison(self) -> tuple[str, str]:
        """Now and then one step of one saga takes down whichever worker runs it."""
        wanted = self.chance.choice(self.wanted)
        steps = [name for name in wanted.saga.program.steps if name not in wanted.saga.program.lists]
        return (wanted.key, self.chance.choice(steps)) if steps and self.chance.random() < 0.15 else ("", "")

    def _wanted(self) -> list[Wanted]:
        return [
            Wanted(
                f"s{index}",
                self.chance.choice(self.sagas),
                Ticket(self.chance.randint(0, 4), self.chance.random() < 0.5),
            )
            for index in range(self.chance.randint(3, 8))
        ]

    # The run

    async def run(self) -> Report:
        """Storm, heal, check; then let an operator finish what is parked, and check again."""
        processes = [asyncio.create_task(self._process(index)) for index in range(self.chance.randint(1, 3))]
        watcher = asyncio.create_task(self.laws.watch())
        crowd = Crowd(self.chance, await self._client(), self.laws)
        clients = [asyncio.create_task(crowd.drive(wanted)) for wanted in self.wanted]
        await asyncio.wait([asyncio.ensure_future(self._storm(clients))])
        self._heal()
        await self._until_rest()
        self.laws.check_all()
        for wanted in self.wanted:
            await crowd.operate(wanted)
        await self._until_rest()
        self.laws.check_all(finally_=True)
        for task in [watcher, *processes, *clients]:
            if task.done():
                task.result()  # a broken law that was seen on the way
            task.cancel()
        return Report(self.seed, self.laws.counts.copy())  # what is closed after this counts for nothing

    async def _storm(self, clients: list[asyncio.Task[None]]) -> None:
        """Faults, until the clients are done or the time is up."""
        await asyncio.wait(clients, timeout=STORM_SECONDS)
        if not all(task.done() for task in clients):
            await asyncio.sleep(self.chance.uniform(0.0, 30.0))
        if self.world.poisoned[0]:
            await asyncio.sleep(POISON_SECONDS)

    def _heal(self) -> None:
        self.stormy = False
        self.world.poisoned = ("", "")
        self.rates.heal()
        self.client_rates.heal()
        self.troubles.heal()

    async def _until_rest(self) -> None:
        """Every saga ends or parks by itself, in bounded time."""
        end = self.loop.time() + CALM_SECONDS
        while not all(self.laws.at_rest(wanted) for wanted in self.wanted):
            if self.loop.time() > end:
                wanted = next(wanted for wanted in self.wanted if not self.laws.at_rest(wanted))
                self.laws.fail(wanted, f"does not come to rest within {CALM_SECONDS:g} s of the last fault")
            await asyncio.sleep(1.0)

    # Processes

    async def _process(self, index: int) -> None:
        """A worker process under a supervisor that starts it again."""
        number = 0
        while True:
            number += 1
            gate = Gate(self.chance, self.rates, f"worker {index}.{number}", self.laws.counts)
            session = Session(self._config(gate))
            opening = asyncio.create_task(session.open(work=True))
            life = asyncio.create_task(self._life(session))
            dying = asyncio.create_task(gate.death())
            await asyncio.wait([opening, dying], return_when=asyncio.FIRST_COMPLETED)
            if opening.done() and not gate.dead:
                if opening.exception() is not None:
                    life.cancel()
                    self.laws.counts["could not open"] += 1
                    await asyncio.sleep(1.0)
                    continue
                await asyncio.wait([life, dying], return_when=asyncio.FIRST_COMPLETED)
            life.cancel()
            if gate.dead and session.worker is not None and session.worker.lives:
                self.laws.counts["deaths with sagas in memory"] += 1
            await asyncio.sleep(self.chance.uniform(0.1, 20.0))

    async def _life(self, session: Session) -> None:
        """Work until it is time for a clean restart, which is rare."""
        while True:
            await asyncio.sleep(self.chance.uniform(10.0, 60.0))
            if self.stormy and self.chance.random() < 0.2:
                self.laws.counts["drains"] += 1
                await session.close()
                return

    def _config(self, gate: Gate) -> Config:
        line = Line(self.world, gate)

        def the_line() -> Line:
            return line

        resources = Resources([the_line], depth=1)
        store = FaultyStore(WatchedStore(self.database, self.laws.witness), gate)
        chance = Chance(Random(self.chance.random()))
        return Config(
            store, Registry(self.sagas, resources), resources, "sim", self.settings, chance=chance, threads=Inline()
        )

    async def _client(self) -> Session:
        """A client whose own calls are never lost for good, so that what it was told is known."""
        rates = Rates(away=self.rates.away, answer_lost=self.rates.answer_lost, hint_lost=self.rates.hint_lost)
        self.client_rates = rates
        while True:
            session = Session(self._config(Gate(self.chance, rates, "client", self.laws.counts)))
            try:
                await session.open(work=False)
            except StoreUnavailable:
                continue
            return session


def simulate(seed: int) -> Report:
    """One run. Raises SimulationFailed."""
    loop = VirtualLoop(Random(seed))
    failures: list[BaseException] = []

    def on_error(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if error is not None and (isinstance(error, ImpossibleTransition) or not isinstance(error, AmendsError)):
            failures.append(error)

    loop.set_exception_handler(on_error)
    try:
        report = loop.run_until_complete(_main(seed))
    except SimulationFailed:
        raise
    except Exception as error:
        raise _failed(seed, error) from error
    finally:
        close(loop)
    if failures:
        raise _failed(seed, failures[0]) from failures[0]
    return report


def _failed(seed: int, error: BaseException) -> SimulationFailed:
    return SimulationFailed(
        f"an error that is none of the simulated ones: {error!r}\n"
        f"{''.join(traceback.format_exception(error))}"
        f"repeat it with: python -m amends.testing.simulate --seed {seed} --trace"
    )


async def _main(seed: int) -> Report:
    return await Simulation(seed).run()
