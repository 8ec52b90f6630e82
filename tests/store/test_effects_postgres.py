"""The inbox of transactional steps on PostgreSQL: two sessions and one row, and who waits for whom."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from two_sessions import WAITING, until

from amends.errors import SchemaMismatch
from amends.run.effects import upgrade_inbox
from amends.store import effects_postgres as effects
from amends.store.effects_asyncpg import AsyncpgLender
from amends.store.effects_errors import EndedItself, definite, passes, state
from amends.store.effects_postgres import Found, Limits, Opened
from amends.store.effects_rows import InboxRow, Key
from amends.store.postgres import PostgresStore
from amends.store.postgres_line import SQL as STORE_SQL

KEY = ("default", bytes(range(16)), "book")
DONE = InboxRow(1, "succeeded", result=b'"done"')
ALL = list(range(1, effects.CODE_VERSION + 1))
UNDONE = DONE._replace(compensated=True)
LONG, SHORT = 50.0, 0.1
LEVELS = ("read committed", "repeatable read", "serializable")


class Inbox:
    """An inbox at an isolation level, and a look at who waits."""

    def __init__(self, lender: AsyncpgLender, watcher: asyncpg.Connection[Any]) -> None:
        self.lender = lender
        self._watcher = watcher
        self._opened: list[Opened] = []

    async def begin(self, *, lock: float = LONG, idle: float = LONG) -> Opened:
        """A transaction with limits."""
        tx = await self.lender.lend()
        self._opened.append(tx)
        await tx.begin()
        await effects.limit(tx, Limits(lock, idle))
        return tx

    async def waits(self) -> bool:
        """Whether anybody waits for a lock."""
        return bool(await self._watcher.fetchval(WAITING, "%"))

    async def value(self, text: str) -> Any:
        """One value, read now."""
        return await self._watcher.fetchval(text)

    async def close(self) -> None:
        """End all transactions."""
        for tx in self._opened:
            await tx.give_back(sound=False)


@asynccontextmanager
async def inbox(url: str, level: str = "read committed") -> AsyncIterator[Inbox]:
    """A fresh inbox."""
    await upgrade_inbox(url)
    watcher = await asyncpg.connect(url)
    settings = {"default_transaction_isolation": level}
    async with asyncpg.create_pool(url, min_size=0, server_settings=settings) as pool:
        made = Inbox(AsyncpgLender(pool, 10), watcher)
        try:
            yield made
        finally:
            await made.close()
            await watcher.close()


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(main())


async def arrived(tx: Opened, key: Key, first: int, last: int, *, new: bool) -> Found:
    """What is found by somebody who expects that nothing is known, or who expects nothing."""
    if not new:
        return await effects.arrive(tx, key, first, last)
    _, found = await effects.arrive_first(tx, key, Limits(LONG, LONG))
    return found._replace(own="")


async def arrives_behind(
    here: Inbox, holder: Opened, key: Any = KEY, *, rounds: tuple[int, int] = (1, 1), new: bool = False
) -> Any:
    """What somebody finds who arrives while another's transaction is open, and that commits then."""
    second = await here.begin()
    arriving = asyncio.ensure_future(arrived(second, key, *rounds, new=new))
    await until(here.waits, "the second waits for the first")
    await holder.commit()
    return await asyncio.gather(arriving, return_exceptions=True)


@pytest.mark.parametrize("new", [False, True], ids=["whatever", "new"])
@pytest.mark.parametrize("level", LEVELS)
def test_an_action_and_its_compensation_exclude_each_other_at_any_isolation_level(
    postgres_url: str, level: str, new: bool
) -> None:
    async def main() -> None:
        async with inbox(postgres_url, level) as here:
            action = await here.begin()
            assert await arrived(action, KEY, 1, 1, new=not new) == Found([], torn=False)
            await effects.keep(action, KEY, DONE)

            (found,) = await arrives_behind(here, action, new=new)

            if level == "read committed":
                assert found == Found([DONE], torn=False)
            else:
                assert state(found) == "40001", "its snapshot is too old: it is tried again"
                again = await here.begin()
                assert await effects.arrive(again, KEY, 1, 1) == Found([DONE], torn=False)

    run(main)


@pytest.mark.parametrize("new", [False, True], ids=["whatever", "new"])
@pytest.mark.parametrize("level", LEVELS)
def test_what_is_there_already_is_locked_before_it_is_read(postgres_url: str, level: str, new: bool) -> None:
    async def main() -> None:
        async with inbox(postgres_url, level) as here:
            first = await here.begin()
            await effects.arrive(first, KEY, 1, 1)
            await effects.keep(first, KEY, DONE)
            await first.commit()
            undo = await here.begin()
            await effects.arrive(undo, KEY, 1, 1)
            await effects.keep(undo, KEY, UNDONE)

            (found,) = await arrives_behind(here, undo, new=new)

            if level == "read committed":
                assert found == Found([UNDONE], torn=False)
            else:
                assert state(found) == "40001"

    run(main)


def test_the_wait_for_the_row_is_bounded_and_passes(postgres_url: str) -> None:
    async def main() -> None:
        async with inbox(postgres_url) as here:
            await effects.arrive(await here.begin(), KEY, 1, 1)
            late = await here.begin(lock=SHORT)

            with pytest.raises(asyncpg.LockNotAvailableError) as told:
                await effects.arrive(late, KEY, 1, 1)

            assert passes(told.value, lost=False)

    run(main)


def test_other_steps_sagas_and_namespaces_do_not_wait(postgres_url: str) -> None:
    async def main() -> None:
        async with inbox(postgres_url) as here:
            await effects.arrive(await here.begin(), KEY, 1, 1)

            for key in (("other", *KEY[1:]), (KEY[0], bytes(16), KEY[2]), (*KEY[:2], "ship")):
                assert await effects.arrive(await here.begin(lock=SHORT), key, 1, 1) == Found([], torn=False)

    run(main)


def test_a_later_round_waits_for_an_earlier_one_that_is_in_the_middle_and_reads_what_became_of_it(
    postgres_url: str,
) -> None:
    async def main() -> None:
        async with inbox(postgres_url) as here:
            zombie = await here.begin()
            await effects.arrive(zombie, KEY, 1, 1)
            await effects.keep(zombie, KEY, DONE)

            (found,) = await arrives_behind(here, zombie, rounds=(1, 2))

            assert found == Found([DONE], torn=False)

    run(main)


def test_an_earlier_round_that_never_came_is_buried_and_finds_that_when_it_comes(postgres_url: str) -> None:
    async def main() -> None:
        async with inbox(postgres_url) as here:
            second = await here.begin()
            await effects.arrive(second, KEY, 1, 2)
            await effects.keep(second, KEY, DONE._replace(round=2))
            await effects.bury(second, KEY, 2)

            (found,) = await arrives_behind(here, second)

            assert [row[:2] for row in found.rows] == [(1, "tombstone"), (2, "succeeded")]

    run(main)


def test_what_was_rolled_back_was_never_there(postgres_url: str) -> None:
    async def main() -> None:
        async with inbox(postgres_url) as here:
            first = await here.begin()
            await effects.arrive(first, KEY, 1, 1)
            await first.rollback()

            assert await effects.arrive(await here.begin(), KEY, 1, 1) == Found([], torn=False)

    run(main)


def test_a_row_that_was_committed_while_it_said_nothing_was_torn_out_of_its_transaction(postgres_url: str) -> None:
    async def main() -> None:
        async with inbox(postgres_url) as here:
            first = await here.begin()
            await effects.arrive(first, KEY, 1, 1)
            await first.execute("COMMIT")

            second = await here.begin()
            assert await effects.arrive(second, KEY, 1, 1) == Found([], torn=True)
            await effects.clear(second, KEY)
            await second.commit()
            assert await effects.arrive(await here.begin(), KEY, 1, 1) == Found([], torn=False)

    run(main)


def test_a_silent_client_loses_its_transaction_and_cannot_commit_it(postgres_url: str) -> None:
    async def main() -> None:
        async with inbox(postgres_url) as here:
            frozen = await here.begin(idle=SHORT)
            await effects.arrive(frozen, KEY, 1, 1)
            await effects.keep(frozen, KEY, DONE)

            assert await effects.arrive(await here.begin(), KEY, 1, 1) == Found([], torn=False)
            with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)) as told:
                await frozen.commit()
            assert passes(told.value, lost=frozen.lost)
            assert not definite(told.value)

    run(main)


def test_what_is_acknowledged_is_on_disk_whatever_the_session_says(postgres_url: str) -> None:
    async def main() -> None:
        async with inbox(postgres_url) as here:
            tx = await here.lender.lend()
            await tx.execute("SET synchronous_commit = off")
            await tx.begin()
            await effects.limit(tx, Limits(LONG, LONG))

            assert await tx.given.fetchval("SHOW synchronous_commit") == "on"
            await tx.give_back(sound=False)

    run(main)


def test_making_a_row_bounds_the_transaction_as_limit_does(postgres_url: str) -> None:
    names = ("lock_timeout", "idle_in_transaction_session_timeout", "application_name", "synchronous_commit")

    async def main() -> None:
        async with inbox(postgres_url) as here:
            bounded: list[list[str]] = []
            for first in (False, True):
                tx = await here.lender.lend()
                await tx.execute("SET synchronous_commit = off")
                await tx.begin()
                limits = Limits(1.5, 2.5)
                if first:
                    await effects.arrive_first(tx, KEY, limits)
                else:
                    await effects.limit(tx, limits)
                bounded.append([str(await tx.given.fetchval(f"SHOW {name}")) for name in names])
                await tx.give_back(sound=False)

            assert bounded[0] == bounded[1] == ["1500ms", "2500ms", "amends step, 2500ms", "on"]

    run(main)


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("name", ["make_first", "keep_new"])
def test_what_every_command_asks_never_reads_the_whole_inbox(postgres_url: str, name: str, mode: str) -> None:
    parameters = len(set(re.findall(r"\$\d+", effects.SQL[name])))
    key = json.dumps([{"place": 0, "ns": "default", "saga": "0" * 32, "address": "book"}])
    kept = ("default", "0" * 32, "book", "succeeded", "1", "", "1", "1")
    values = (key, "1s", "1s") if name == "make_first" else kept

    async def main() -> None:
        async with inbox(postgres_url) as here:
            tx = await here.begin()
            await tx.execute(
                "INSERT INTO amends.inbox (ns, saga, address, round, at) "
                "SELECT 'default', gen_random_uuid(), 'book', 1, 1 FROM generate_series(1, 5000)",
                "ANALYZE amends.inbox",
                f"SET LOCAL plan_cache_mode = {mode}",
                f"PREPARE asked ({', '.join(['text'] * parameters)}) AS {effects.SQL[name]}",
            )
            said = ", ".join(f"'{value}'" for value in values)
            plan = [row[0] for row in await tx.given.fetch(f"EXPLAIN EXECUTE asked ({said})")]

            assert not [line for line in plan if "Seq Scan on inbox" in line], "\n".join(plan)

    run(main)


def test_whoever_makes_a_row_waits_for_another_no_longer_than_its_own_limit(postgres_url: str) -> None:
    async def main() -> None:
        async with inbox(postgres_url) as here:
            await effects.arrive(await here.begin(), KEY, 1, 1)
            second = await here.lender.lend()
            await second.begin()

            with pytest.raises(asyncpg.LockNotAvailableError):
                await effects.arrive_first(second, KEY, Limits(SHORT, LONG))
            await second.give_back(sound=False)

    run(main)


def test_an_outcome_is_kept_only_in_the_transaction_that_made_the_row(postgres_url: str) -> None:
    async def main() -> None:
        async with inbox(postgres_url) as here:
            for ending in ("COMMIT", "COMMIT AND CHAIN", "ROLLBACK", "COMMIT; BEGIN; SAVEPOINT amends_step"):
                tx = await here.lender.lend()
                await tx.begin()
                _, found = await effects.arrive_first(tx, KEY, Limits(LONG, LONG))
                await tx.execute(effects.SAVEPOINT)
                await tx.execute(ending)

                with pytest.raises(EndedItself):
                    await effects.keep_new(tx, KEY, DONE, found.own)
                await tx.give_back(sound=False)
                assert await here.value("SELECT count(*) FROM amends.inbox WHERE action IS NOT NULL") == 0
                await here.value("DELETE FROM amends.inbox")

    run(main)


def test_any_number_may_make_the_inbox_at_once(postgres_url: str) -> None:
    async def main() -> None:
        applied = await asyncio.gather(*(upgrade_inbox(postgres_url) for _ in range(8)))

        assert sorted(number for numbers in applied for number in numbers) == ALL

    run(main)


def test_a_missing_or_newer_inbox_is_refused_in_words() -> None:
    with pytest.raises(SchemaMismatch, match=r"no inbox for steps with a transaction.*amends db upgrade"):
        effects.check(0, 0, "postgresql://host/orders")
    with pytest.raises(SchemaMismatch, match="Upgrade this process"):
        effects.check(9, 9, "postgresql://host/orders")
    effects.check(9, effects.CODE_VERSION, "postgresql://host/orders")


def test_clearing_up_forgets_the_sagas_that_are_named_and_no_others(postgres_url: str) -> None:
    async def main() -> None:
        async with inbox(postgres_url) as here:
            sagas = [bytes([number] * 16) for number in range(3)]
            for saga in sagas:
                tx = await here.begin()
                await effects.arrive(tx, ("default", saga, "book"), 1, 1)
                await effects.keep(tx, ("default", saga, "book"), DONE)
                await tx.commit()

            tx = await here.begin()
            too_young = await effects.forget(tx, "default", sagas, 3600)
            gone = await effects.forget(tx, "default", sagas[:2], 0)
            await effects.forget(tx, "other", sagas, 0)
            await tx.commit()

            assert (too_young, gone) == (frozenset(sagas), frozenset())
            assert await here.value("SELECT count(*) FROM amends.inbox") == 1

    run(main)


class Foreign(ConnectionError):
    """An HTTP client's."""


def test_only_errors_of_drivers_can_pass() -> None:
    assert not passes(Foreign(), lost=True)
    assert not passes(asyncpg.UniqueViolationError("there"), lost=False)
    assert passes(asyncpg.DeadlockDetectedError("deadlock"), lost=False)
    wrapped = ValueError("mine")
    wrapped.__cause__ = asyncpg.SerializationError("again")
    assert passes(wrapped, lost=False)


def test_bringing_up_the_stores_schema_brings_the_inbox_along(postgres_url: str) -> None:
    async def main() -> None:
        store = PostgresStore(postgres_url, "default")
        await store.upgrade()
        await store.close()

        assert await upgrade_inbox(postgres_url) == []

    run(main)


def test_the_inbox_waits_for_whoever_makes_the_stores_tables_for_they_have_one_schema(postgres_url: str) -> None:
    """A server that is asked twice at once to create a schema if it is not there fails one of the two."""

    async def main() -> None:
        other, watcher = await asyncpg.connect(postgres_url), await asyncpg.connect(postgres_url)
        await other.execute("BEGIN")
        await other.execute(STORE_SQL["schema_lock"])
        await other.execute("CREATE SCHEMA IF NOT EXISTS amends")
        applied = asyncio.ensure_future(upgrade_inbox(postgres_url))

        async def waits() -> bool:
            return bool(await watcher.fetchval(WAITING, "%"))

        await until(waits, "the inbox waits")
        await other.execute("COMMIT")

        assert await applied == ALL
        await asyncio.gather(other.close(), watcher.close())

    run(main)


@pytest.mark.parametrize(("seconds", "counted"), [(0.0001, "1ms"), (60 * 24 * 3600.0, "2147483647ms")])
def test_a_limit_that_the_server_cannot_count_is_the_nearest_that_it_can(
    postgres_url: str, seconds: float, counted: str
) -> None:
    """It counts milliseconds, of which 0 mean without end, up to 25 days."""

    async def main() -> None:
        async with inbox(postgres_url) as here:
            tx = await here.lender.lend()
            await tx.begin()

            (said,) = await tx.fetch("limit", *Limits(seconds, seconds).counted)  # a millisecond is soon over
            assert list(said)[:2] == [counted, counted]
            await tx.give_back(sound=False)

    run(main)
