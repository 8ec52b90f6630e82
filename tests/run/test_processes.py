"""A worker that dies, drains or is poisoned, as real processes with real signals."""

from __future__ import annotations

import sqlite3
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from little import (
    Approval,
    Order,
    approval,
    approved_saga,
    calls,
    lingering_saga,
    napping_saga,
    order_saga,
    poisonous_saga,
    shop,
)
from processes import Process, process, wait_for, worker

from amends import Compensated, Completed, Parked
from amends.errors import WorkerRunning
from amends.run.blocking import Blocking, BlockingHandle

LITTLE = str(Path(__file__).with_name("little.py"))


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A file that is not there yet."""
    return tmp_path / "sagas.db"


@pytest.fixture
def client(database: Path) -> Any:
    """A client on the file, in this process."""
    blocking = shop(database).blocking()
    yield blocking
    blocking.close()


def test_a_worker_killed_with_many_in_flight_is_followed_by_one_that_ends_them_all(
    database: Path, client: Blocking
) -> None:
    handles: list[BlockingHandle[Any]] = []
    with worker(database) as first:
        for number in range(60):
            handles.append(client.start(order_saga, Order(number, refused=number % 3 == 0), id=f"n{number}"))
            if number == 40:
                first.kill()

    with worker(database):
        outcomes = [handle.outcome(timeout=60) for handle in handles]

    book = calls(database)
    for number, outcome in enumerate(outcomes):
        mine = [call for call in book if call.saga == f"n{number}"]
        expected = Completed if number % 3 else (Compensated, Parked)  # parked: the pivot was killed, then said no
        assert isinstance(outcome, expected), outcome
        keys = {(call.step, call.phase): call.key for call in mine}
        assert all(call.key == keys[call.step, call.phase] for call in mine), "one key per step and phase, for ever"
        if isinstance(outcome, Completed):
            assert [call for call in mine if call.phase == "undo"] == []


def test_sigterm_lets_the_attempt_in_flight_finish_and_the_saga_goes_on_after_a_restart(
    database: Path, client: Blocking
) -> None:
    with worker(database) as first:
        handle = client.start(lingering_saga, Order(3), id="one")
        wait_for(lambda: any(call.step == "linger" for call in calls(database)), "the attempt is in flight")
        first.child.send_signal(15)
        database.with_name("go").touch()
        assert first.wait() == 0
        assert first.errors() == ""

    with worker(database):
        assert handle.outcome(timeout=60) == Completed("shipped 3")

    assert [(call.step, call.attempt) for call in calls(database, "one")] == [
        ("reserve", 1),
        ("linger", 1),
        ("decide", 1),
        ("ship", 1),
    ]


def test_a_drain_gives_up_on_an_attempt_that_takes_too_long_and_it_is_tried_again(
    database: Path, client: Blocking
) -> None:
    code = "import asyncio, little\nlittle.orchestrator = little.shop(drain_seconds=0.2)\nasyncio.run(little.work())"
    with process(database=database, code=code) as first:
        first.until("ready")
        handle = client.start(lingering_saga, Order(3), id="one")
        wait_for(lambda: any(call.step == "linger" for call in calls(database)), "the attempt is in flight")
        assert first.terminate() == 0

    database.with_name("go").touch()
    with worker(database):
        outcome = handle.outcome(timeout=60)

    assert isinstance(outcome, Compensated), "its only attempt is unresolved, so the step is unknown"
    assert [call.step for call in calls(database, "one") if call.phase == "undo"] == ["linger", "reserve"]


def test_a_second_worker_is_refused_and_told_what_to_do(database: Path) -> None:
    with worker(database) as first, process(LITTLE, database=database) as second:
        assert second.wait() == 1
        errors = second.errors()

    assert WorkerRunning.__name__ in errors
    assert f"another worker (process {first.child.pid})" in errors
    assert "client_lifespan" in errors


def test_a_killed_worker_leaves_nothing_to_wait_for(database: Path, client: Blocking) -> None:
    with worker(database) as first:
        first.kill()

    with worker(database):
        assert client.run(order_saga, Order(1), timeout=30) == Completed("shipped 1")


def test_a_sleep_survives_restarts(database: Path, client: Blocking) -> None:
    with worker(database):
        handle = client.start(napping_saga, Order(nap=6.0), id="one")
        wait_for(lambda: owner_of(database, "one") is None, "nobody owns it while it sleeps")

    with worker(database) as second:
        second.kill()

    with worker(database):
        assert handle.outcome(timeout=60) == Completed(None)

    assert [call.attempt for call in calls(database, "one")] == [1]


def test_a_signal_sent_while_no_worker_runs_is_kept_for_the_next(database: Path, client: Blocking) -> None:
    with worker(database):
        handle = client.start(approved_saga, Order(2), id="one")
        wait_for(lambda: bool(calls(database, "one")), "it is on its way")

    with sqlite3.connect(database, isolation_level=None) as mine:
        mine.execute("BEGIN IMMEDIATE")
        client.signal("one", approval, Approval(granted=True), within=mine)
        mine.execute("COMMIT")
    mine.close()

    with worker(database):
        assert handle.outcome(timeout=60) == Completed("shipped 2")


def test_a_poison_saga_is_found_and_parked_and_its_neighbours_finish(database: Path, client: Blocking) -> None:
    poison = client.start(poisonous_saga, Order(poison=True), id="poison")
    neighbours = [client.start(poisonous_saga, Order(number), id=f"n{number}") for number in range(8)]

    lives = 0
    while client_status(database, "poison") != "parked":
        lives += 1
        assert lives <= 10, "the supervisor has restarted the worker ten times"
        with process(LITTLE, database=database) as life:
            wait_for(partial(settled, life, database), "the worker dies, or the saga is parked")
            if life.child.poll() is None:
                assert [handle.outcome(timeout=60) for handle in neighbours] == [
                    Completed(f"shipped {number}") for number in range(8)
                ]

    outcome = poison.outcome(timeout=30)
    assert isinstance(outcome, Parked)
    assert "took its worker down 3 times, running alone" in outcome.reason
    assert [entry.step for entry in outcome.unsettled] == ["reserve", "bite"]
    assert lives >= 4
    per_saga = Counter(call.saga for call in calls(database) if call.step == "bite")
    assert all(per_saga[f"n{number}"] <= 4 for number in range(8)), per_saga


def settled(life: Process, database: Path) -> bool:
    """Whether a life of the worker is over, or the poison is found."""
    return life.child.poll() is not None or client_status(database, "poison") == "parked"


def client_status(database: Path, key: str) -> str:
    """What the head row says."""
    return str(_head(database, key, "status"))


def owner_of(database: Path, key: str) -> int | None:
    """Who owns the saga."""
    found = _head(database, key, "owner")
    return found if isinstance(found, int) else None


def _head(database: Path, key: str, column: str) -> object:
    connection = sqlite3.connect(database, timeout=60)
    row = connection.execute(f"SELECT {column} FROM amends_saga WHERE key = ?", (key,)).fetchone()  # noqa: S608  # no input
    connection.close()
    return row[0]
