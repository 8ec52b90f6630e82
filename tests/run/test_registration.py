"""What a worker holds: no attempt after the lease, nothing once it is retired, each mail told once, nothing kept."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

from engine import Order, database, engine, until, virtually
from test_ownership import LEASE, Gated, abandoned, retire_all

from amends import Completed, Context, Orchestrator, Saga, sleep, step
from amends import wait_for as wait_node
from amends.errors import StoreUnavailable
from amends.run.session import Session
from amends.run.worker import Worker
from amends.store.base import Fate, Loaded, WorkerInfo, Write
from amends.store.memory import MemoryDatabase, MemoryStore


@dataclass(frozen=True)
class Word:
    """A signal's value."""

    text: str


class Faulty(MemoryStore):
    """A store that renews no lease while `away`, commits nothing until `go`, and says so once it `answers`."""

    def __init__(self, on: MemoryDatabase) -> None:
        super().__init__(on)
        self.away = False
        self.go = asyncio.Event()
        self.go.set()
        self.answers = asyncio.Event()
        self.answers.set()

    async def renew(self, worker: int, info: WorkerInfo) -> bool:
        if self.away:
            raise StoreUnavailable("the server does not answer")
        return await super().renew(worker, info)

    async def commit(self, worker: int | None, writes: Sequence[Write]) -> list[Fate]:
        await self.go.wait()
        fates = await super().commit(worker, writes)
        await self.answers.wait()
        return fates


@step(readonly=True)
async def idle(order: Order) -> None:
    pass


def working(store: MemoryStore, *sagas: Saga[Order, Any]) -> Orchestrator:
    """An orchestrator on a store of a test's own."""
    built = engine(*sagas, on=store._db, settings=LEASE)
    built.config = replace(built.config, database=store)
    return built


def test_no_attempt_starts_after_the_lease_by_the_workers_own_clock() -> None:
    async def main() -> tuple[list[str], Any]:
        ran: list[str] = []

        @step(readonly=True)
        async def quick(ctx: Context) -> None:
            ran.append(ctx.saga_id)

        saga: Saga[Order, None] = Saga("quick", quick, input=Order)
        store = Faulty(database())
        async with working(store, saga) as orchestrator:
            store.away = True
            await asyncio.sleep(20)
            handle = await orchestrator.start(saga, Order(), id="one")
            await asyncio.sleep(20)
            early = list(ran)
            store.away = False
            return early, await handle.outcome(timeout=60)

    assert virtually(main()) == ([], Completed(None))


def test_a_worker_that_finds_itself_retired_asks_what_it_runs_to_stop() -> None:
    async def main() -> tuple[int, int]:
        on, gated = database(), Gated()
        async with engine(gated.saga, on=on, settings=LEASE) as orchestrator:
            await orchestrator.start(gated.saga, Order(), id="one")
            await until(lambda: bool(gated.ran))
            worker = orchestrator.session.worker
            assert worker is not None
            (live,) = worker.lives.values()
            (attempt,) = live.running.values()
            retire_all(on)
            await until(lambda: attempt.cancelled, 60)
            kept = len(worker.lives)
            gated.go.set()
            assert await orchestrator.handle(gated.saga, "one").outcome(timeout=120) == Completed(None)
            return kept, len(gated.ran)

    assert virtually(main()) == (0, 2)


def test_a_mail_is_told_once_however_often_it_is_seen_before_its_answer_is_on_disk() -> None:
    async def main() -> tuple[Any, str]:
        word = wait_node("word", Word)
        saga: Saga[Order, Word] = Saga("patient", word, sleep(100), input=Order, output=word)
        store = Faulty(database())
        async with working(store, saga) as orchestrator:
            handle = await orchestrator.start(saga, Order(), id="one")
            store.go.clear()
            asking = asyncio.create_task(orchestrator.signal("one", word, Word("yes")))
            for _ in range(5):
                await asyncio.sleep(1)
                worker = orchestrator.session.worker
                assert worker is not None
                worker.ownership.wake()
            store.go.set()
            await asking
            outcome = await handle.outcome(timeout=600)
        history = b"".join(row for _, row in store._db.journal[store._db.keys["one"]])
        return outcome, history.decode()

    outcome, history = virtually(main())
    assert outcome == Completed(Word("yes"))
    assert "refused" not in history


def test_a_saga_that_is_taken_up_and_has_nothing_to_do_is_let_go_until_its_time() -> None:
    async def main() -> Any:
        on = database()
        nap: Saga[Order, None] = Saga("nap", sleep(timedelta(hours=1)), input=Order)
        async with engine(nap, on=on) as orchestrator:
            handle = await orchestrator.start(nap, Order(), id="one")
            await asyncio.sleep(10)
            one = on.keys["one"]
            on.put(on.sagas[one]._replace(wake_at=on.clock()))
            await until(lambda: on.sagas[one].epoch > 1)
            await asyncio.sleep(10)
            assert on.sagas[one].owner is None
            return await handle.outcome(timeout=2 * 3600)

    assert virtually(main()) == Completed(None)


def test_a_saga_claimed_again_before_it_is_known_to_be_let_go_is_not_forgotten() -> None:
    async def main() -> Any:
        nap: Saga[Order, None] = Saga("nap", sleep(10), input=Order)
        store = Faulty(database())
        async with working(store, nap) as orchestrator:
            store.answers.clear()
            starting = asyncio.create_task(orchestrator.start(nap, Order(), id="one"))
            await until(lambda: any(saga.epoch > 1 for saga in store._db.sagas.values()))
            store.answers.set()
            return await (await starting).outcome(timeout=600)

    assert virtually(main()) == Completed(None)


def test_a_saga_claimed_again_behind_its_letting_go_is_not_forgotten_where_both_answers_are_late_or_lost() -> None:
    class Unheard(Faulty):
        """A store that claims, once, and does not say so."""

        def __init__(self, on: MemoryDatabase) -> None:
            super().__init__(on)
            self.looks = list[bool]()  # whether the saga was one of those that are not asked for

        async def claim(self, worker: int, plans: Collection[int], limit: int) -> list[Loaded]:
            claimed = await super().claim(worker, plans, limit)
            if claimed and not self.looks:
                raise StoreUnavailable("the answer is lost")
            return claimed

        async def owned(self, worker: int, held: Collection[bytes]) -> list[Loaded]:
            self.looks.append(self._db.keys["one"] in held)
            return await super().owned(worker, held)

    async def main() -> Any:
        nap: Saga[Order, None] = Saga("nap", sleep(10), input=Order)
        store = Unheard(database())
        async with working(store, nap) as orchestrator:
            store.answers.clear()
            starting = asyncio.create_task(orchestrator.start(nap, Order(), id="one"))
            await until(lambda: bool(store.looks))
            store.answers.set()
            return await (await starting).outcome(timeout=600), store.looks[0]

    outcome, held = virtually(main())
    assert outcome == Completed(None)
    assert held  # what is read while a commit is under way may be old when it comes


def test_whoever_lets_go_of_a_saga_decides_nothing_about_it_any_more_and_another_may_do_so_behind_it() -> None:
    calls: list[tuple[str, int]] = []

    class Behind(MemoryStore):
        """A store that reads what it has claimed once nobody else writes to it, in a statement of its own."""

        others: Worker | None = None

        async def claim(self, worker: int, plans: Collection[int], limit: int) -> list[Loaded]:
            claimed = await super().claim(worker, plans, limit)
            if (others := self.others) is None or not claimed:
                return []
            await until(lambda: not any(one.unwritten for one in others.lives.values()))
            return [self._loaded(self._db.sagas[loaded.head.id]) for loaded in claimed]

    class First(Faulty):
        """A store that leaves all claims to others."""

        async def claim(self, worker: int, plans: Collection[int], limit: int) -> list[Loaded]:
            return []

    async def main() -> Any:
        on = database()
        first, second = First(on), Behind(on)
        word = wait_node("word", Word)

        @step(readonly=True)
        async def book() -> None:
            first.go.clear()

        @step(readonly=True)
        async def ride(ctx: Context) -> None:
            calls.append((ctx.saga_id, ctx.epoch))
            await asyncio.sleep(5)

        saga: Saga[Order, Word] = Saga("trip", book, word, ride, input=Order, output=word)
        async with working(first, saga) as one, working(second, saga) as two:
            handle = await one.start(saga, Order(), id="one")
            await until(lambda: not first.go.is_set())
            asking = asyncio.create_task(two.signal("one", word, Word("yes")))
            await asyncio.sleep(20)  # the mail was seen by now; what lets go of the saga is not written yet
            first.answers.clear()
            first.go.set()
            second.others = one.session.worker
            await until(lambda: any(row.owner is None or row.epoch > 1 for row in on.open.values()))
            assert two.session.worker is not None
            two.session.worker.ownership.wake()
            await until(lambda: any(row.epoch > 1 for row in on.open.values()))
            first.answers.set()
            await asking
            return await handle.outcome(timeout=600)

    assert virtually(main()) == Completed(Word("yes"))
    assert calls == [("one", 2)]


def test_what_is_said_to_be_ones_own_is_old_where_a_saga_has_come_and_gone_before_the_answer_came() -> None:
    class Late(Faulty):
        """A store that loses the answer to a claim, and is asked what is this worker's while a saga comes and goes."""

        asked, late = False, False

        async def claim(self, worker: int, plans: Collection[int], limit: int) -> list[Loaded]:
            if not self.asked:
                raise StoreUnavailable("the answer is lost")
            return await super().claim(worker, plans, limit)

        async def owned(self, worker: int, held: Collection[bytes]) -> list[Loaded]:
            self.asked, held = True, set(held)
            await until(lambda: bool(gated.ran))
            found = await super().owned(worker, held)
            gated.go.set()
            await until(lambda: not self._db.open)
            self.late = bool(found)
            return found

    gated = Gated()

    async def main() -> tuple[Any, bool]:
        store = Late(database())
        async with working(store, gated.saga) as orchestrator:
            await until(lambda: store.asked)
            outcome = await orchestrator.run(gated.saga, Order(), id="one")
            await asyncio.sleep(60)
        return outcome, store.late

    assert virtually(main()) == (Completed(None), True)
    assert len(gated.ran) == 1


def test_an_attempt_of_another_behind_a_letting_go_counts_as_lost_when_the_saga_comes_back() -> None:
    class Busy(Faulty):
        """A store that leaves claims to others while its answers are late."""

        async def claim(self, worker: int, plans: Collection[int], limit: int) -> list[Loaded]:
            return await super().claim(worker, plans, limit) if self.answers.is_set() else []

    async def main() -> tuple[Any, list[tuple[int, int]]]:
        on, gated = database(), Gated()
        store = Busy(on)
        async with working(store, gated.nap) as orchestrator:
            store.answers.clear()
            starting = asyncio.create_task(orchestrator.start(gated.nap, Order(), id="one"))
            async with abandoned(engine(gated.nap, on=on, settings=LEASE)):
                await until(lambda: bool(gated.ran))
            gone = [row.id for row in on.workers.values() if row.retired_at is None][-1]
            await until(lambda: on.workers[gone].retired_at is not None and not owned_by(on, gone), 120)
            gated.go.set()
            store.answers.set()
            outcome = await (await starting).outcome(timeout=600)
        return outcome, [(attempt, epoch) for _, attempt, epoch in gated.ran]

    assert virtually(main()) == (Completed(None), [(1, 2), (2, 3)])


def owned_by(on: MemoryDatabase, worker: int) -> bool:
    """Whether a worker owns any saga."""
    return any(saga.owner == worker for saga in on.sagas.values())


def test_a_worker_that_is_asked_to_go_before_it_has_come_leaves_nothing_of_another() -> None:
    class Slow(Faulty):
        """A store whose registration is never answered, and that is told who lets go of what."""

        def __init__(self, on: MemoryDatabase) -> None:
            super().__init__(on)
            self.left: list[int] = []

        async def register(self, info: WorkerInfo) -> int:
            await asyncio.Event().wait()
            return await super().register(info)

        async def release(self, worker: int, sagas: Sequence[tuple[bytes, float | None]]) -> None:
            self.left.append(worker)
            await super().release(worker, sagas)

    async def main() -> list[int]:
        store = Slow(database())
        session = Session(working(store, Saga("nothing", idle, input=Order)).config)
        opening = asyncio.create_task(session.open(work=True))
        await asyncio.sleep(1.0)
        await session.close()
        opening.cancel()
        await asyncio.wait([opening])
        return store.left

    assert virtually(main()) == []


def test_a_registration_counts_from_when_it_was_asked_for() -> None:
    class Slow(Faulty):
        """A store that answers a registration long after it was made."""

        async def register(self, info: WorkerInfo) -> int:
            number = await super().register(info)
            await asyncio.sleep(10.0)
            return number

    async def main() -> bool:
        store = Slow(database())
        store.away = True
        async with working(store, Saga("nothing", idle, input=Order)) as orchestrator:
            worker = orchestrator.session.worker
            assert worker is not None
            await asyncio.sleep(6.0)
            return worker.ownership.lease.holds()

    assert not virtually(main()), "others have seen it expire a second ago"


def test_a_worker_that_is_retired_before_its_first_look_begins_anew_and_works() -> None:
    class Slow(Faulty):
        """A store whose first registration is retired by somebody else before its answer comes."""

        async def register(self, info: WorkerInfo) -> int:
            number = await super().register(info)
            if number == 1:
                await asyncio.sleep(11.0)
                retire_all(self._db)
            return number

    async def main() -> tuple[object, int]:
        saga: Saga[Order, None] = Saga("nothing", idle, input=Order)
        async with working(Slow(database()), saga) as orchestrator:
            worker = orchestrator.session.worker
            assert worker is not None
            async with asyncio.timeout(60):
                return await orchestrator.run(saga, Order()), worker.worker

    assert virtually(main()) == (Completed(None), 2)


def test_a_worker_that_claims_without_end_keeps_its_lease() -> None:
    class Busy(Faulty):
        """A store that takes a second for each claim, and notes each renewal."""

        def __init__(self, on: MemoryDatabase) -> None:
            super().__init__(on)
            self.renewed: list[float] = []

        async def claim(self, worker: int, plans: Any, limit: int) -> Any:
            await asyncio.sleep(1.0)
            return await super().claim(worker, plans, limit)

        async def renew(self, worker: int, info: WorkerInfo) -> bool:
            self.renewed.append(asyncio.get_running_loop().time())
            return await super().renew(worker, info)

    async def main() -> tuple[list[float], float]:
        store = Busy(database())
        saga: Saga[Order, None] = Saga("nothing", idle, input=Order)
        async with working(store, saga).client() as client:
            for _ in range(4000):
                await client.start(saga, Order())
        store = Busy(store._db)
        began = asyncio.get_running_loop().time()
        async with working(store, saga):
            await until(lambda: all(row.status == "completed" for row in store._db.sagas.values()), 200)
            ended = asyncio.get_running_loop().time()
        times = [began, *store.renewed, ended]
        return [later - earlier for earlier, later in pairwise(times)], ended - began

    gaps, took = virtually(main())
    assert took > 30
    assert max(gaps) <= 10


def test_a_worker_that_is_found_retired_while_it_goes_drops_what_it_was_to_write() -> None:
    class Held(Faulty):
        """A store in which letting go takes until `go`, and then fails."""

        def __init__(self, on: MemoryDatabase) -> None:
            super().__init__(on)
            self.asked = 0

        async def release(self, worker: int, sagas: Sequence[tuple[bytes, float | None]]) -> None:
            self.asked += 1
            await self.go.wait()
            raise StoreUnavailable("a lock of somebody's")

    async def main() -> tuple[int, int]:
        store = Held(database())
        orchestrator = working(store, Saga("nothing", idle, input=Order))
        await orchestrator._enter(work=True)
        worker = orchestrator.session.worker
        assert worker is not None
        store.go.clear()
        for number in range(3):
            worker.ownership.release(bytes([number]), None)
        leaving = asyncio.create_task(orchestrator._leave())
        await until(lambda: store.asked > 0)
        await asyncio.sleep(1.0)
        worker.retired()
        store.go.set()
        await leaving
        return store.asked, len(worker.ownership._todo)

    asked, left = virtually(main())
    assert asked <= 3, "the one on its way, perhaps asked twice, and the last of all that it holds"
    assert left == 0
