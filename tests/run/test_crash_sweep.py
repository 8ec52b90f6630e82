"""The crash sweep: `kill -9` at every named fault point, and what must hold after the restart.

Each scenario runs in a process of its own (`sweep.py`, `sweep_postgres.py`), which forks one child
per life of a worker. AMENDS_SWEEP=full takes many more passes, for soak.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from crash_sagas import SCENARIOS

from amends.fault import POINTS

SWEEP = Path(__file__).with_name("sweep.py")
SWEEP_POSTGRES = Path(__file__).with_name("sweep_postgres.py")
# Those of services are passed where there is a broker: test_participant_killed.py, chaos/test_services_processes.py.
BETWEEN_SERVICES = {
    "send.before",
    "send.after",
    "reply.written",
    "reply.after",
    "publish.after",
    "hop.before",
    "hop.after",
}
HERE = set(POINTS) - {"migrate.inside"} - BETWEEN_SERVICES
MATRIX = ("sequence-forward", "sequence-backward", "parallel-forward", "parallel-backward")
FULL = os.environ.get("AMENDS_SWEEP") == "full"
SECONDS = 3600 if FULL else 240
SWEPT = sorted(SCENARIOS)


@pytest.fixture
def fast_directory() -> Iterator[Path]:
    """Memory where the system has a file system for it: these tests kill processes, not the
    machine, so what the disk would do changes nothing."""
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108  # a directory of our own in it
    with tempfile.TemporaryDirectory(prefix="amends-sweep-", dir=place) as directory:
        yield Path(directory)


def _swept(program: Path, *arguments: str) -> tuple[dict[str, Any], ...]:
    command = [sys.executable, str(program), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False, cwd=SWEEP.parent)
    assert done.returncode == 0, done.stderr
    return tuple(json.loads(line) for line in done.stdout.splitlines())


@pytest.mark.parametrize("name", SWEPT)
def test_after_a_kill_at_any_fault_point_every_saga_ends_and_the_ledger_balances(
    name: str, fast_directory: Path, record_property: Callable[[str, object], None]
) -> None:
    cases = _swept(SWEEP, name, str(fast_directory))
    record_property("kills", len(cases))

    _held(cases)
    if name in MATRIX:
        assert _hit(cases) == HERE, "a fault point at which nobody was killed"


@pytest.mark.parametrize("name", MATRIX)
def test_on_postgresql_a_second_worker_takes_over_from_one_that_was_killed_at_any_fault_point(
    name: str, fast_directory: Path, postgres_url: str, record_property: Callable[[str, object], None]
) -> None:
    cases = _swept(SWEEP_POSTGRES, name, str(fast_directory), postgres_url)
    record_property("kills", len(cases))

    _held(cases)
    assert _hit(cases) == HERE, "a fault point at which nobody was killed"


def _held(cases: tuple[dict[str, Any], ...]) -> None:
    troubles = {str(case["kills"]): case["troubles"] for case in cases if case["troubles"]}
    assert troubles == {}
    alive = [case["kills"] for case in cases if not case["died"]]
    assert len(alive) <= len(cases) // 10, f"these cases killed nobody and prove nothing: {alive}"


def _hit(cases: tuple[dict[str, Any], ...]) -> set[str]:
    return {spec.partition(":")[0] for case in cases for spec in case["died"]}
