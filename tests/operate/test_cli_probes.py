"""What a worker shows to whoever watches over it: its files for probes, and its words for systemd."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from shop_floor import PATIENCE_SECONDS, Floor

SLOW = '{"sku": "slow"}'
STUBBORN = '{"sku": "stubborn"}'
FILES = ("--alive-file=alive", "--ready-file=ready")
POLLS_SECONDS = 3.0  # in which an idle worker looks three times


def age(path: Path) -> None:
    """As if it had been touched long ago."""
    os.utime(path, (0, 0))


def is_touched(path: Path) -> bool:
    return path.exists() and path.stat().st_mtime > 0


class Systemd:
    """The end of its socket that systemd holds."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(PATIENCE_SECONDS)
        self._socket.bind(address.replace("@", "\0"))
        self.heard: list[str] = []

    def until(self, word: str) -> None:
        """Wait for a word."""
        while word not in self.heard:
            self.heard += self._socket.recv(4096).decode().split("\n")

    def close(self) -> None:
        self._socket.close()


@contextmanager
def systemd(address: str) -> Iterator[Systemd]:
    """It listens."""
    end = Systemd(address)
    try:
        yield end
    finally:
        end.close()


def stopped(floor: Floor, process: subprocess.Popen[str]) -> int:
    process.send_signal(signal.SIGTERM)
    return floor.ended(process).code


def test_a_worker_touches_its_files_after_each_look_and_takes_them_away_when_it_goes(floor: Floor) -> None:
    alive, ready = floor.directory / "alive", floor.directory / "ready"
    worker = floor.working(*FILES)

    for path in (alive, ready):
        floor.wait_for(path.exists)
        age(path)
        floor.wait_for(lambda path=path: is_touched(path))  # type: ignore[misc]  # the path of this turn
    end = stopped(floor, worker)

    assert end == 0
    assert not alive.exists()
    assert not ready.exists()


def test_a_worker_that_finishes_what_is_in_flight_is_alive_and_not_ready(floor: Floor) -> None:
    alive, ready = floor.directory / "alive", floor.directory / "ready"
    worker = floor.working(*FILES)
    floor.ok("start", "shop:place_order", SLOW, "--id=order-1")
    floor.wait_for((floor.directory / "charging").exists)
    floor.wait_for(ready.exists)

    worker.send_signal(signal.SIGTERM)
    floor.wait_for(lambda: not ready.exists())
    age(alive)
    floor.wait_for(lambda: is_touched(alive))
    floor.touch("charged")
    end = floor.ended(worker)

    assert end.code == 0
    assert not alive.exists()
    assert not ready.exists()


def test_a_worker_whose_loop_is_blocked_touches_nothing(floor: Floor) -> None:
    alive = floor.directory / "alive"
    worker = floor.working(*FILES)
    floor.wait_for(alive.exists)
    floor.ok("start", "shop:place_order", STUBBORN)
    floor.wait_for((floor.directory / "charging").exists)

    age(alive)
    time.sleep(POLLS_SECONDS)  # nothing can be waited for: that nothing comes is the rule
    touched = is_touched(alive)
    worker.kill()

    assert not touched


def test_a_worker_that_cannot_begin_leaves_no_file_of_an_earlier_life(floor: Floor) -> None:
    floor.touch("alive")
    floor.touch("ready")
    (floor.directory / "orders.db").write_bytes(b"not a database, and never was one. " * 100)

    end = floor.ended(floor.process("worker", "shop:orchestrator", *FILES))

    assert end.code == 7
    assert not (floor.directory / "alive").exists()
    assert not (floor.directory / "ready").exists()


@pytest.mark.parametrize("path", ["no-such-directory/alive", "."])
def test_a_file_that_cannot_be_written_is_told_at_once(floor: Floor, path: str) -> None:
    end = floor.ended(floor.process("worker", "shop:orchestrator", f"--alive-file={path}"))

    assert end.code == 2
    assert "a file for probes cannot be written" in end.err
    assert "Traceback" not in end.err


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_hears_when_the_worker_is_ready_that_it_goes_on_and_that_it_stops(floor: Floor, abstract: bool) -> None:
    address = f"@amends-{os.getpid()}-{time.monotonic_ns()}" if abstract else str(floor.directory / "notify")
    with systemd(address) as end:
        worker = floor.process("worker", "shop:orchestrator", NOTIFY_SOCKET=address)
        end.until("READY=1")
        before = end.heard[:]
        end.heard.clear()
        end.until("WATCHDOG=1")
        worker.send_signal(signal.SIGTERM)
        end.until("STOPPING=1")
        code = floor.ended(worker).code

    assert "STOPPING=1" not in before
    assert code == 0


def test_a_worker_whose_systemd_does_not_listen_works_all_the_same(floor: Floor) -> None:
    worker = floor.process("worker", "shop:orchestrator", NOTIFY_SOCKET=str(floor.directory / "nobody"))

    assert floor.ok("start", "shop:place_order", '{"sku": "tea"}', "--wait").code == 0
    assert stopped(floor, worker) == 0
