"""What a SQLite file costs as it grows: nothing on the hot path depends on how much is in it.

Cost is counted in instructions of SQLite's virtual machine: they do not depend on the machine.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest
from store_child import INFO, PLAN, new_saga, next_row, number_of

from amends.store import sqlite_file
from amends.store.base import Filter, Head, MailAnswer, NewMail
from amends.store.sqlite import SqliteStore
from amends.store.sqlite_file import SQL

MANY = 100_000
OPEN_INDEX = "amends_saga_open (ns=? AND owner=?"

# The statements of a saga's life, and how each must find its rows.
HOT = {
    "worker_alive": "amends_worker USING INTEGER PRIMARY KEY",
    "journal_add": "amends_journal USING PRIMARY KEY (ns=? AND saga=? AND seq=?)",
    "journal_op": "amends_journal USING PRIMARY KEY (ns=? AND saga=? AND seq=?)",
    "saga_change": "amends_saga USING PRIMARY KEY (ns=? AND id=?)",
    "mail_answer": "amends_mail USING INDEX sqlite_autoindex_amends_mail_1 (ns=? AND saga=? AND message=?)",
    "peek": f"{OPEN_INDEX} AND wake_at<?)",
    "claim_due": f"{OPEN_INDEX} AND wake_at<?)",
    "claim_mailed": "m USING INDEX amends_mail_open (ns=?)",
    "claim_stalled": "amends_saga_trouble (ns=?)",
    "owned_by": f"{OPEN_INDEX})",
    "saga_own": "amends_saga USING PRIMARY KEY (ns=? AND id=?)",
    "saga_release": "amends_saga USING PRIMARY KEY (ns=? AND id=?)",
    "journal_rows": "amends_journal USING PRIMARY KEY (ns=? AND saga=?)",
    "mail_owned": "m USING INDEX amends_mail_open (ns=?)",
    "mail_add": "amends_saga_key (ns=? AND key=?)",
    "mail_sent": "amends_saga_key (ns=? AND key=?)",
    "mail_answer_ended": "m USING INDEX amends_mail_open (ns=?)",
    "head": "amends_saga_key (ns=? AND key=?)",
    "worker_owners": "amends_saga_open (ns=? AND owner>?)",
    "find": "amends_saga USING PRIMARY KEY (ns=? AND id<?)",
    "find_open": "COVERING INDEX amends_saga_open",
    "find_trouble": "amends_saga_trouble (ns=? AND id<?)",
    "count_open": "COVERING INDEX amends_saga_open",
    "prunable": "amends_saga USING PRIMARY KEY (ns=? AND id>? AND id<?)",
    "overdue": f"{OPEN_INDEX} AND wake_at<?)",
    "doctor_lag": f"{OPEN_INDEX} AND wake_at<?)",
}


def plan_of(name: str) -> str:
    """How SQLite goes about a statement."""
    statement = SQL[name]
    numbered = [int(number) for number in re.findall(r"\?(\d+)", statement)]
    values = (None,) * (max(numbered) if numbered else statement.count("?"))
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        sqlite_file.migrate(connection, Path("memory"))
        return " | ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values))


@pytest.mark.parametrize("name", sorted(HOT))
def test_a_hot_statement_finds_its_rows_by_an_index(name: str) -> None:
    plan = plan_of(name)

    assert HOT[name] in plan
    assert not re.search(r"SCAN (?!json_each|CONSTANT)", plan), plan


async def filled(path: Path, *, waiting: int, ended: int, stalled: int = 0) -> tuple[SqliteStore, int]:
    """A store with many sagas, and a worker."""
    store = SqliteStore(path, "default")
    await store.open(work=True)
    await store.add_plans([PLAN])
    worker = await store.register(INFO)
    rows: list[tuple[object, ...]] = []
    for index in range(waiting + ended + stalled):
        status = "running" if index < waiting + stalled else "completed"
        why = "no code" if waiting <= index < waiting + stalled else None
        wake = 4e9 if index < waiting else None
        rows.append((1, number_of(index), f"s{index}", 1, status, None, 1, wake, 1.0, 1.0, None, None, why, b""))
    insert = (
        "INSERT INTO amends_saga (ns, id, key, plan, status, owner, epoch, wake_at, created_at, updated_at, stuck, "
        "reason, stalled, input_hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    )
    journal = "INSERT INTO amends_journal VALUES (1, ?, 0, 1, '[]')"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.executemany(insert, rows)
        connection.executemany(journal, [(row[1],) for row in rows])
        connection.commit()
    return store, worker


async def cost(store: SqliteStore, act: Callable[[], Awaitable[object]]) -> int:
    """The instructions that something takes."""
    count = 0

    def step() -> int:
        nonlocal count
        count += 1
        return 0

    await store._thread.run(lambda connection: connection.set_progress_handler(step, 1))
    await act()
    await store._thread.run(lambda connection: connection.set_progress_handler(None, 0))
    return count


async def life(store: SqliteStore, worker: int) -> dict[str, int]:
    """What each turn in a saga's life costs."""
    saga, waits = number_of(10_000_000), number_of(10_000_001)
    costs: dict[str, int] = {}

    async def count(name: str, act: Callable[[], Awaitable[object]]) -> None:
        costs[name] = await cost(store, act)

    now = store.now()
    await count("start", lambda: store.commit(worker, [new_saga("a", saga, owner=worker)]))
    await count("step", lambda: store.commit(worker, [next_row(saga, 1)]))
    await count("mail", lambda: store.send([NewMail("a", "m", "signal", b"{}")]))
    await count("take mail", lambda: store.owned_mail(worker))
    answer = (MailAnswer("m", "accepted", ""),)
    await count("answer", lambda: store.commit(worker, [next_row(saga, 2)._replace(answers=answer)]))
    await count("look at it", lambda: store.load("a"))
    await count("end", lambda: store.commit(worker, [next_row(saga, 3, Head("completed", None, None))]))
    await count("start by a client", lambda: store.commit(None, [new_saga("b", waits, due=now - 1)]))
    await count("peek", store.peek)
    await count("claim", lambda: store.claim(worker, [1], 10))
    await count("find what is owned", lambda: store.owned(worker, []))
    await count("let go", lambda: store.release(worker, [(waits, now + 3600)]))
    await count("peek in vain", store.peek)
    await count("claim in vain", lambda: store.claim(worker, [1], 10))
    await count("answer the late", lambda: store.answer_ended(10))
    await count("list", lambda: store.find(Filter(limit=2)))
    await count("find the lost", lambda: store.retire_expired(worker))
    return costs


def test_no_turn_in_a_sagas_life_costs_more_beside_many_others(tmp_path: Path) -> None:
    async def run() -> tuple[dict[str, int], dict[str, int]]:
        few, few_worker = await filled(tmp_path / "few.db", waiting=10, ended=10)
        many, many_worker = await filled(tmp_path / "many.db", waiting=MANY, ended=MANY // 2)
        costs = await life(few, few_worker), await life(many, many_worker)
        await few.close()
        await many.close()
        return costs

    few, many = asyncio.run(run())

    assert min(few.values()) > 10
    dearer = {name: (few[name], many[name]) for name in few if many[name] > few[name] * 1.05 + 10}
    assert dearer == {}


def test_looking_for_work_does_not_meet_stalled_sagas(tmp_path: Path) -> None:
    async def run() -> tuple[int, int]:
        few, _ = await filled(tmp_path / "few.db", waiting=10, ended=0, stalled=1)
        many, _ = await filled(tmp_path / "many.db", waiting=10, ended=0, stalled=5000)
        costs = await cost(few, few.peek), await cost(many, many.peek)
        await few.close()
        await many.close()
        return costs

    few, many = asyncio.run(run())

    assert many <= few + 10


def test_open_sagas_and_trouble_are_found_without_a_look_at_those_that_ended(tmp_path: Path) -> None:
    async def run(ended: int, name: str) -> list[int]:
        store, _ = await filled(tmp_path / name, waiting=20, ended=ended, stalled=5)
        costs = [
            await cost(store, lambda: store.find(Filter(("parked",)))),
            await cost(store, lambda: store.find(Filter(stuck=True))),
            await cost(store, lambda: store.count(open_only=True)),
        ]
        await store.close()
        return costs

    few, many = asyncio.run(run(20, "few.db")), asyncio.run(run(20_000, "many.db"))

    assert all(one <= other * 1.05 + 10 for one, other in zip(many, few, strict=True)), (few, many)


def test_a_worker_long_gone_is_forgotten_and_one_in_an_open_sagas_time_is_not(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"

    async def run(created_at: float, retired_at: float) -> list[int]:
        store, gone = await filled(path, waiting=1, ended=0)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("UPDATE amends_saga SET created_at = ?", (created_at,))
            connection.execute("UPDATE amends_worker SET retired_at = ? WHERE id = ?", (retired_at, gone))
            connection.commit()
        await store.register(INFO)
        left = [row.id for row in await store.workers() if row.id == gone]
        await store.close()
        path.unlink()
        return left

    assert asyncio.run(run(created_at=100.0, retired_at=50.0)) == []
    assert asyncio.run(run(created_at=50.0, retired_at=100.0)) != []
