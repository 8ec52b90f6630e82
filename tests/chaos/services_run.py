"""One run of the chaos of services as a child process, for tests: what it reports, and that it leaves nothing behind.

Guarantees: a run that breaks a promise fails with the command that repeats it; one that proves nothing is run again
with other dice, once.
Must not: judge; the run does.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

CHAOS = Path(__file__).with_name("services_chaos.py")
SEED = int(os.environ.get("AMENDS_CHAOS_SEED", "0")) or random.randrange(1, 10**6)
SPARE_SECONDS = 300.0  # to begin, to end, and to look at everything


def holds(kind: str, seconds: float, directory: Path, style: str = "orchestrated") -> None:
    """Run it on a kind of broker; every promise was kept, and that proves something."""
    report = _ran(kind, seconds, SEED, directory / "chaos", style)
    if report["invalid"]:  # nothing is wrong, and it proves too little: other dice
        report = _ran(kind, seconds, SEED + 1, directory / "again", style)

    again = _again(kind, seconds, SEED + 1, style)
    assert report["invalid"] == [], "\n".join([again, "it proves nothing:", *report["invalid"]])


def _ran(kind: str, seconds: float, seed: int, directory: Path, style: str) -> dict[str, Any]:
    """One run, in which every promise was kept."""
    again = _again(kind, seconds, seed, style)
    told = [f"--broker={kind}", f"--style={style}", f"--seconds={seconds}", f"--seed={seed}"]
    child = subprocess.Popen(
        [sys.executable, str(CHAOS), *told, f"--directory={directory}", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        said, story = child.communicate(timeout=2 * seconds + SPARE_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, 9)
        said, story = child.communicate()

    assert said, f"{again}\n{story}"
    report: dict[str, Any] = json.loads(said)
    assert report["troubles"] == [], "\n".join([again, story, *report["troubles"]])
    assert child.returncode in (0, 2), f"{again}\n{story}"
    assert not _left_behind(child.pid), f"{again}: a process was left behind"
    return report


def _again(kind: str, seconds: float, seed: int, style: str) -> str:
    told = f"--broker {kind} --style {style} --seconds {seconds:g} --seed {seed}"
    return f"again: python tests/chaos/services_chaos.py {told}"


def _left_behind(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
