"""How the chaos on a file is run, and which of its runs prove nothing.

    python tests/chaos/chaos_run.py --seconds 60 --seed 7 --directory /tmp/somewhere

Guarantees: as root, where the system lets it, the sagas are on a small disk of the run's own, gone with the process.
Must not: judge what the checker judges.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHAOS = Path(__file__).with_name("chaos.py")


def command(directory: Path, seconds: float, seed: int) -> list[str]:
    """One run of it."""
    told = [sys.executable, str(CHAOS), f"--seconds={seconds}", f"--seed={seed}", f"--directory={directory}"]
    alone = ["unshare", "--mount", "--propagation", "private"]
    if os.geteuid() == 0 and shutil.which("unshare") and subprocess.run([*alone, "true"], check=False).returncode == 0:
        return ["env", "CHAOS_OWN_MOUNTS=1", *alone, *told]
    return told


def invalid(report: dict[str, Any]) -> Iterator[str]:
    """Why a run in which hardly anything was hit proves nothing."""
    met, missed, ended = sum(report["met"].values()), sum(report["missed"].values()), report["statuses"]
    if met < min(report["seconds"] / 6, 12):
        yield f"only {met} faults met sagas that moved"
    if missed > met:
        yield f"{missed} faults met nothing"
    if report["workers"] < 2:
        yield "no worker died"
    for status, least in (("completed", 20), ("compensated", 5)):
        if ended.get(status, 0) < least:
            yield f"only {ended.get(status, 0)} sagas were {status}"


def main() -> None:
    """Become the run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--directory", type=Path, required=True)
    given = parser.parse_args()
    words = command(given.directory, given.seconds, given.seed)
    os.execvp(words[0], words)  # noqa: S606  # the same process, so that whoever stops it stops the run


if __name__ == "__main__":
    main()
