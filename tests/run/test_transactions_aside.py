"""What a service asks of its database beside its handlers: it waits for none of them, and hangs nothing but itself."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import suppress
from typing import Any, cast

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from amends.errors import StoreUnavailable
from amends.run import transactions_postgres
from amends.run.effects import on_postgres
from amends.run.gathering import Gathering
from amends.run.transactions import Transactions
from amends.run.transactions_postgres import ASIDE, PostgresTransactions
from amends.store.postgres_place import place_of

SECONDS = 60.0


def test_a_question_waits_for_no_handler_s_transaction(postgres_url: str) -> None:
    async def main() -> None:
        transactions = on_postgres(place_of(postgres_url), ["asyncpg.Connection"], 1, migrate=True)
        await transactions.open()
        lender = transactions._lenders["asyncpg.Connection"]

        async with transactions._room:
            handler = await lender.lend()
            assert len(await transactions.ask("now")) == 1
            await handler.give_back(sound=False)

        await transactions.close()

    asyncio.run(asyncio.wait_for(main(), SECONDS))


def test_a_question_through_asyncpg_is_one_way_there_and_back_and_leaves_nothing_in_its_session(
    postgres_url: str,
) -> None:
    async def main() -> tuple[list[str], str]:
        transactions = on_postgres(place_of(postgres_url), ["asyncpg.Connection"], 1, migrate=True)
        await transactions.open()
        lender = transactions._lenders["asyncpg.Connection"]
        handler = await lender.lend()
        said: list[str] = []
        handler.given.add_query_logger(lambda record: said.append(record.query))
        await handler.begin()
        await handler.execute("SET search_path = somewhere")
        await handler.commit()
        await handler.give_back(sound=True)
        said.clear()

        await transactions.ask("now")
        asked = list(said)
        rows = await lender.once("now")
        assert rows is not None
        again = await lender.lend()
        path: str = await again.given.fetchval("SHOW search_path")
        await again.give_back(sound=False)
        await transactions.close()
        return asked, path

    asked, path = asyncio.run(asyncio.wait_for(main(), SECONDS))
    assert len(asked) == 1
    assert path != "somewhere"


def test_questions_given_up_hang_no_more_threads_than_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transactions_postgres, "ASK_SECONDS", 0.05)
    hung, answers = threading.Semaphore(0), threading.Event()
    asked: list[str] = []

    class Hanging:
        awaited = False

        async def once(self, name: str, *values: object) -> None:
            return None

        async def lend(self) -> Any:
            asked.append(threading.current_thread().name)
            hung.release()
            answers.wait(SECONDS)
            raise ConnectionError("it is gone")

    async def main() -> None:
        transactions = PostgresTransactions(cast("Any", {"": Hanging()}), "the database", 10, migrate=False)
        for _ in range(3 * ASIDE):
            with pytest.raises(StoreUnavailable, match="no answer came within"):
                await transactions.ask("now")
        assert len(asked) == ASIDE
        assert not any(name.startswith("asyncio") for name in asked)

        answers.set()
        async with asyncio.timeout(SECONDS):
            while len(asked) == ASIDE:
                with suppress(StoreUnavailable):
                    await transactions.ask("now")

    asyncio.run(asyncio.wait_for(main(), SECONDS))


def test_after_all_sessions_of_an_engine_were_ended_at_most_one_question_fails(postgres_url: str) -> None:
    async def main() -> None:
        engine = create_async_engine(
            postgres_url.replace("postgresql://", "postgresql+asyncpg://"), pool_size=10, max_overflow=0
        )
        transactions = on_postgres(engine, ["sqlalchemy.ext.asyncio.AsyncConnection"], 10, migrate=True)
        await transactions.open()
        connections = [await engine.connect() for _ in range(10)]
        below = [(await connection.get_raw_connection()).driver_connection for connection in connections]
        for connection in connections:
            await connection.close()
        other = await asyncpg.connect(postgres_url)
        await other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
            "AND datname = current_database() AND backend_type = 'client backend'"
        )
        await other.close()
        while not all(cast("Any", one).is_closed() for one in below):
            await asyncio.sleep(0.01)

        failures = 0
        while True:
            try:
                await transactions.ask("now")
                break
            except StoreUnavailable:
                failures += 1

        assert failures <= 1
        await transactions.close()
        await engine.dispose()

    asyncio.run(asyncio.wait_for(main(), SECONDS))


def test_whoever_waits_for_many_as_one_is_told_whatever_goes_wrong() -> None:
    class Broken:
        async def ask(self, name: str, *values: object) -> Any:
            raise LookupError("a row too few")

    async def main() -> None:
        with pytest.raises(LookupError):
            await Gathering(cast("Transactions", Broken()), "settle").of(1)

    asyncio.run(asyncio.wait_for(main(), SECONDS))


def test_what_may_wait_for_company_goes_together() -> None:
    asked: list[str] = []

    class Asked:
        async def ask(self, name: str, *values: object) -> Any:
            asked.append(str(values[0]))
            return [(item,) for item in json.loads(str(values[0]))]

    async def main() -> list[bool]:
        gathering = Gathering(cast("Transactions", Asked()), "settle", 0.2)
        first = asyncio.ensure_future(gathering.of(1))
        while gathering._pump is None:
            await asyncio.sleep(0)
        await asyncio.sleep(0)  # the first waits by now
        return list(await asyncio.gather(first, gathering.of(2), gathering.of(3)))

    assert asyncio.run(asyncio.wait_for(main(), SECONDS)) == [True, True, True]
    assert asked == ["[1, 2, 3]"]
