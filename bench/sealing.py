"""What sealing costs: `python -m bench.sealing`.

The order saga, 20 at once, on a fresh SQLite file each round, in a process of its own: with payloads as they are, and
sealed. The two take turns, so that what else the machine does meets both.

Guarantees: each round counts only after a second of warming up; the processor's time is the process's own, so it says
something also on a machine that is not quiet.
Must not: print a key.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from amends.crypto import Keys, new_key
from bench.observing import ROOT, round_of

WAYS = ("open", "sealed")


def one(way: str, seconds: float) -> None:
    """A round, in this process."""
    given: dict[str, Any] = {"keys": Keys({"bench": new_key()})} if way == "sealed" else {}
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "sagas.db"
        rate, cpu = asyncio.run(round_of(path, given, seconds))
        print(json.dumps([rate, cpu]))


def measured(way: str, seconds: float) -> tuple[float, float]:
    """A round, in a process of its own."""
    command = [sys.executable, "-m", "bench.sealing", "--one", way, "--seconds", str(seconds)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    rate, cpu = json.loads(done.stdout)
    return float(rate), float(cpu)


def main() -> None:
    """Both ways, in turns."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--one", default="")
    options = parser.parse_args()
    if options.one:
        one(options.one, options.seconds)
        return
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    for _ in range(options.rounds):
        for way in WAYS:
            found[way].append(measured(way, options.seconds))
    for way, rounds in found.items():
        rate, cpu = (statistics.median(column) for column in zip(*rounds, strict=True))
        print(f"{way:<8} {rate:8.0f} sagas/s  {cpu:.3f} ms of the processor for one")


if __name__ == "__main__":
    main()
