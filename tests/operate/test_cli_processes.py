"""Real processes: workers that drain, are refused or break; runs that work or are clients."""

from __future__ import annotations

import json
import os
import pty
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from shop_floor import PATIENCE_SECONDS, TEA, Floor, Result

ORDERS = "--database=sqlite:///orders.db"
SLOW = '{"sku": "slow"}'


def statuses(floor: Floor) -> dict[str, str]:
    """Where every saga stands."""
    return {saga["id"]: saga["status"] for saga in floor.ok("list", ORDERS, "--json").data["sagas"]}


def stopped(floor: Floor, process: subprocess.Popen[str], number: signal.Signals) -> Result:
    """A process that was sent a signal."""
    process.send_signal(number)
    return floor.ended(process)


def test_a_worker_runs_what_clients_start_and_answers_them(floor: Floor) -> None:
    worker = floor.working()

    waited = floor.process("start", "shop:place_order", TEA, "--id=order-1", "--wait")
    declined = floor.process("start", "shop:place_order", '{"sku": "declined"}', "--wait", "--json")
    ran = floor.process("run", "shop:place_order", TEA, "--id=order-2")
    results = [floor.ended(process) for process in (waited, declined, ran)]
    end = stopped(floor, worker, signal.SIGTERM)

    assert [result.code for result in results] == [0, 3, 0]
    assert results[0].out == 'order-1 completed: {"code":"S-1"}\n'
    assert '"status": "compensated"' in results[1].out
    assert results[2].out.splitlines()[-1] == 'order-2 completed: {"code":"S-1"}'
    assert end.code == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_is_asked_to_stop_finishes_what_is_in_flight(floor: Floor, number: signal.Signals) -> None:
    worker = floor.working()
    floor.ok("start", "shop:place_order", SLOW, "--id=order-1")
    floor.wait_for((floor.directory / "charging").exists)

    worker.send_signal(number)
    assert worker.stderr is not None
    said = worker.stderr.readline()
    floor.touch("charged")
    end = floor.ended(worker)

    assert "finishes what is in flight; a second signal stops it at once" in said
    assert end.code == 0
    assert "has stopped" in end.err
    history = [line["text"] for line in floor.ok("show", "order-1", ORDERS, "--json").data["history"]]
    assert "charge_card succeeded" in history
    assert not [text for text in history if "without a clear answer" in text or "went down" in text]


def test_a_second_signal_stops_a_worker_at_once_and_the_next_one_takes_over(floor: Floor) -> None:
    worker = floor.working()
    floor.ok("start", "shop:place_order", SLOW, "--id=order-1")
    floor.wait_for((floor.directory / "charging").exists)
    worker.send_signal(signal.SIGTERM)
    assert worker.stderr is not None
    worker.stderr.readline()

    first = stopped(floor, worker, signal.SIGTERM)
    floor.touch("charged")
    after = floor.working()
    floor.wait_for(lambda: statuses(floor) == {"order-1": "completed"})
    end = stopped(floor, after, signal.SIGTERM)

    assert first.code == 128 + signal.SIGTERM
    assert "SIGTERM again: the worker stops at once" in first.err
    assert end.code == 0


def test_a_second_worker_is_refused_and_the_first_goes_on(floor: Floor) -> None:
    worker = floor.working()

    refused = floor.ended(floor.process("worker", "shop:orchestrator"))
    order = floor.order("order-1")
    end = stopped(floor, worker, signal.SIGTERM)

    assert refused.code == 8
    assert f"another worker (process {worker.pid}) works on" in refused.err
    assert "Traceback" not in refused.err
    assert (order.code, end.code) == (0, 0)


def test_a_worker_of_a_damaged_file_ends_with_a_clear_word(floor: Floor) -> None:
    (floor.directory / "orders.db").write_bytes(b"not a database, and never was one. " * 100)

    end = floor.ended(floor.process("worker", "shop:orchestrator"))

    assert end.code == 7
    assert "orders.db is damaged or is no database" in end.err
    assert "Traceback" not in end.err


def test_a_worker_whose_file_is_damaged_while_it_works_ends_with_a_clear_word(floor: Floor) -> None:
    worker = floor.working()
    floor.ok("start", "shop:place_order", TEA, "--id=order-1", "--wait")

    file = floor.directory / "orders.db"
    with file.open("r+b") as torn:
        torn.write(b"garbage!" * (file.stat().st_size // 8))
    end = floor.ended(worker)

    assert end.code == 7
    assert "the worker stops: " in end.err
    assert "orders.db is damaged or is no database" in end.err.splitlines()[-1]
    assert "Traceback" not in end.err


def test_a_worker_that_is_killed_is_followed_by_one_that_takes_its_sagas_up(floor: Floor) -> None:
    worker = floor.working()
    floor.ok("start", "shop:place_order", SLOW, "--id=order-1")
    floor.wait_for((floor.directory / "charging").exists)
    stopped(floor, worker, signal.SIGKILL)
    floor.touch("charged")

    after = floor.working()
    floor.wait_for(lambda: statuses(floor) == {"order-1": "completed"})
    stopped(floor, after, signal.SIGTERM)

    history = [line["event"] for line in floor.ok("show", "order-1", ORDERS, "--json").data["history"]]
    assert "adopted" in history


def test_a_run_beside_a_worker_that_does_not_know_the_saga_is_refused_and_does_not_hang(floor: Floor) -> None:
    with (floor.directory / "shop.py").open("a") as source:
        source.write("other = Orchestrator('sqlite:///orders.db', sagas=[alone])\n")
    worker = floor.working()

    refused = floor.ended(floor.process("run", "shop:other", "alone", TEA))
    stopped(floor, worker, signal.SIGTERM)

    assert refused.code == 8
    assert "the worker that holds this database does not run 'alone' (it runs: place-order, trip)" in refused.err


def test_a_run_that_is_interrupted_leaves_its_saga_to_the_next_worker(floor: Floor) -> None:
    running = floor.process("run", "shop:trip", TEA, "--id=trip-1")
    assert running.stdout is not None
    for line in running.stdout:
        if "waits for the signal" in line:
            break

    end = stopped(floor, running, signal.SIGINT)
    worker = floor.working()
    floor.ok("signal", "trip-1", "approval", '{"granted": true}', ORDERS)
    floor.wait_for(lambda: statuses(floor) == {"trip-1": "completed"})
    stopped(floor, worker, signal.SIGTERM)

    assert end.code == 130
    assert "trip-1: it goes on where a worker runs: amends show trip-1" in end.err
    assert "Traceback" not in end.err


def test_a_run_whose_worker_goes_away_works_itself(floor: Floor) -> None:
    worker = floor.working()
    running = floor.process("run", "shop:place_order", SLOW, "--id=order-1")
    floor.wait_for((floor.directory / "charging").exists)

    stopped(floor, worker, signal.SIGKILL)
    floor.touch("charged")
    end = floor.ended(running)

    assert end.code == 0
    assert "went down with its worker" in end.out
    assert end.out.splitlines()[-1] == 'order-1 completed: {"code":"S-1"}'
    assert end.out.count("reserve_stock succeeded") == 1


def test_two_runs_on_one_file_both_end(floor: Floor) -> None:
    both = [floor.process("run", "shop:place_order", TEA, f"--id=order-{number}") for number in (1, 2)]

    ends = [floor.ended(process) for process in both]

    assert [end.code for end in ends] == [0, 0], ends


def test_a_pipe_that_takes_only_ascii_gets_everything_written_out(floor: Floor) -> None:
    floor.order("bestellung-ü")
    plain = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}

    listed = floor.ended(floor.process("list", ORDERS, **plain))
    drawn = floor.ended(floor.process("graph", "shop:place_order", **plain))

    assert listed.code == 0, listed
    assert "bestellung-\\xfc" in listed.out
    assert "|- reserve_stock" in drawn.out


def test_waiting_without_a_worker_is_said_and_ends_with_the_timeout(floor: Floor) -> None:
    end = floor.ended(floor.process("start", "shop:trip", TEA, "--id=trip-1", "--wait", "--timeout=5"))

    assert end.code == 9
    assert "No worker is alive" in end.err
    assert "trip-1 has not ended within 5 s; it goes on where a worker runs: amends show trip-1" in end.err


def test_a_reader_who_goes_away_ends_a_verb_quietly(floor: Floor) -> None:
    floor.order("order-1")
    for words in (("list", ORDERS), ("show", "order-1", ORDERS), ("list", ORDERS, "--json")):
        end, other = os.pipe()
        os.close(end)
        command = [sys.executable, "-m", "amends", *words]
        done = subprocess.run(
            command, cwd=floor.directory, stdout=other, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
        os.close(other)

        assert (done.returncode, done.stderr) == (141, ""), words


def on_a_terminal(directory: Path, words: list[str], **env: str) -> tuple[int, str]:
    """A verb's exit code and what it writes to a terminal."""
    child, end = pty.fork()
    if child == 0:
        os.chdir(directory)
        os.execve(  # noqa: S606  # the child of a pty has no shell to start it
            sys.executable, [sys.executable, "-m", "amends", *words], {**os.environ, "TERM": "xterm", **env}
        )
    written = b""
    while True:
        try:
            part = os.read(end, 65536)
        except OSError:
            break
        if not part:
            break
        written += part
    os.close(end)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), written.decode()


def test_on_a_terminal_a_run_draws_the_flow_as_it_advances(floor: Floor) -> None:
    code, written = on_a_terminal(floor.directory, ["run", "shop:place_order", TEA, "--id=order-1"])

    assert code == 0
    assert "\x1b[" in written
    assert "├─ " in written
    assert "✓ completed" in written
    assert "order-1" in written.splitlines()[-1]


def test_no_colour_is_written_where_none_is_wanted(floor: Floor) -> None:
    floor.order("order-1", "declined")

    plain = on_a_terminal(floor.directory, ["show", "order-1", ORDERS], NO_COLOR="1")
    coloured = on_a_terminal(floor.directory, ["show", "order-1", ORDERS])
    wrong = on_a_terminal(floor.directory, ["show", "nobody", ORDERS], NO_COLOR="1")
    red = on_a_terminal(floor.directory, ["show", "nobody", ORDERS])

    assert "\x1b[3" not in plain[1]
    assert "\x1b[36mcompensated" in coloured[1]
    assert (wrong[0], "\x1b" in wrong[1]) == (6, False)
    assert red[1].startswith("\x1b[31mthere is no saga")


def test_reading_holds_nothing_open_while_it_prints(floor: Floor) -> None:
    floor.order("order-1", "x" * 200_000)
    end, other = os.pipe()
    command = [sys.executable, "-m", "amends", "show", "order-1", ORDERS, "--json"]
    reader = subprocess.Popen(command, cwd=floor.directory, stdout=other)
    os.close(other)
    first = os.read(end, 1)

    connection = sqlite3.connect(floor.directory / "orders.db", timeout=0, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    still_printing = reader.poll() is None
    connection.execute("ROLLBACK")
    connection.close()

    with os.fdopen(end, "rb") as rest:
        printed = first + rest.read()
    assert reader.wait(PATIENCE_SECONDS) == 0
    assert still_printing
    assert json.loads(printed)["input"]["sku"] == "x" * 200_000


def test_debug_shows_the_traceback_and_nothing_else_does(floor: Floor) -> None:
    floor.order("order-1")

    plain = floor.ended(floor.process("show", "nobody", ORDERS))
    debug = floor.ended(floor.process("show", "nobody", ORDERS, "--debug"))

    assert plain.code == 6
    assert plain.err == "there is no saga with the id 'nobody' in this namespace\n"
    assert "Traceback (most recent call last)" in debug.err
    assert "UnknownSaga" in debug.err


def test_a_worker_that_may_open_no_more_files_says_so_and_what_to_do(tmp_path: Path) -> None:
    command = f"ulimit -n 8; exec {sys.executable} -m amends worker shop:orchestrator"
    (tmp_path / "shop.py").write_text(
        "from amends import Orchestrator, Saga, step\n"
        "@step(readonly=True)\n"
        "def look(name: str) -> int:\n"
        "    return len(name)\n"
        "orchestrator = Orchestrator(sagas=[Saga('measure', look, input=str)])\n"
    )

    ended = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )

    assert ended.returncode == 7, ended.stderr
    assert "this process may open no more files; nothing is lost. Raise the limit (`ulimit -n`)" in ended.stderr
    assert "never awaited" not in ended.stderr
