"""The scene of tests of services: a broker of any kind, databases, an orchestrator and participants, here and in
processes of their own, and what is left of it all in the end.

Guarantees: what is started is ended; all waiting is bounded; tests that share a broker and databases share no name in
them: each has a prefix, which is its namespace, too.
Must not: judge.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
import services_shop as shop_
from chaos_check import views
from services_books import calls, entries, make_books
from services_check import Evidence, check, words
from services_shop import SERVICES, Handlers, Order, Place, orchestrator_of, participant

from amends import Orchestrator, Participant
from amends.operate.operations import Operations
from amends.testing.unreliable import MessageRates, Unreliable
from amends.transport.names import commands_of
from amends.transport.open import transport_for
from services.databases import Databases

HERE = Path(__file__).parent
BROKERS = ("kafka", "rabbitmq", "nats", "redis")
Test = TypeVar("Test", bound=Callable[..., object])
OPTIONS = {  # so that what must pass passes soon
    "local": "message_bytes=8388608",
    "kafka": "partitions=2&session_seconds=2&commit_seconds=0.1",
    "rabbitmq": "heartbeat_seconds=2",
    "nats": "claim_seconds=1",
    "redis": "claim_seconds=1",
}
PATIENCE_SECONDS = 90.0
QUIET_LOOKS = 4
STILL_LOOKS = 40  # a NATS that was killed may count messages that it gives nobody, as it knows them acked
LOOK_SECONDS = 0.1
Meanwhile = Callable[["Scene"], Awaitable[None]]


@pytest.fixture(scope="session")
def shop_databases(postgres_databases: Databases) -> Iterator[dict[str, str]]:
    """One database for the orders and one for each service, for all tests of this process."""
    made = {name: postgres_databases.create() for name in ("orders", *SERVICES)}
    for name in SERVICES:
        make_books(made[name])
    yield made
    for url in made.values():
        postgres_databases.drop(url)


@dataclass
class Shop:
    """Where one test plays."""

    kind: str
    url: str
    databases: dict[str, str]
    books: Path
    options: str = ""
    prefix: str = field(default_factory=lambda: f"t{secrets.token_hex(4)}")

    def place(self, options: str = "") -> Place:
        """What an orchestrator or a participant has to know. options: of the broker's URL, beside the usual."""
        parts = [f"prefix={self.prefix}", OPTIONS[self.kind], self.options, options]
        told = "&".join(part for part in parts if part)
        return Place(f"{self.url}?{told}", self.databases, self.books, self.prefix)


@pytest.fixture
def shop(request: pytest.FixtureRequest, shop_databases: dict[str, str], tmp_path: Path) -> Shop:
    """A place on the broker of the kind that the test is parametrised with; of one of its own, where it harms it."""
    kind: str = request.param
    url = "local://" if kind == "local" else request.getfixturevalue(f"{kind}_url")
    return Shop(kind, url, shop_databases, tmp_path)


def on_brokers(test: Test) -> Test:
    """Over two brokers, which are the other two for about every second test; with AMENDS_SERVICES=all, as `make soak`
    has it, over each."""
    over: Test = pytest.mark.parametrize("shop", _some(test), indirect=True)(test)
    return over


def on_transports(test: Test) -> Test:
    """The same, and without a broker."""
    over: Test = pytest.mark.parametrize("shop", ["local", *_some(test)], indirect=True)(test)
    return over


def _some(test: Test) -> Sequence[str]:
    if os.environ.get("AMENDS_SERVICES") == "all":
        return BROKERS
    return BROKERS[sum(test.__name__.encode()) % 2 :: 2]


@dataclass
class Child:
    """A process of ours: `amends worker` with objects of `services_shop`."""

    shop: Shop
    targets: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    lives: int = 0

    def start(self, **environment: str) -> None:
        """Start it."""
        place = self.shop.place()
        told = {**asdict_place(place)}
        given = {name: value for name, value in os.environ.items() if name not in ("AMENDS_FAULT", "SHOP_RATES")}
        given |= {"SHOP_PLACE": json.dumps(told), **self.environment, **environment}
        given["PYTHONPATH"] = os.pathsep.join([str(HERE), str(HERE.parent / "run"), os.environ.get("PYTHONPATH", "")])
        self.lives += 1
        with (self.shop.books / f"stderr-{'-'.join(self.targets)}.txt").open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "amends", "worker", *(f"services_shop:{target}" for target in self.targets),
                 "--log-level=warning", f"--ready-file={self.ready}"],
                env=given, cwd=self.shop.books, stdout=subprocess.DEVNULL, stderr=errors,
            )  # fmt: skip

    @property
    def ready(self) -> Path:
        """A file that is there once it works."""
        return self.shop.books / f"ready-{'-'.join(self.targets)}"

    @property
    def pid(self) -> int:
        """Of the life it has, or had last."""
        return 0 if self.process is None else self.process.pid

    @property
    def alive(self) -> bool:
        """Whether it is there, stopped or not."""
        return self.process is not None and self.process.poll() is None

    def send(self, what: signal.Signals) -> None:
        """A signal."""
        if self.process is not None and self.alive:
            self.process.send_signal(what)

    def end(self) -> int | None:
        """End it, however it is; the code with which it ended by itself."""
        if self.process is None:
            return None
        code = self.process.poll()
        self.send(signal.SIGCONT)
        self.process.kill()
        self.process.wait()
        return code


def asdict_place(place: Place) -> dict[str, Any]:
    """A place as JSON."""
    return {**place._asdict(), "books": str(place.books), "databases": dict(place.databases)}


class Scene:
    """An orchestrator and participants at work."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.handlers: Handlers = Handlers(shop.place())
        self.networks: list[Unreliable] = []
        self.apps: dict[str, Participant] = {}
        self.children: list[Child] = []
        self.told: list[dict[str, Any]] = []
        self.running: list[asyncio.Task[None]] = []
        self.orchestrator: Orchestrator

    def network(self, seed: int, rates: MessageRates | None) -> Unreliable:
        """One process's way to the broker."""
        made = Unreliable(self.shop.place().broker, seed=seed, rates=rates)
        self.networks.append(made)
        return made

    @property
    def counts(self) -> Counter[str]:
        """What befell messages, and what came of it, in this process."""
        total: Counter[str] = Counter()
        for network in self.networks:
            total.update(network.counts)
        for app in self.apps.values():
            total.update(asdict(app.figures))
        worker = self.orchestrator.session.worker
        assert worker is not None
        total.update({f"replies {name}": value for name, value in worker._remote.counts._asdict().items()})
        return total

    async def run(self, saga: Any, order: Order, name: str) -> None:
        """Start a saga and see its end."""
        saga_id = f"{self.shop.prefix}-{name}"
        self.told.append({"what": "asked", "id": saga_id})
        handle = await self.orchestrator.start(saga, order, id=saga_id)
        self.told.append({"what": "started", "id": saga_id, "cents": order.cents})
        outcome = await handle.outcome()
        self.told.append({"what": "outcome", "id": saga_id, "status": type(outcome).__name__.lower()})

    def begin(self, orders: Sequence[tuple[Any, Order]], name: str = "") -> None:
        """Start sagas, which go on meanwhile."""
        for number, (saga, order) in enumerate(orders):
            job = self.run(saga, order, f"{name}{number}-{order.mood.replace(' ', '_')}")
            self.running.append(asyncio.create_task(job))

    async def all_ended(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait for the end of all that was begun; one that does not end will be found by the checker."""
        if self.running:
            done, _ = await asyncio.wait(self.running, timeout=seconds)
            for task in done:
                task.result()

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for a condition, in bounded time."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not condition():
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"it did not come to pass that {what}; {dict(self.counts)}") from None

    async def child(self, *targets: str, **environment: str) -> Child:
        """A process more, at work."""
        made = Child(self.shop, targets)
        self.children.append(made)
        made.start(**environment)
        await self.until(lambda: made.ready.exists() or not made.alive, f"{targets} is at work")
        return made

    async def quiet(self) -> None:
        """Wait until nothing is under way to the services any more."""
        for network in self.networks:
            network.heal()
        asker = transport_for(self.shop.place().broker)
        await asker.open()
        looks, still = 0, 0
        before: list[int | None] = []
        try:
            async with asyncio.timeout(30.0):
                while looks < QUIET_LOOKS and still < STILL_LOOKS:
                    lags = [await asker.lag(commands_of(name), name) for name in SERVICES]
                    busy = any(app.session.work.tasks for app in self.apps.values())
                    busy = busy or any(network._sender.waiting or network.held for network in self.networks)
                    looks = 0 if busy or any(lags) else looks + 1
                    still = 0 if busy or lags != before else still + 1
                    before = lags
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError:
            raise AssertionError(f"messages are still under way: {lags}, {dict(self.counts)}") from None
        finally:
            await asker.close()

    async def found(self, *, may_park: tuple[str, ...] = ()) -> Found:
        """Quiet, and then what there is."""
        await self.quiet()
        sagas = await views(Operations(self.orchestrator.session))
        place, prefix = self.shop.place(), self.shop.prefix
        ledgers = {name: entries(place.databases[name], prefix) for name in SERVICES}
        names = tuple(f"{prefix}-{name}" for name in may_park)
        evidence = Evidence(sagas, ledgers, calls(place.books, prefix), self.told, names)
        counts = self.counts
        for path in place.books.glob("counts-*.json"):
            counts.update(json.loads(path.read_text()))
        return Found(evidence, counts, [*check(evidence), *words(place.books)])


@dataclass
class Found:
    """What there is in the end."""

    evidence: Evidence
    counts: Counter[str]
    troubles: list[str]

    @property
    def statuses(self) -> Counter[str]:
        """How sagas ended."""
        return Counter(view.line.status for view in self.evidence.sagas.values())

    def status(self, name: str) -> str:
        """How the one whose id ends so did."""
        [view] = [view for id_, view in self.evidence.sagas.items() if id_.endswith(f"-{name}")]
        return view.line.status

    def reason(self, name: str) -> str:
        """What the operator is told of it."""
        [view] = [view for id_, view in self.evidence.sagas.items() if id_.endswith(f"-{name}")]
        return " ".join([view.line.reason, *(entry.reason for entry in view.unsettled)])

    @property
    def effects(self) -> int:
        """Lines of all ledgers."""
        return sum(len(ledger) for ledger in self.evidence.ledgers.values())


@asynccontextmanager
async def at_work(
    shop: Shop,
    *,
    here: Sequence[str] = SERVICES,
    sends: MessageRates | None = None,
    answers: MessageRates | None = None,
    seed: int = 1,
) -> AsyncIterator[Scene]:
    """An orchestrator and the participants of these services in this process. sends, answers: what befalls the
    messages of the orchestrator, and those of the services."""
    scene = Scene(shop)
    async with AsyncExitStack() as stack:
        for number, name in enumerate(here):
            service = getattr(shop_, name)
            app = participant(service, shop.place(), scene.network(seed + 1 + number, answers), scene.handlers)
            scene.apps[name] = await stack.enter_async_context(app)
        scene.orchestrator = orchestrator_of(shop.place(), scene.network(seed, sends))
        await stack.enter_async_context(scene.orchestrator)
        try:
            for app in scene.apps.values():
                await asyncio.wait_for(app.session.listening(), PATIENCE_SECONDS)
            yield scene
        finally:
            for child in scene.children:
                child.end()
            for task in scene.running:
                task.cancel()
            await asyncio.gather(*scene.running, return_exceptions=True)


def orders(many: int, *moods: str, sagas: Sequence[Any] = ()) -> list[tuple[Any, Order]]:
    """Many orders of these moods in turn, for these sagas in turn."""
    wanted, found = moods or ("good", "declined", "good", "returned"), sagas or (shop_.buy, shop_.pair)
    return [(found[n // len(wanted) % len(found)], Order(1 + 7 * n, wanted[n % len(wanted)])) for n in range(many)]


def play(
    shop: Shop,
    wanted: Sequence[tuple[Any, Order]],
    *,
    sends: MessageRates | None = None,
    answers: MessageRates | None = None,
    may_park: tuple[str, ...] = (),
    meanwhile: Meanwhile | None = None,
) -> Found:
    """All participants here; the sagas run to their ends."""

    async def main() -> Found:
        async with at_work(shop, sends=sends, answers=answers) as scene:
            scene.begin(wanted)
            if meanwhile is not None:
                await meanwhile(scene)
            await scene.all_ended()
            return await scene.found(may_park=may_park)

    return asyncio.run(main())
