"""X9: payloads are sealed wherever they are kept; who has not the keys reads none, and loses nothing by it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from security_scene import done, rows_of

from amends import (
    Completed,
    Orchestrator,
    Park,
    Parked,
    Participant,
    Reject,
    Retry,
    Saga,
    Service,
    pivot,
    step,
    wait_for,
)
from amends.crypto import Keys
from amends.errors import IdConflict, KeyMissing
from amends.operate.homes import home_operations
from amends.operate.operations import operations
from amends.run.sealing import MARK

NOTE, ANSWER = "canary-note", "canary-answer"
OLD, NEW = Keys({"old": b"1" * 32}), Keys({"new": b"2" * 32, "old": b"1" * 32})
OTHER = Keys({"old": b"3" * 32})
ONCE = Retry(attempts=1)


@dataclass(frozen=True)
class Job:
    note: str = NOTE


@dataclass(frozen=True)
class Answer:
    text: str


@step(retry=ONCE)
async def work(job: Job) -> Answer:
    """Gives what is not for everybody."""
    return Answer(f"{ANSWER} to {job.note}")


@work.compensation
async def unwork(job: Job, given: Answer | None) -> None: ...


@step(retry=ONCE)
async def far(given: Answer) -> Answer:
    """Needs a person."""
    raise Park("the far side is down")


@far.compensation
async def unfar() -> None: ...


word = wait_for("word", Answer)
talks = Saga("talks", work, word, input=Job, output=word)
parks = Saga("parks", work, far, input=Job, output=far)


@pytest.fixture
def file(tmp_path: Path) -> str:
    """The URL of an empty database, where it makes no difference which store it is."""
    return f"sqlite:///{tmp_path}/sagas.db"


def on(url: str, keys: Keys | None) -> Orchestrator:
    """An orchestrator with some keys, or none."""
    return Orchestrator(url, sagas=[talks, parks], keys=keys, migrate=True)


def everything(url: str) -> str:
    """All that is in a database."""
    return "\n".join(row for rows in rows_of(url).values() for row in rows)


async def stalled(orchestrator: Orchestrator, key: str) -> str:
    """Wait until a saga is said to be stalled; why."""
    async with asyncio.timeout(20):
        while True:
            head = await orchestrator.session.store.head(key)
            if head is not None and head.stalled:
                return head.stalled
            await asyncio.sleep(0.01)


def test_no_payload_stands_in_the_database_of_an_orchestrator(database: str) -> None:
    async def main() -> None:
        async with on(database, OLD) as orchestrator, operations(orchestrator) as found:
            await orchestrator.start(talks, Job(), id="one")
            await orchestrator.signal("one", word, Answer(ANSWER))
            assert await orchestrator.session.outcome(talks, "one", 20) == Completed(Answer(ANSWER))
            assert isinstance(await orchestrator.run(parks, Job(), id="two"), Parked)
            result = b'{"text":"canary-by-hand"}'
            await found.resolve("two", "far", actor="ada", reason="by telephone", result=result)
            assert await orchestrator.session.outcome(parks, "two", 20) == Completed(Answer("canary-by-hand"), ("far",))

    done(main())

    said = everything(database)
    assert "canary" not in said
    assert MARK.decode()[2:] in said.replace("\\\\", "\\")
    assert "by telephone" in said, "who acts and why stays readable"


def test_a_saga_goes_on_after_a_change_of_keys_and_its_old_payloads_are_read(database: str) -> None:
    async def main() -> None:
        async with on(database, OLD) as orchestrator:
            await orchestrator.start(talks, Job(), id="one")
        async with on(database, NEW) as orchestrator:
            assert await orchestrator.start(talks, Job(), id="one") is not None, "it is the same saga"
            with pytest.raises(IdConflict):
                await orchestrator.start(talks, Job("another"), id="one")
            await orchestrator.signal("one", word, Answer(ANSWER))
            assert await orchestrator.session.outcome(talks, "one", 20) == Completed(Answer(ANSWER))

    done(main())


@pytest.mark.parametrize("wrong", [None, OTHER], ids=["no keys", "another key of that name"])
def test_without_its_key_a_saga_is_stalled_and_goes_on_once_the_key_is_there(database: str, wrong: Keys | None) -> None:
    async def main() -> str:
        async with on(database, OLD).client() as orchestrator:
            await orchestrator.start(talks, Job(), id="one")
        async with on(database, wrong) as orchestrator:
            why = await stalled(orchestrator, "one")
        async with on(database, OLD) as orchestrator:
            await orchestrator.signal("one", word, Answer(ANSWER))
            assert await orchestrator.session.outcome(talks, "one", 20) == Completed(Answer(ANSWER))
        return why

    assert "sealed with the key 'old'" in done(main())


def test_what_was_kept_before_there_were_keys_is_read(file: str) -> None:
    async def main() -> None:
        async with on(file, None) as orchestrator:
            await orchestrator.start(talks, Job(), id="one")
        async with on(file, OLD) as orchestrator:
            await orchestrator.start(talks, Job(), id="one")
            await orchestrator.signal("one", word, Answer(ANSWER))
            assert await orchestrator.session.outcome(talks, "one", 20) == Completed(Answer(ANSWER))

    done(main())


def test_whoever_reads_without_keys_is_told_what_is_sealed_and_with_them_sees_it(file: str) -> None:
    async def main() -> tuple[Any, Any]:
        async with on(file, OLD) as orchestrator:
            await orchestrator.run(parks, Job(), id="one")
        async with operations(file) as without, operations(on(file, OLD)) as found:
            return await without.show("one"), await found.show("one")

    without, found = done(main())

    assert without.input == b'"sealed with the key old"'
    assert without.line.status == "parked"
    assert "canary" not in repr(without)
    assert found.input == b'{"note":"canary-note"}'


def test_what_a_saga_gave_takes_its_key_and_that_it_is_parked_does_not(file: str) -> None:
    async def main() -> None:
        async with on(file, OLD) as orchestrator, operations(orchestrator) as found:
            await orchestrator.run(parks, Job(), id="one")
            await orchestrator.run(parks, Job(), id="two")
            await found.resolve("two", "far", actor="ada", reason="by hand", result=b'{"text":"x"}')
            await orchestrator.session.outcome(parks, "two", 20)
        async with on(file, None).client() as orchestrator:
            assert isinstance(await orchestrator.session.outcome(parks, "one", 20), Parked)
            with pytest.raises(KeyMissing, match="'old'"):
                await orchestrator.session.outcome(parks, "two", 20)

    done(main())


def test_a_signal_that_cannot_be_opened_is_refused_and_another_one_counts(file: str) -> None:
    async def main() -> list[str | None]:
        async with on(file, OLD) as orchestrator:
            await orchestrator.start(talks, Job(), id="one")
            mail = orchestrator.session.signal_mail("two", word, Answer(ANSWER), "moved")
            store = orchestrator.session.store
            await store.send([mail._replace(key="one")])
            store.hint([], work=True)
            async with asyncio.timeout(20):
                while (sent := await store.sent("one", "moved")) is None or sent.answer is None:
                    await asyncio.sleep(0.01)
            await orchestrator.signal("one", word, Answer(ANSWER))
            assert isinstance(await orchestrator.session.outcome(talks, "one", 20), Completed)
            return [sent.answer, sent.detail]

    answer, detail = done(main())

    assert answer == "refused"
    assert "does not open" in str(detail)


def test_a_start_within_a_transaction_is_sealed(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/sagas.db"

    async def main() -> None:
        async with on(url, OLD) as orchestrator:
            with closing(sqlite3.connect(tmp_path / "sagas.db", timeout=30, isolation_level=None)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                await orchestrator.start(parks, Job(), id="one", within=connection)
                connection.execute("COMMIT")
            assert isinstance(await orchestrator.session.outcome(parks, "one", 20), Parked)

    done(main())

    assert "canary" not in everything(url)


def test_what_a_step_gives_in_a_transaction_is_sealed_in_the_inbox(tmp_path: Path) -> None:
    @step
    async def write(job: Job, tx: sqlite3.Connection) -> Answer:
        return Answer(ANSWER)

    @write.compensation
    async def unwrite(given: Answer | None, tx: sqlite3.Connection) -> None:
        undone.append(given)

    @step(retry=ONCE)
    async def refuse(job: Job) -> None:
        raise Reject("no")

    @refuse.compensation
    async def unrefuse() -> None: ...

    undone: list[Answer | None] = []
    saga = Saga("written", write, refuse, input=Job)
    url = f"sqlite:///{tmp_path}/sagas.db"

    async def main() -> None:
        async with Orchestrator(url, sagas=[saga], keys=OLD) as orchestrator:
            await orchestrator.run(saga, Job(), id="one")

    done(main())

    assert undone == [Answer(ANSWER)]
    assert "canary" not in everything(url)


# Services

stock, front = Service("stock"), Service("front")
reserve = stock.command("reserve", Job, reply=Answer)


@reserve.request(retry=Retry(attempts=3, first_delay=0.01))
def ask(job: Job) -> Job:
    """For the stock."""
    return job


@reserve.request(retry=Retry(attempts=3, first_delay=0.01), name="again")
def again(job: Job, given: Answer) -> Job:
    """With what it gave."""
    return Job(given.text)


served = Saga("served", ask, again, pivot, input=Job, output=again)


def shop(directory: Path, keys: Keys | None, did: list[str]) -> Participant:
    """Reserves; refuses what it is told to by a file."""
    app = Participant(stock, database=f"sqlite:///{directory}/stock.db", sagas=[served], keys=keys)

    @app.handles(reserve)
    async def handle(command: Job, tx: sqlite3.Connection) -> Answer:
        if (directory / "refuses").exists() and ANSWER in command.note:
            raise Reject("no")
        return Answer(f"{ANSWER} to {command.note}")

    @app.compensates(reserve)
    async def undo(command: Job, given: Answer, tx: sqlite3.Connection) -> None:
        did.append(f"{command.note} {given.text}")

    return app


@pytest.mark.parametrize("refuses", [False, True])
def test_a_service_keeps_nothing_open_and_undoes_with_what_it_keeps(tmp_path: Path, refuses: bool) -> None:
    did: list[str] = []
    if refuses:
        (tmp_path / "refuses").touch()

    async def main() -> None:
        orchestrator = Orchestrator(f"sqlite:///{tmp_path}/sagas.db", sagas=[served], keys=NEW)
        async with shop(tmp_path, OLD, did), orchestrator:
            await orchestrator.run(served, Job(), id="one")

    done(main())

    assert did == ([f"{NOTE} {ANSWER} to {NOTE}"] if refuses else [])
    assert "canary" not in everything(f"sqlite:///{tmp_path}/sagas.db")
    assert "canary" not in everything(f"sqlite:///{tmp_path}/stock.db")


@asynccontextmanager
async def village(directory: Path, keys: Keys | None, did: list[str]) -> AsyncGenerator[Participant, None]:
    """Both services at work; the front one starts."""
    home = Participant(front, database=f"sqlite:///{directory}/front.db", sagas=[served], keys=OLD)
    async with shop(directory, keys, did), home:
        yield home


async def begin(home: Participant, directory: Path, value: Job) -> None:
    """Start a choreographed saga."""
    with closing(sqlite3.connect(directory / "front.db", timeout=30, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        await home.start(served, value, within=connection, id="one")
        connection.execute("COMMIT")


@pytest.mark.parametrize("refuses", [False, True])
def test_a_choreographed_saga_is_sealed_in_every_database_on_its_way(tmp_path: Path, refuses: bool) -> None:
    did: list[str] = []
    if refuses:
        (tmp_path / "refuses").touch()

    async def main() -> tuple[Any, Any]:
        async with village(tmp_path, OLD, did) as home, home_operations(home) as found:
            await begin(home, tmp_path, Job())
            with pytest.raises(IdConflict):
                await begin(home, tmp_path, Job("another"))
            await begin(home, tmp_path, Job())
            return await home.outcome(served, "one", timeout=20), (await found.show("one")).input

    outcome, shown = done(main())

    assert isinstance(outcome, Completed) is not refuses
    assert shown == b'{"note":"canary-note"}'
    assert len(did) == refuses
    for name in ("front", "stock"):
        assert "canary" not in everything(f"sqlite:///{tmp_path}/{name}.db")


def test_a_choreographed_saga_waits_where_its_key_is_not_and_goes_on_where_it_is(tmp_path: Path) -> None:
    async def main() -> Any:
        async with village(tmp_path, None, []) as home:
            await begin(home, tmp_path, Job())
            async with asyncio.timeout(20):
                while not hops(tmp_path):
                    await asyncio.sleep(0.01)
        with closing(sqlite3.connect(tmp_path / "stock.db", timeout=30, isolation_level=None)) as connection:
            connection.execute("UPDATE amends_hop SET due = 0")  # it would be looked at again in a while
        async with village(tmp_path, OLD, []) as home:
            return await home.outcome(served, "one", timeout=20)

    assert isinstance(done(main()), Completed)


def hops(directory: Path) -> list[Any]:
    """What waits in the stock."""
    with closing(sqlite3.connect(directory / "stock.db", timeout=30)) as connection:
        return connection.execute("SELECT stand FROM amends_hop").fetchall()
