"""What a server or a network does to a statement is never a step's outcome, and nothing is lost by it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import pytest
from postgres_scene import HERE, Gate, Order, User, on, until, user

from amends import Completed
from services.proxy import Proxy

TROUBLE = """
CREATE SEQUENCE trouble;
CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('trouble') <= 3 THEN RAISE EXCEPTION 'it is trouble' USING ERRCODE = TG_ARGV[0]; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER trouble BEFORE INSERT ON amends.journal FOR EACH STATEMENT EXECUTE FUNCTION trouble('{code}');
"""
CODES = {
    "deadlock": "40P01",
    "serialization failure": "40001",
    "lock timeout": "55P03",
    "shutdown": "57P01",
    "crash": "57P02",
    "too many connections": "53300",
    "disk full": "53100",
    "read only": "25006",
    "cancelled": "57014",
}


@pytest.mark.parametrize("work", [True, False], ids=["worker", "client"])
@pytest.mark.parametrize("code", CODES.values(), ids=list(CODES))
def test_an_error_that_may_pass_is_met_by_writing_again_and_steps_know_nothing_of_it(
    code: str, work: bool, postgres_url: str
) -> None:
    async def main() -> None:
        gate = Gate()
        async with on(postgres_url, gate.saga) as worker, user(postgres_url) as somebody:
            starter = worker if work else on(postgres_url, gate.saga)
            async with nothing() if work else starter.client():
                await somebody.run(TROUBLE.format(code=code))
                outcomes = await asyncio.gather(*(starter.run(gate.saga, Order(), id=f"n{n}") for n in range(5)))
            assert outcomes == [Completed(None)] * 5
            assert sorted(gate.calls) == sorted(set(gate.calls)), "each step was called once"
            assert await somebody.value("SELECT last_value > 3 FROM trouble"), "there was trouble"
            assert await somebody.value("SELECT count(*) FROM amends.journal") == (20 if work else 25)

    asyncio.run(main())


@asynccontextmanager
async def nothing() -> AsyncIterator[None]:
    """A block with nothing around it."""
    yield


def test_a_server_that_became_read_only_is_connected_to_anew(postgres_url: str) -> None:
    """After a failover the name leads to another server, and the old connection to the old one."""

    async def main() -> bool:
        gate = Gate()
        async with on(postgres_url, gate.saga) as orchestrator, user(postgres_url) as somebody:
            pid = f"SELECT pid FROM {HERE} AND application_name = 'amends commits'"
            before = await somebody.value(pid)
            await somebody.run(TROUBLE.format(code="25006"))
            assert await orchestrator.run(gate.saga, Order()) == Completed(None)
            return bool(before != await somebody.value(pid))

    assert asyncio.run(main())


def test_sessions_that_are_terminated_over_and_over_lose_nothing(postgres_url: str) -> None:
    async def main() -> None:
        gate, over = Gate(), asyncio.Event()
        beside = on(postgres_url, gate.saga)
        async with on(postgres_url, gate.saga) as worker, beside.client() as client, user(postgres_url) as somebody:
            terminating = asyncio.create_task(terminate(somebody, over))
            starts = [(client if n % 2 else worker).run(gate.saga, Order(), id=f"n{n}") for n in range(60)]
            outcomes = await asyncio.gather(*starts)
            over.set()
            await terminating
        assert outcomes == [Completed(None)] * 60
        assert len(set(gate.calls)) == 180

    asyncio.run(main())


async def terminate(somebody: User, over: asyncio.Event) -> None:
    """End all of amends' sessions, over and over, three times at least."""
    rounds = 0
    ours = f"FROM {HERE} AND application_name LIKE 'amends%'"
    while not over.is_set() or rounds < 3:
        rounds += await somebody.value(f"SELECT count(pg_terminate_backend(pid)) {ours}") > 0
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("kind", ["swallow", "lose"])
@pytest.mark.parametrize("what", ["commit", "start", "claim"])
def test_an_answer_that_is_lost_is_found_by_what_was_written(kind: str, what: str, postgres_url: str) -> None:
    markers = {"commit": b"), changed AS (", "start": b"SELECT count(*), extract(epoch", "claim": b"AS all_kinds"}

    async def main(proxy: Proxy) -> None:
        gate = Gate()
        through = proxy.url(postgres_url)
        async with on(through, gate.saga), user(postgres_url) as somebody:
            async with on(through, gate.saga).client() as client:
                await client.run(gate.saga, Order(), id="warm")
                trap = (proxy.swallow_next if kind == "swallow" else proxy.lose_next)(markers[what])
                outcomes = await asyncio.gather(*(client.run(gate.saga, Order(), id=f"n{n}") for n in range(5)))
            assert outcomes == [Completed(None)] * 5
            assert trap.sprung
            assert sorted(gate.calls) == sorted(set(gate.calls)), "each step was called once"
            doubles = "SELECT count(*) FROM amends.worker"
            assert await somebody.value(doubles) == 1

    with Proxy(postgres_url) as proxy:
        asyncio.run(main(proxy))


def test_a_network_that_passes_nothing_on_for_a_while_loses_nothing(postgres_url: str) -> None:
    async def main(proxy: Proxy) -> None:
        gate = Gate()
        async with on(proxy.url(postgres_url), gate.saga) as orchestrator:
            assert await orchestrator.run(gate.saga, Order()) == Completed(None)
            proxy.freeze()
            running = [asyncio.create_task(orchestrator.run(gate.saga, Order(), id=f"n{n}")) for n in range(5)]
            done, _ = await asyncio.wait(running, timeout=1.0)
            assert not done
            proxy.cut()
            proxy.thaw()
            assert await asyncio.gather(*running) == [Completed(None)] * 5

    with Proxy(postgres_url) as proxy:
        asyncio.run(main(proxy))


def test_a_server_without_room_for_a_connection_is_waited_for(postgres_url: str) -> None:
    role = f"limited_{secrets.token_hex(6)}"

    async def main(somebody: User) -> None:
        gate = Gate()
        limited = urlsplit(postgres_url)
        url = urlunsplit(limited._replace(netloc=f"{role}:secret@{limited.netloc.rpartition('@')[2]}"))
        async with on(url, gate.saga) as orchestrator:
            await somebody.run(f"ALTER ROLE {role} CONNECTION LIMIT 0")
            await somebody.value(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = $1", role
            )
            running = asyncio.create_task(orchestrator.run(gate.saga, Order()))

            async def in_trouble() -> bool:
                return (
                    "it has no connection left" in orchestrator.session.trouble
                    or "too many" in orchestrator.session.trouble
                )

            await until(in_trouble, "the committer is told that there is no room")
            assert not running.done()
            await somebody.run(f"ALTER ROLE {role} CONNECTION LIMIT 20")
            assert await running == Completed(None)

    async def framed() -> None:
        async with user(postgres_url) as somebody:
            database = urlsplit(postgres_url).path.strip("/")
            await somebody.run(f"CREATE ROLE {role} LOGIN PASSWORD 'secret'")
            try:
                await somebody.run(f"ALTER DATABASE {database} OWNER TO {role}")
                await main(somebody)
            finally:
                await somebody.run(f"REASSIGN OWNED BY {role} TO CURRENT_USER; DROP OWNED BY {role}; DROP ROLE {role}")

    asyncio.run(framed())


@pytest.mark.parametrize("kind", ["swallow", "lose"])
def test_an_adoption_whose_answer_is_lost_takes_over_what_it_gave(kind: str, postgres_url: str) -> None:
    """A worker is retired, registers anew, and takes over from its own past."""

    async def main(proxy: Proxy) -> None:
        gate = Gate()
        keys = [f"n{number}" for number in range(5)]
        gate.gates = {key: asyncio.Event() for key in keys}
        through = on(proxy.url(postgres_url), gate.saga, lease_seconds=3.0, poll_seconds=0.2)
        async with through as orchestrator, user(postgres_url) as somebody:
            handles = [await orchestrator.start(gate.saga, Order(), id=key) for key in keys]
            trap = (proxy.swallow_next if kind == "swallow" else proxy.lose_next)(b"AND owner = $3 AND status IN")
            await somebody.value("UPDATE amends.worker SET retired_at = 1.0 WHERE retired_at IS NULL RETURNING id")
            for key in keys:
                gate.gates[key].set()
            outcomes = await asyncio.gather(*(handle.outcome() for handle in handles))
            assert outcomes == [Completed(None)] * 5
            assert trap.sprung

    with Proxy(postgres_url) as proxy:
        asyncio.run(main(proxy))
