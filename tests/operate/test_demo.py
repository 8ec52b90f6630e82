"""The demo: it ends well through both kills, leaves nothing behind, and would say so if it did not.

Guarantees: the demo is run as a newcomer runs it, as a process of its own.
Must not: trust what the demo says about itself; the books are read again.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from amends.operate.cli import demo as command
from amends.operate.demo import finale
from amends.operate.demo.ledger import Books, Counts, Said, check, read_books
from amends.operate.demo.process import Child, WorkerDied
from amends.operate.demo.story import Result
from amends.operate.demo.system import Run
from amends.operate.demo.watch import View
from amends.operate.demo.weather import Trouble, orders_of

ROOT = Path(__file__).parents[2]
SAGAS = ROOT / "src" / "amends" / "operate" / "demo" / "sagas.py"
ORDERS, SEED = 16, 5
DEMO = (sys.executable, "-m", "amends.operate.demo", "--fast", "--orders", str(ORDERS), "--seed", str(SEED))
LONG_SECONDS = 150


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One run whose files are kept: what it says as JSON, and where they are."""
    home = tmp_path_factory.mktemp("kept")
    ended = subprocess.run(
        [*DEMO, "--json", "--keep"], check=False, env=_at(home), capture_output=True, text=True, timeout=LONG_SECONDS
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    said: dict[str, Any] = json.loads(ended.stdout)
    (said["directory"],) = home.iterdir()
    return said


def _at(home: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(home), "PYTHONUNBUFFERED": "1"}


def _processes_at(home: Path) -> list[str]:
    """The command lines of live processes that work in a directory."""
    found: list[str] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue  # it has just ended
        if str(home) in line and "worker" in line:
            found.append(line)
    return found


def _wait_until(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < until, "it did not come about"
        time.sleep(0.02)


# A run that ends well


def test_a_worker_dies_while_sagas_go_forward_and_another_while_they_compensate(told: dict[str, Any]) -> None:
    kills = told["kills"]

    assert {kill["going"] for kill in kills} == {"forward", "back"}
    assert len({kill["pid"] for kill in kills}) == len(kills) >= 2
    assert all(kill["in_flight"] for kill in kills)


def test_every_saga_of_a_killed_worker_is_taken_up_and_ends(told: dict[str, Any]) -> None:
    orphans = {saga for kill in told["kills"] for saga in kill["sagas"]}
    interrupted = {saga for kill in told["kills"] for saga in kill["in_flight"]}

    assert interrupted <= orphans
    assert interrupted <= set(told["taken_up"])  # their histories say so; of the others nothing was lost
    assert {told["outcomes"][saga] for saga in orphans} <= {"completed", "compensated"}


def test_some_are_compensated_and_one_is_parked_and_mended_by_a_person(told: dict[str, Any]) -> None:
    credentials = {order.id for order, trouble in orders_of(ORDERS, SEED) if trouble is Trouble.CREDENTIALS}
    mended = credentials & set(told["mended"])  # on a slow machine one may end otherwise before it parks

    assert told["completed"] + told["compensated"] == len(told["outcomes"]) == ORDERS
    assert told["compensated"] >= 3
    assert mended
    assert {told["outcomes"][order] for order in mended} == {"completed"}


def test_repeats_reach_the_services_and_are_absorbed(told: dict[str, Any]) -> None:
    assert told["repeats_absorbed"] >= 1
    assert told["effects"] > ORDERS


def test_the_ledger_balances_to_the_cent(told: dict[str, Any]) -> None:
    cents = told["cents"]
    worth = sum(order.cents for order, _ in orders_of(ORDERS, SEED) if told["outcomes"][order.id] == "completed")

    assert cents["charged"] - cents["refunded"] == cents["worth"] == worth
    assert cents["refunded"] > 0
    assert cents["unsettled"] == 0
    assert all(line["initial"] == line["available"] + line["shipped"] for line in told["stock"])


@pytest.mark.parametrize(
    ("file", "wrong", "named"),
    [
        (
            "payments.db",
            "INSERT INTO entry SELECT 'forged', order_id, cents FROM entry WHERE cents > 0 LIMIT 1",
            "order-",
        ),
        ("payments.db", "DELETE FROM entry WHERE cents < 0", "is compensated, but its entries are"),
        ("payments.db", "UPDATE entry SET cents = cents + 1 WHERE rowid = 1", "charged"),
        ("inventory.db", "UPDATE stock SET available = available - 1 WHERE sku = 'tea'", "tea: "),
        (
            "inventory.db",
            "UPDATE reservation SET status = 'reserved' WHERE status = 'shipped'",
            "were not shipped once",
        ),
        ("orders.db", "UPDATE orders SET status = 'open' WHERE status = 'cancelled'", "written down as open"),
        ("orders.db", "INSERT INTO orders VALUES ('order-x', 'Nobody', 1, 'open')", "order-x is in the books"),
    ],
)
def test_a_wrong_row_in_the_books_is_found_and_named(
    told: dict[str, Any], tmp_path: Path, file: str, wrong: str, named: str
) -> None:
    books = shutil.copytree(told["directory"], tmp_path / "books")
    said = [Said(order, told["outcomes"][order.id]) for order, _ in orders_of(ORDERS, SEED)]
    assert check(read_books(books), said).balances

    with closing(sqlite3.connect(books / file)) as db:
        changed = db.execute(wrong).rowcount
        db.commit()
    found = check(read_books(books), said)

    assert changed >= 1
    assert not found.balances
    assert any(named in trouble for trouble in found.troubles), found.troubles


# What is told, and what is left behind


def test_without_a_terminal_it_tells_the_story_in_lines_and_leaves_nothing_behind(tmp_path: Path) -> None:
    ended = subprocess.run(DEMO, check=False, env=_at(tmp_path), capture_output=True, text=True, timeout=LONG_SECONDS)

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert str(tmp_path) in ended.stdout.splitlines()[1]
    assert ended.stdout.count("kill -9 ") >= 2
    for line in ("parked, for a person", "operator: amends retry", "The ledger", "balances to the cent", "Next"):
        assert line in ended.stdout
    assert "\x1b" not in ended.stdout
    assert ended.stderr == ""
    assert list(tmp_path.iterdir()) == []
    assert _processes_at(tmp_path) == []


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_stops_its_worker_and_removes_its_files(tmp_path: Path, ending: signal.Signals) -> None:
    with _begun(tmp_path) as demo:
        demo.send_signal(ending)
        said, _ = demo.communicate(timeout=60)

    assert demo.returncode == 130, said
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []
    assert _processes_at(tmp_path) == []


def test_a_worker_leaves_when_the_demo_is_killed(tmp_path: Path) -> None:
    with _begun(tmp_path) as demo:
        assert _processes_at(tmp_path)

        demo.kill()
        demo.communicate(timeout=60)

    _wait_until(lambda: not _processes_at(tmp_path))


def _begun(home: Path) -> subprocess.Popen[str]:
    """A demo, not a fast one, whose first worker is at work."""
    slow = [argument for argument in DEMO if argument != "--fast"]
    demo = subprocess.Popen(
        [*slow, "--speed", "0.2"], env=_at(home), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert demo.stdout is not None
    while not re.search(r"worker \d+ starts", line := demo.stdout.readline()):
        assert line, "the demo ended before its worker started"
    return demo


def test_a_worker_that_cannot_start_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    words = "import sys; sys.exit('no such thing')"
    child = Child([sys.executable, "-c", words], tmp_path / "worker.log")

    with pytest.raises(WorkerDied, match="no such thing"):
        asyncio.run(child.start())


# A run that does not end well


def _bad_result() -> Result:
    order = orders_of(ORDERS, SEED)[0].order
    view = View(order, "running", ("succeeded", "running", "pending", "pending", "pending"))
    balance = check(Books((), (), (), ()), [Said(order, "running")])
    return Result((view,), (), Counts(1, 0, 0), balance, balance.troubles, {order.id: ["0.00 s  started"]}, 1.0)


def test_a_run_that_does_not_balance_names_the_saga_and_shows_its_history() -> None:
    text = "\n".join(line.plain for line in finale.ledger(_bad_result()))

    assert "order-001 has not ended: it is running" in text
    assert "order-001, from its history:\n  0.00 s  started" in text
    assert "balances to the cent" not in text


@pytest.mark.parametrize("arguments", [["--plain"], ["--json"]])
def test_a_run_that_does_not_end_well_has_exit_code_1(monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    monkeypatch.setattr(command, "_tell", lambda *_, **__: _bad_result())

    ended = CliRunner().invoke(command.demo, arguments)

    assert ended.exit_code == 1
    assert "has not ended" in ended.output


# What it is made of


def test_every_trouble_comes_at_least_once_and_a_seed_gives_the_same_orders() -> None:
    for count in (12, 13, 40, 200):
        placed = orders_of(count, SEED)

        assert {trouble for _, trouble in placed} == set(Trouble) - {Trouble.NO_REFUND}
        assert len({order.id for order, _ in placed}) == count
        assert placed == orders_of(count, SEED)
        assert placed != orders_of(count, SEED + 1)


def test_the_summary_says_what_the_ledger_says() -> None:
    result = _bad_result()
    said = finale.summary(result, Run(Path("somewhere"), ORDERS, SEED, 0.0, 0.0))

    assert said["well"] is False
    assert said["troubles"] == list(result.troubles)
    assert json.loads(json.dumps(said)) == said


def test_the_page_about_the_demo_shows_the_saga_as_it_is() -> None:
    page = (ROOT / "docs" / "start" / "demo.md").read_text()
    source = SAGAS.read_text()
    saga = source[source.index("PATIENT = ") :]

    assert saga in page
