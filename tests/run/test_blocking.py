"""The orchestrator in synchronous programs."""

from __future__ import annotations

import os
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from little import Approval, Order, approval, approved_saga, order_saga, shop
from processes import process, worker

from amends import Compensated, Completed
from amends.errors import IdConflict, NotRunning, TooLate
from amends.run.orchestrator import Orchestrator


@pytest.fixture
def orchestrator(tmp_path: Path) -> Orchestrator:
    """The shop on a fresh file."""
    return shop(tmp_path / "sagas.db")


def test_blocking_that_works_runs_a_saga_to_its_end(orchestrator: Orchestrator) -> None:
    sagas = orchestrator.blocking(work=True)

    try:
        assert sagas.run(order_saga, Order(5), id="a") == Completed("shipped 5")
        assert sagas.run(order_saga, Order(refused=True), id="b") == Compensated(
            "decide: refused", "rejected", "decide"
        )
    finally:
        sagas.close()


def test_blocking_is_one_object_per_process_and_kind(orchestrator: Orchestrator) -> None:
    client, working = orchestrator.blocking(), orchestrator.blocking(work=True)

    assert orchestrator.blocking() is client
    assert orchestrator.blocking(work=True) is working
    assert client is not working


def test_blocking_is_a_client_beside_a_worker(tmp_path: Path) -> None:
    database = tmp_path / "sagas.db"
    sagas = shop(database).blocking()

    with worker(database):
        handle = sagas.start(approved_saga, Order(7), id="one")
        sagas.signal("one", approval, Approval(granted=True))
        outcome = handle.outcome(timeout=30)
        with pytest.raises(TooLate):
            sagas.cancel("one", reason="late")
        sagas.close()

    assert outcome == Completed("shipped 7")


def test_blocking_serves_several_threads_at_once(orchestrator: Orchestrator) -> None:
    sagas = orchestrator.blocking(work=True)

    try:
        with ThreadPoolExecutor(8) as pool:
            outcomes = list(pool.map(lambda number: sagas.run(order_saga, Order(number), id=f"n{number}"), range(80)))
    finally:
        sagas.close()

    assert outcomes == [Completed(f"shipped {number}") for number in range(80)]


def test_a_start_within_a_transaction_exists_if_and_only_if_that_commits(
    orchestrator: Orchestrator, tmp_path: Path
) -> None:
    sagas = orchestrator.blocking(work=True)
    sagas.session()
    mine = sqlite3.connect(tmp_path / "sagas.db", timeout=60, isolation_level=None)

    try:
        mine.execute("BEGIN IMMEDIATE")
        sagas.start(order_saga, Order(1), id="no", within=mine)
        mine.execute("ROLLBACK")
        mine.execute("BEGIN IMMEDIATE")
        kept = sagas.start(order_saga, Order(2), id="yes", within=mine)
        mine.execute("COMMIT")

        assert kept.outcome(timeout=30) == Completed("shipped 2")
        assert sagas.run(order_saga, Order(3), id="no") == Completed("shipped 3"), "the id must be free"
    finally:
        mine.close()
        sagas.close()


def test_a_start_within_a_transaction_runs_on_the_callers_thread(orchestrator: Orchestrator, tmp_path: Path) -> None:
    sagas = orchestrator.blocking()
    sagas.session()
    mine = sqlite3.connect(tmp_path / "sagas.db", isolation_level=None)  # refuses every other thread

    mine.execute("BEGIN IMMEDIATE")
    sagas.start(order_saga, Order(1), id="one", within=mine)
    with pytest.raises(IdConflict):
        sagas.start(order_saga, Order(2), id="one", within=mine)
    mine.execute("COMMIT")

    mine.close()
    sagas.close()


def test_closing_tells_whoever_waits_and_the_next_use_starts_anew(orchestrator: Orchestrator) -> None:
    sagas = orchestrator.blocking(work=True)
    handle = sagas.start(approved_saga, Order(4), id="one")
    told: list[BaseException] = []

    def wait() -> None:
        try:
            handle.outcome()
        except BaseException as error:  # noqa: BLE001  # whatever it is, the test looks at it
            told.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    while sagas.session().worker is None or not sagas.session().waiting.anybody:
        pass
    sagas.close()
    waiting.join(30)

    assert [type(error) for error in told] == [NotRunning]
    sagas.signal("one", approval, Approval(granted=True))
    assert handle.outcome(timeout=30) == Completed("shipped 4")
    sagas.close()


def test_a_program_that_ends_without_closing_leaves_in_order_and_silently(tmp_path: Path) -> None:
    code = """
from little import *
sagas = shop(DATABASE).blocking(work=True)
print(sagas.run(order_saga, Order(6), id="one"))
"""
    with process(database=tmp_path / "sagas.db", code=code) as child:
        assert child.wait() == 0
        assert child.errors() == ""

    again = shop(tmp_path / "sagas.db").blocking(work=True)  # the lock is free, and the registration gone
    assert again.handle(order_saga, "one").outcome(timeout=30) == Completed("shipped 6")
    again.close()


def test_a_forked_child_starts_anew_and_the_parent_goes_on(tmp_path: Path) -> None:
    code = """
import os, sys, threading, warnings
from little import *
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)  # that is what is tested
sagas = orchestrator.blocking()
stop = threading.Event()
def busy():
    number = 0
    while not stop.is_set():
        number += 1
        sagas.start(order_saga, Order(number), id=f"parent-{number}")
thread = threading.Thread(target=busy)
thread.start()
children = []
for number in range(5):
    child = os.fork()
    if child == 0:
        assert sagas.run(order_saga, Order(number), id=f"child-{number}") == sagas.handle(
            order_saga, f"child-{number}").outcome(timeout=60)
        sys.exit(0)
    children.append(child)
codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
stop.set()
thread.join()
print(sagas.run(order_saga, Order(99), id="last"), codes, flush=True)
"""
    database = tmp_path / "sagas.db"
    with worker(database), process(database=database, code=code) as child:
        child.until("Completed(result='shipped 99', closed=()) [0, 0, 0, 0, 0]")
        assert child.wait() == 0
        assert child.errors() == ""

    connection = sqlite3.connect(database)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_blocking_without_a_file_that_can_be_opened_says_so_each_time(tmp_path: Path) -> None:
    sagas = shop(tmp_path / "nowhere" / "sagas.db").blocking()

    for _ in range(2):
        with pytest.raises(Exception, match="there is no directory"):
            sagas.session()

    os.mkdir(tmp_path / "nowhere")
    sagas.start(order_saga, Order(), id="one")
    sagas.close()
