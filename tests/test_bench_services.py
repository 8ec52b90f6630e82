"""The benchmarks of services run, at a scale that says nothing of speed, so that they are there when they are needed.

Must not: judge what they print.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil

from servers import need
from services.found import postgres_bin
from services.redis import Redis

ROOT = Path(__file__).parents[1]
RUN_SECONDS = 400
END_SECONDS = 60
WAYS = ("bare", "amends", "amends, batch=50")


def test_the_benchmarks_of_services_run_over_redis_lose_nothing_and_leave_no_process_behind() -> None:
    need(postgres_bin)
    need(Redis.find)

    tables = ("--only", "services redis", "--only", "services away", "--broker", "redis")
    command = [sys.executable, "-m", "bench", *tables, "--rounds", "1", "--scale", "0.1"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as bench:
        printed, errors = bench.communicate(timeout=RUN_SECONDS)

    assert bench.returncode == 0, errors[-4000:]
    lines = printed.splitlines()
    for way in WAYS:
        for in_flight in (1, 20, 100):
            assert any(line.startswith(f"| {way} | {in_flight} | ") for line in lines), (way, in_flight, printed)
    assert "| redis: nothing is lost | 0 | reached |" in lines, printed
    left = [process for process in psutil.process_iter() if _session(process.pid) == bench.pid]
    assert not psutil.wait_procs(left, timeout=END_SECONDS)[1]


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0
