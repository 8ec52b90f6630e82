"""Real processes on PostgreSQL under random faults: workers, clients, servers, the lines between them, and a checker
that trusts none of them.

AMENDS_CHAOS_SECONDS: how long there are faults (0 skips this). AMENDS_CHAOS_SEED: which, as far as processes on a
shared machine repeat themselves. `python tests/chaos/fleet.py` runs the same alone, for hours.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from servers import need
from services.found import pgbouncer_program, postgres_bin

FLEET = Path(__file__).with_name("fleet.py")
SECONDS = float(os.environ.get("AMENDS_CHAOS_SECONDS", "50"))
SEED = int(os.environ.get("AMENDS_CHAOS_SEED", "0")) or random.randrange(1, 10**6)
SPARE_SECONDS = 300.0  # to begin, to end, and to look at everything


def _left_behind(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.skipif(SECONDS <= 0, reason="AMENDS_CHAOS_SECONDS=0")
def test_many_workers_lose_double_and_hang_nothing_whatever_happens_to_them_the_server_and_the_lines(
    tmp_path: Path,
) -> None:
    need(postgres_bin)
    need(pgbouncer_program)
    directory = tmp_path / "chaos"
    command = [
        sys.executable,
        str(FLEET),
        f"--seconds={SECONDS}",
        f"--seed={SEED}",
        f"--directory={directory}",
        "--json",
    ]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        said, story = child.communicate(timeout=2 * SECONDS + SPARE_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, 9)
        said, story = child.communicate()
    again = f"again: python tests/chaos/fleet.py --seconds {SECONDS:g} --seed {SEED}"

    assert said, f"{again}\n{story}"
    report: dict[str, Any] = json.loads(said)
    assert report["troubles"] == [], "\n".join([again, story, *report["troubles"]])
    assert report["invalid"] == [], "\n".join([again, "this run proves nothing:", *report["invalid"], story])
    assert child.returncode == 0, f"{again}\n{story}"
    assert not _left_behind(child.pid), f"{again}: a process was left behind"
