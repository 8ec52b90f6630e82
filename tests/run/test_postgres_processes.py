"""Real worker processes on one PostgreSQL: booting together, frozen, and with clocks of their own."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import psycopg
import pytest
from little import Order, calls, lingering_saga, napping_saga, order_saga
from postgres_worker import shop
from processes import HERE, Process, process, wait_for

from amends import Completed, Saga
from amends.errors import SchemaMismatch

CLOCK = HERE.parent / "chaos" / "clock"
WORKERS = 8


@contextmanager
def pg_worker(url: str, book: Path, **environment: str) -> Iterator[Process]:
    """A worker, not yet waited for."""
    script = str(HERE / "postgres_worker.py")
    with process(script, database=book, LITTLE_URL=url, **environment) as child:
        yield child


def value(url: str, statement: str, *values: object) -> Any:
    """One value, read now."""
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(statement, values).fetchone()
        return None if row is None else row[0]


def test_eight_workers_boot_together_on_an_empty_database_while_one_is_killed_in_mid_migration(
    postgres_url: str, tmp_path: Path
) -> None:
    book = tmp_path / "book"
    # Others wait for its lock; or the machine was so slow to start them that the server has rolled it back by then.
    wait = "SELECT count(*) <> 1 FROM pg_locks WHERE locktype = 'advisory'"
    with ExitStack() as stack:
        killed = stack.enter_context(pg_worker(postgres_url, book, AMENDS_FAULT="migrate.inside:1:stop"))
        child = psutil.Process(killed.child.pid)
        wait_for(lambda: child.status() == psutil.STATUS_STOPPED, "it is amid the migration")
        booting = [stack.enter_context(pg_worker(postgres_url, book)) for _ in range(WORKERS - 1)]
        wait_for(lambda: bool(value(postgres_url, wait)), "others wait for it, or it is gone")
        killed.kill()
        booting.append(stack.enter_context(pg_worker(postgres_url, book)))
        for worker in booting:
            worker.until("ready")
        assert value(postgres_url, "SELECT count(*) FROM amends.worker WHERE retired_at IS NULL") == WORKERS
        assert value(postgres_url, "SELECT count(*) FROM amends.schema_version") == 1
        assert asyncio.run(run_one(postgres_url)) == Completed("shipped 100")


def test_a_migration_that_is_killed_before_its_commit_leaves_nothing_and_the_next_does_it(
    postgres_url: str, tmp_path: Path
) -> None:
    with pg_worker(postgres_url, tmp_path / "book", AMENDS_FAULT="migrate.inside") as killed:
        assert killed.wait() == -signal.SIGKILL
    wait_for(lambda: not value(postgres_url, "SELECT to_regclass('amends.saga') IS NOT NULL"), "nothing is left")
    with pg_worker(postgres_url, tmp_path / "book") as child:
        child.until("ready")
    assert value(postgres_url, "SELECT version FROM amends.schema_version") >= 1


async def run_one(url: str) -> Any:
    """A client's saga."""
    async with shop(url).client() as client:
        return await client.run(order_saga, Order())


def test_code_that_is_older_than_the_floor_and_code_that_is_newer_than_the_schema_refuse_in_words(
    postgres_url: str,
) -> None:
    async def enter(*, migrate: bool) -> None:
        orchestrator = shop(postgres_url)
        orchestrator.config = orchestrator.config.__class__(**{**vars_of(orchestrator.config), "migrate": migrate})
        async with orchestrator:
            pass

    with pytest.raises(SchemaMismatch, match="amends db upgrade"):
        asyncio.run(enter(migrate=False))
    asyncio.run(enter(migrate=True))
    value(postgres_url, "UPDATE amends.schema_version SET version = 900, floor = 900 RETURNING 1")
    with pytest.raises(SchemaMismatch, match="Upgrade this process"):
        asyncio.run(enter(migrate=True))
    value(postgres_url, "UPDATE amends.schema_version SET version = 0, floor = 0 RETURNING 1")
    with pytest.raises(SchemaMismatch, match="amends db upgrade"):
        asyncio.run(enter(migrate=False))


def vars_of(config: Any) -> dict[str, Any]:
    """The fields of a frozen value."""
    return {name: getattr(config, name) for name in config.__dataclass_fields__}


# Frozen

# Whoever has a row has a lock on its own transaction, too. One that was frozen between preparing a statement and
# running it keeps a table from being changed, and nobody from its rows.
LOCKS = """
SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE client_port = ANY(%s) AND locktype IN ('tuple', 'transactionid')
"""


POINTS = ["claim.after:2", "commit.before:3", "commit.after:3", "attempt.before:30", "attempt.after:30"]


@pytest.mark.parametrize("at", [*POINTS, "20 calls", "200 calls"])
def test_a_worker_frozen_amid_its_work_holds_no_lock_is_taken_over_and_thawed_changes_nothing_and_serves_on(
    at: str, postgres_url: str, tmp_path: Path
) -> None:
    book, sagas = tmp_path / "book", 300
    fault = {"AMENDS_FAULT": f"{at}:stop"} if at in POINTS else {}
    with pg_worker(postgres_url, book, LITTLE_LEASE="3", **fault) as frozen:
        frozen.until("ready")
        number = value(postgres_url, "SELECT max(id) FROM amends.worker")
        asyncio.run(start_many(postgres_url, sagas))
        if at not in POINTS:
            wait_for(lambda: len(calls(book)) > int(at.split()[0]), "it is amid its work")
            os.kill(frozen.child.pid, signal.SIGSTOP)
        child = psutil.Process(frozen.child.pid)
        wait_for(lambda: child.status() == psutil.STATUS_STOPPED, "it is frozen")
        ports = [line.laddr.port for line in child.net_connections("tcp") if line.status == "ESTABLISHED"]
        assert ports
        wait_for(lambda: value(postgres_url, LOCKS, ports) == 0, "what was on its way is done, and holds nothing")
        assert value(postgres_url, "SELECT count(*) FROM amends.saga WHERE owner = %s", number), "it was amid its work"

        with pg_worker(postgres_url, book, LITTLE_LEASE="3") as heir:
            heir.until("ready")
            ended = "SELECT count(*) = %s FROM amends.saga WHERE status = 'completed'"
            wait_for(lambda: bool(value(postgres_url, ended, sagas)), "the heir has ended all")
            written = value(postgres_url, "SELECT count(*) FROM amends.journal")
            assert heir.terminate() == 0
        os.kill(frozen.child.pid, signal.SIGCONT)
        alive = "SELECT count(*) = 1 FROM amends.worker WHERE retired_at IS NULL AND id > %s"
        wait_for(lambda: bool(value(postgres_url, alive, number)), "it registers anew")
        assert value(postgres_url, "SELECT count(*) FROM amends.journal") == written, "the zombie changed nothing"
        assert asyncio.run(run_one(postgres_url)) == Completed("shipped 100"), "and serves new work"
        assert value(postgres_url, "SELECT survived FROM amends.worker WHERE id = %s", number)
    keys = {(call.saga, call.step, call.phase): call.key for call in calls(book)}
    assert all(keys[call.saga, call.step, call.phase] == call.key for call in calls(book)), "one key for each effect"


def test_a_worker_frozen_between_begin_and_commit_behind_a_pooler_is_taken_over_too(
    pgbouncer_url: str, postgres_url: str, tmp_path: Path
) -> None:
    book, sagas = tmp_path / "book", 20
    pooled = f"{pgbouncer_url}?pooling=transaction&direct={quote(postgres_url, safe='')}"
    with pg_worker(pooled, book, LITTLE_LEASE="3", AMENDS_FAULT="commit.inside:60:stop") as frozen:
        frozen.until("ready")
        asyncio.run(start_many(postgres_url, sagas, lingering_saga))
        child = psutil.Process(frozen.child.pid)
        wait_for(lambda: child.status() == psutil.STATUS_STOPPED, "it is frozen")
        number = value(postgres_url, "SELECT max(id) FROM amends.worker")
        assert value(postgres_url, "SELECT count(*) FROM amends.saga WHERE owner = %s", number), "it was amid its work"
        (tmp_path / "go").touch()
        with pg_worker(pooled, book, LITTLE_LEASE="3") as heir:
            heir.until("ready")
            ended = "SELECT count(*) = %s FROM amends.saga WHERE status IN ('completed', 'compensated')"
            wait_for(lambda: bool(value(postgres_url, ended, sagas)), "the heir has ended all")
            written = value(postgres_url, "SELECT count(*) FROM amends.journal")
            os.kill(frozen.child.pid, signal.SIGCONT)
            survived = "SELECT survived FROM amends.worker WHERE id = %s"
            wait_for(lambda: bool(value(postgres_url, survived, number)), "it finds itself retired")
            assert value(postgres_url, "SELECT count(*) FROM amends.journal") == written, "the zombie changed nothing"
            assert heir.terminate() == 0
        assert asyncio.run(run_one(postgres_url)) == Completed("shipped 100"), "it serves new work"


async def start_many(url: str, count: int, saga: Saga[Order, str] = order_saga) -> None:
    """Start sagas, as a client does."""
    async with shop(url).client() as client:
        await asyncio.gather(*(client.start(saga, Order(), id=f"n{n}") for n in range(count)))


# Clocks


@pytest.mark.parametrize(("first", "second"), [("300", "-300"), ("-300", "300")])
def test_workers_whose_clocks_are_minutes_off_keep_leases_due_times_and_takeover_right(
    first: str, second: str, postgres_url: str, tmp_path: Path
) -> None:
    book = tmp_path / "book"

    def skewed(seconds: str) -> dict[str, str]:
        path = os.pathsep.join([str(CLOCK), os.environ.get("PYTHONPATH", "")])
        return {"CHAOS_SKEW": seconds, "PYTHONPATH": os.pathsep.join([str(HERE), path]), "LITTLE_LEASE": "3"}

    async def start() -> None:
        async with shop(postgres_url).client() as client:
            await client.start(lingering_saga, Order(), id="lingering")
            await client.start(napping_saga, Order(nap=6.0), id="nap")

    with pg_worker(postgres_url, book, **skewed(first)) as one, pg_worker(postgres_url, book, **skewed(second)) as two:
        one.until("ready")
        two.until("ready")
        asyncio.run(start())
        wait_for(lambda: any(call.step == "linger" for call in calls(book)), "one of them has it")
        early = "SELECT bool_or(status = 'completed' AND updated_at < created_at + 6) FROM amends.saga"
        woken = "SELECT count(*) = 1 FROM amends.saga WHERE key = 'nap' AND status = 'completed'"
        wait_for(lambda: bool(value(postgres_url, woken)), "the nap is over")
        assert not value(postgres_url, early)
        assert value(postgres_url, "SELECT updated_at - created_at < 30 FROM amends.saga WHERE key = 'nap'")
        assert value(postgres_url, "SELECT count(*) FROM amends.worker WHERE retired_at IS NOT NULL") == 0

        owner = value(postgres_url, "SELECT pid FROM amends.worker w JOIN amends.saga ON owner = w.id")
        (dead, heir) = (one, two) if one.child.pid == owner else (two, one)
        dead.kill()
        (tmp_path / "go").touch()
        done = "SELECT owner IS NULL FROM amends.saga WHERE key = 'lingering'"
        wait_for(lambda: bool(value(postgres_url, done)), "it is taken over")
        assert heir.child.poll() is None
        assert value(postgres_url, "SELECT count(*) FROM amends.worker WHERE retired_at IS NOT NULL") == 1
