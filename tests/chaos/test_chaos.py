"""Real processes under random faults: a worker, clients, an operator, and a checker that trusts none of them.

AMENDS_CHAOS_SECONDS: how long there are faults (0 skips this). AMENDS_CHAOS_SEED: which, as far as processes on a
shared machine repeat themselves. Every failure prints both. `chaos.py` may also be run alone, for hours.
"""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
from pathlib import Path
from typing import Any

import pytest
from chaos_run import command, invalid

SECONDS = float(os.environ.get("AMENDS_CHAOS_SECONDS", "30"))
SEED = int(os.environ.get("AMENDS_CHAOS_SEED", "0")) or random.randrange(1, 10**6)
SPARE_SECONDS = 240.0  # to begin, to end, and to look at everything


def _left_behind(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.skipif(SECONDS <= 0, reason="AMENDS_CHAOS_SECONDS=0")
@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="this system has no prlimit")
def test_nothing_is_lost_doubled_hung_or_told_wrongly_whatever_happens_to_processes_file_and_clock(
    tmp_path: Path,
) -> None:
    child = subprocess.Popen(
        command(tmp_path / "chaos", SECONDS, SEED),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        said, story = child.communicate(timeout=SECONDS + SPARE_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, 9)
        said, story = child.communicate()
    again = f"AMENDS_CHAOS_SEED={SEED} AMENDS_CHAOS_SECONDS={SECONDS:g}"

    assert child.returncode == 0, f"{again}\n{story}"
    report: dict[str, Any] = json.loads(said)
    assert report["troubles"] == [], "\n".join([again, story, *report["troubles"]])
    assert not _left_behind(child.pid), f"{again}: a process was left behind"
    assert list(invalid(report)) == [], f"this run proves nothing: {again}\n{story}"
