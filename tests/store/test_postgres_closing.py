"""A store that is closed lets go of everything, whatever is on its way; a migration has all the time it needs."""

from __future__ import annotations

import asyncio

import pytest
from two_sessions import Scene, scene, until

from amends.errors import StoreUnavailable
from amends.store import postgres_migrate, postgres_place
from amends.store.postgres import PostgresStore
from amends.store.postgres_line import SQL
from services.proxy import Proxy

OURS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'amends%'"


async def all_gone(play: Scene, before: object) -> None:
    """Wait until no more sessions of amends are there than before."""

    async def are_gone() -> bool:
        return await play.value(OURS) == before

    await until(are_gone, "all sessions have ended")


def test_what_waits_for_its_turn_when_the_store_is_closed_is_told_so_and_connects_no_more(postgres_url: str) -> None:
    async def main(proxy: Proxy) -> None:
        async with scene(postgres_url) as play:
            before = await play.value(OURS)
            store = PostgresStore(proxy.url(postgres_url), "default")
            await store.open(work=True)
            worker = await store.register(play.rig.info())
            proxy.freeze()
            acts = [*(store.head("K") for _ in range(9)), *(store.renew(worker, play.rig.info()) for _ in range(3))]
            asking = [asyncio.ensure_future(act) for act in acts]
            _, pending = await asyncio.wait(asking, timeout=0.2)
            assert len(pending) == 12
            await asyncio.wait_for(store.close(), 10)
            proxy.thaw()
            said = await asyncio.wait_for(asyncio.gather(*asking, return_exceptions=True), 30)
            assert all(isinstance(word, StoreUnavailable) for word in said), said
            await all_gone(play, before)

    with Proxy(postgres_url) as proxy:
        asyncio.run(main(proxy))


@pytest.mark.parametrize("trouble", ["refused", "frozen"])
def test_a_store_that_is_closed_while_its_hints_connect_anew_leaves_no_connection(
    trouble: str, postgres_url: str
) -> None:
    async def main(proxy: Proxy) -> None:
        async with scene(postgres_url) as play:
            before = await play.value(OURS)
            store = PostgresStore(proxy.url(postgres_url), "default")
            await store.open(work=True)
            store.listen(lambda _: None)

            async def listens() -> bool:
                return bool(await play.value(f"{OURS} AND application_name = 'amends hints'"))

            await until(listens, "it listens")
            (proxy.refuse if trouble == "refused" else proxy.freeze)()
            proxy.cut()
            store.hint([], work=True)
            await asyncio.sleep(0.3)  # it tries to connect; nothing depends on whether it does just now
            await asyncio.wait_for(store.close(), 10)
            proxy.thaw()
            await all_gone(play, before)
            assert [task.get_name() for task in asyncio.all_tasks() if "hints" in task.get_name()] == []

    with Proxy(postgres_url) as proxy:
        asyncio.run(main(proxy))


def test_a_migration_waits_for_another_and_runs_as_long_as_it_takes(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_place, "ANSWER_SECONDS", 0.5)  # of any other statement

    number = postgres_migrate.CODE_VERSION + 1

    async def main() -> list[int]:
        async with scene(postgres_url) as play:
            monkeypatch.setattr(postgres_migrate, "MIGRATIONS", [*postgres_migrate.MIGRATIONS, (number, "SELECT 1")])
            lock = await play.begin(SQL["schema_lock"])
            store = PostgresStore(postgres_url, "default")
            upgrading = asyncio.create_task(store.upgrade())
            await play.waiting(1)
            done, _ = await asyncio.wait([upgrading], timeout=1.5)
            assert not done, "longer than any other statement may take"
            await lock.execute("COMMIT")
            applied = await upgrading
            await store.close()
            return applied

    assert asyncio.run(main()) == [number]


def test_those_who_upgrade_an_empty_database_at_once_do_it_once(postgres_url: str) -> None:
    """A server's session may remember that a table was not there when it looked, before it waited for the others."""

    async def upgraded() -> list[int]:
        store = PostgresStore(postgres_url, "default")
        try:
            assert (await store.schema())[0] in (0, postgres_migrate.CODE_VERSION)
            return await store.upgrade()
        finally:
            await store.close()

    async def main() -> list[int]:
        applied = await asyncio.gather(*(upgraded() for _ in range(8)))
        return [number for numbers in applied for number in numbers]

    assert sorted(asyncio.run(main())) == [number for number, _ in postgres_migrate.MIGRATIONS]


def test_a_migration_that_takes_long_is_not_given_up(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> list[int]:
        async with scene(postgres_url) as play:
            monkeypatch.setattr(postgres_place, "ANSWER_SECONDS", 0.5)
            number = postgres_migrate.CODE_VERSION + 1
            script = "SELECT pg_sleep(1.5)"
            monkeypatch.setattr(postgres_migrate, "MIGRATIONS", [*postgres_migrate.MIGRATIONS, (number, script)])
            store = PostgresStore(play.url, "default")
            try:
                return await store.upgrade()
            finally:
                await store.close()

    assert len(asyncio.run(main())) == 1
