"""Starting: ids, what is refused at the door, where an orchestrator runs, and how it ends."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from engine import database, engine, virtually

from amends import Completed, Context, Orchestrator, Reject, Saga, Settings, pivot, sleep, step, wait_for
from amends.errors import (
    IdConflict,
    LimitExceeded,
    NotEnlisted,
    NotRunning,
    StoreDamaged,
    StoreUnavailable,
    UnknownSaga,
    ValueRefused,
    WorkerRunning,
)
from amends.store.base import Fate, Filter
from amends.store.memory import MemoryDatabase, MemoryStore


@dataclass(frozen=True)
class Note:
    """Any text."""

    text: str
    number: float = 0.0


ran: list[str] = []


@step
async def write(note: Note, ctx: Context) -> None:
    ran.append(ctx.key)


@write.compensation
async def unwrite() -> None: ...


@step
async def ok() -> None: ...


go = wait_for("go", Note)
notes = Saga("notes", write, pivot(ok), input=Note)
others = Saga("others", write, pivot(ok), input=Note)
held = Saga("held", write, go, input=Note)
late = Saga("late", sleep(10), write, input=Note)


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    ran.clear()


# Ids


def test_the_same_id_with_equal_saga_and_input_is_the_same_saga() -> None:
    async def main() -> Any:
        async with engine(notes) as orchestrator:
            handles = await asyncio.gather(*(orchestrator.start(notes, Note("a"), id="one") for _ in range(20)))
            outcomes = [await handle.outcome() for handle in handles]
            again = await orchestrator.run(notes, Note("a"), id="one")
            return {*map(str, outcomes), str(again)}, len(ran)

    assert virtually(main()) == ({str(Completed(None))}, 1)


@pytest.mark.parametrize("ended", [False, True])
def test_the_same_id_with_another_saga_or_input_is_an_error_also_after_the_end(ended: bool) -> None:
    async def main() -> None:
        async with engine(notes, others, held) as orchestrator:
            first = notes if ended else held
            handle = await orchestrator.start(first, Note("a"), id="one")
            if ended:
                await handle.outcome()
            with pytest.raises(IdConflict, match=f"another input of {first.name}"):
                await orchestrator.start(first, Note("b"), id="one")
            with pytest.raises(IdConflict, match=f"belongs to the saga {first.name}"):
                await orchestrator.start(others, Note("a"), id="one")

    virtually(main())
    assert len(ran) == 1


def test_after_pruning_the_id_is_free_and_a_start_is_a_new_saga_with_new_keys() -> None:
    async def main() -> None:
        async with engine(notes) as orchestrator:
            await orchestrator.run(notes, Note("a"), id="one")
            await asyncio.sleep(10)
            store = orchestrator.session.store
            await store.prune(store.now(), (await store.ended(store.now(), None, 100)).sagas)
            with pytest.raises(UnknownSaga):
                await orchestrator.handle(notes, "one").outcome()
            await orchestrator.run(notes, Note("other"), id="one")

    virtually(main())
    assert len(set(ran)) == 2


def test_a_start_whose_namesake_is_pruned_meanwhile_is_made_and_not_only_acknowledged() -> None:
    class Forgetful(MemoryStore):
        """The saga with the wanted id is gone between the refusal and the look."""

        refusals = 1

        async def commit(self, worker: int | None, writes: Any) -> list[Fate]:
            if self.refusals and any(write.new for write in writes):
                self.refusals -= 1
                return [Fate.EXISTS for _ in writes]
            return await super().commit(worker, writes)

    async def main() -> Any:
        orchestrator = Orchestrator(Forgetful(database()), sagas=[notes])
        async with orchestrator:
            await orchestrator.start(notes, Note("a"), id="one")
            return await orchestrator.handle(notes, "one").outcome()

    assert virtually(main()) == Completed(None)


@pytest.mark.parametrize(
    ("key", "error"),
    [
        ("", ValueRefused),
        ("a\nb", ValueRefused),
        ("a\x00", ValueRefused),
        ("\ud800", ValueRefused),
        (7, ValueRefused),
        (".", ValueRefused),
        ("..", ValueRefused),
        ("x" * 201, LimitExceeded),
    ],
    ids=["empty", "newline", "NUL", "surrogate", "number", "dot", "dots", "long"],
)
def test_an_id_is_a_printable_text_of_bounded_length(key: Any, error: type[Exception]) -> None:
    async def main() -> None:
        async with engine(notes) as orchestrator:
            with pytest.raises(error, match="id"):
                await orchestrator.start(notes, Note("a"), id=key)
            assert await orchestrator.run(notes, Note("a"), id="x" * 200) == Completed(None)

    virtually(main())


# Input


@pytest.mark.parametrize(
    ("value", "error", "word"),
    [
        (Note("a\x00b"), ValueRefused, r"the input of notes.*text"),
        (Note("\ud800"), ValueRefused, r"the input of notes.*text"),
        (Note("a", float("nan")), ValueRefused, r"the input of notes.*number"),
        (Note("a", float("inf")), ValueRefused, r"the input of notes.*number"),
        (Note("x" * 10_000_000), LimitExceeded, "the input of notes.*1,048,576"),
        ("text", ValueRefused, "the input of notes.*Note"),
        (None, ValueRefused, "the input of notes.*Note"),
        (Note(7), ValueRefused, "the input of notes"),  # type: ignore[arg-type]  # that is the point
    ],
    ids=["NUL", "surrogate", "NaN", "infinity", "10 MB", "text", "None", "wrong field"],
)
def test_an_input_that_cannot_be_stored_is_refused_at_the_door(value: Any, error: type[Exception], word: str) -> None:
    async def main() -> None:
        async with engine(notes) as orchestrator:
            with pytest.raises(error, match=word):
                await orchestrator.start(notes, value, id="one")
            assert await orchestrator.session.store.find(Filter()) == [], "nothing was started"
            assert await orchestrator.run(notes, Note("good"), id="one") == Completed(None)

    virtually(main())


def test_a_saga_that_the_orchestrator_was_not_given_is_refused() -> None:
    async def main() -> None:
        async with engine(notes) as orchestrator:
            with pytest.raises(UnknownSaga, match=r"not among this orchestrator's sagas \(notes\)"):
                await orchestrator.start(others, Note("a"))

    virtually(main())


# Where it runs


def test_nothing_can_be_asked_before_it_is_entered_or_after_it_was_left() -> None:
    async def main() -> None:
        orchestrator = engine(notes)
        with pytest.raises(NotRunning, match=r"async with orchestrator\.client\(\)"):
            await orchestrator.start(notes, Note("a"))
        async with orchestrator:
            handle = await orchestrator.start(notes, Note("a"))
            await handle.outcome()
        for ask in (
            orchestrator.run(notes, Note("a")),
            orchestrator.signal("x", go, Note("a")),
            orchestrator.cancel("x", reason="y"),
            handle.outcome(),
        ):
            with pytest.raises(NotRunning):
                await ask

    virtually(main())


def test_entering_twice_is_refused_also_at_the_same_time() -> None:
    async def main() -> list[Any]:
        orchestrator = engine(notes)

        async def enter() -> str:
            async with orchestrator.client():
                await asyncio.sleep(1)
            return "was in"

        first = await asyncio.gather(enter(), enter(), return_exceptions=True)
        return [*first, await enter()]

    one, two, three = virtually(main())
    assert [one, three] == ["was in", "was in"]
    assert isinstance(two, NotRunning)


def test_two_orchestrators_on_different_files_work_in_one_process(tmp_path: Path) -> None:
    async def main() -> list[Any]:
        first = Orchestrator(f"sqlite:///{tmp_path}/a.db", sagas=[notes])
        second = Orchestrator(f"sqlite:///{tmp_path}/b.db", sagas=[notes])
        async with first, second:
            outcomes = [await each.run(notes, Note("a"), id="one") for each in (first, second)]
            return [*outcomes, len(set(ran))]

    assert asyncio.run(main()) == [Completed(None), Completed(None), 2]


def test_namespaces_of_one_file_see_nothing_of_each_other(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"

    async def one(namespace: str, text: str) -> str:
        async with Orchestrator(url, sagas=[notes], namespace=namespace) as orchestrator:
            with pytest.raises(UnknownSaga):
                await orchestrator.handle(notes, "one").outcome(timeout=5)
            await orchestrator.run(notes, Note(text), id="one")
            (head,) = await orchestrator.session.store.find(Filter())
            return head.key

    assert asyncio.run(one("red", "a")) == "one"
    assert asyncio.run(one("blue", "b")) == "one"
    assert len(set(ran)) == 2, "the namespace is part of every key"


def test_a_second_worker_on_one_file_is_refused_in_the_same_process_too(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"

    async def main() -> None:
        async with Orchestrator(url, sagas=[notes]):
            with pytest.raises(WorkerRunning, match="one worker and any number of clients"):
                async with Orchestrator(url, sagas=[notes]):
                    pass
            async with Orchestrator(url, sagas=[notes]).client() as client:
                assert await client.run(notes, Note("a")) == Completed(None)
        async with Orchestrator(url, sagas=[notes]):
            pass

    asyncio.run(main())


def test_a_start_within_what_is_no_transaction_of_this_file_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with Orchestrator(f"sqlite:///{tmp_path}/a.db", sagas=[notes]) as orchestrator:
            mine = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
            foreign = sqlite3.connect(tmp_path / "b.db", isolation_level=None)
            foreign.execute("BEGIN")
            for within, word in ((mine, "no transaction"), (foreign, "the connection is on"), ("x", "expected")):
                with pytest.raises(NotEnlisted, match=word):
                    await orchestrator.start(notes, Note("a"), within=within)
            mine.close()
            foreign.close()

    asyncio.run(main())


# How it ends


def test_whoever_waits_when_the_orchestrator_is_left_is_told() -> None:
    async def main() -> Any:
        orchestrator = engine(held)
        async with orchestrator:
            handle = await orchestrator.start(held, Note("a"), id="one")
            waiting = [asyncio.create_task(handle.outcome()) for _ in range(3)]
            await asyncio.sleep(10)
        return await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 30)

    assert [type(error) for error in virtually(main())] == [NotRunning] * 3


@pytest.mark.parametrize("error", [StoreDamaged("simulated: the file is damaged"), TypeError("simulated: a bug")])
def test_a_store_that_cannot_be_worked_with_ends_the_worker_and_whoever_waits_is_told(error: Exception) -> None:
    class Damaged(MemoryStore):
        broken = False
        loads = 0

        async def commit(self, worker: int | None, writes: Any) -> list[Fate]:
            if self.broken:
                raise error
            return await super().commit(worker, writes)

        async def load(self, key: str) -> Any:
            self.loads += 1
            assert self.loads < 100, "it reads again and again"
            return await super().load(key)

    async def main() -> Any:
        store = Damaged(database())
        async with Orchestrator(store, sagas=[held, late]) as orchestrator:
            handles = [await orchestrator.start(held, Note("a"), id="one"), await orchestrator.start(late, Note("a"))]
            waiting = [asyncio.create_task(handle.outcome()) for handle in handles]
            await asyncio.sleep(1)
            store.broken = True
            starts = [asyncio.create_task(orchestrator.start(held, Note("a"), id=f"n{n}")) for n in range(3)]
            found = await asyncio.wait_for(asyncio.gather(*starts, *waiting, return_exceptions=True), 60)
            await asyncio.sleep(60)
            worker = orchestrator.session.worker
            assert worker is not None
            assert worker.failed.exception() is error
            return found

    assert virtually(main()) == [error] * 5


def test_a_commit_whose_answer_is_lost_is_settled_by_its_operation_number() -> None:
    """Every commit of this store is made, and its answer is lost once."""

    class Mumbling(MemoryStore):
        def __init__(self, on: MemoryDatabase) -> None:
            super().__init__(on)
            self.said: set[int] = set()

        async def commit(self, worker: int | None, writes: Any) -> list[Fate]:
            fates = await super().commit(worker, writes)
            fresh = {write.op for write in writes} - self.said
            self.said |= fresh
            if fresh:
                raise StoreUnavailable("simulated: the answer is lost")
            return fates

    async def main() -> tuple[Any, int]:
        on = database()
        async with Orchestrator(Mumbling(on), sagas=[notes]) as orchestrator:
            outcomes = [await orchestrator.run(notes, Note("a"), id=f"n{number}") for number in range(5)]
            rows = sum(len(rows) for rows in on.journal.values())
            return outcomes, rows

    outcomes, rows = virtually(main())
    assert outcomes == [Completed(None)] * 5
    assert len(ran) == 5
    assert rows == 15, "a start and two outcomes each, no row twice"


def test_more_sagas_than_fit_in_memory_wait_in_the_store_and_all_end() -> None:
    most: list[int] = []

    @step
    async def slow() -> None:
        most.append(len(worker_of[0].lives))
        await asyncio.sleep(1)

    @slow.compensation
    async def unslow() -> None: ...

    saga = Saga("slow", slow, input=Note)
    worker_of: list[Any] = []

    async def main() -> Any:
        async with engine(saga, settings=Settings(in_flight=10)) as orchestrator:
            worker_of.append(orchestrator.session.worker)
            return await asyncio.gather(*(orchestrator.run(saga, Note("a")) for _ in range(100)))

    assert virtually(main()) == [Completed(None)] * 100
    assert max(most) == 10


def test_a_client_of_a_worker_that_rejects_hears_why() -> None:
    @step(readonly=True)
    async def no() -> None:
        raise Reject("sold out")

    saga = Saga("no", no, input=Note)

    async def main() -> str:
        on = database()
        async with engine(saga, on=on), engine(saga, on=on).client() as client:
            outcome = await client.run(saga, Note("a"))
            return str(outcome)

    assert "sold out" in virtually(main())
