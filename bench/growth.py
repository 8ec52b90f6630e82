"""Whether sagas that have ended slow down those that run: `python -m bench.growth --ended 1000000`.

Guarantees: the full file and the empty one are measured by turns; the median of the rounds counts.
Must not: prune.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from bench.contender_amends import running
from bench.fill import multiply
from bench.measure import Window, drive


async def _window(path: Path, in_flight: int, seconds: float, journal: str) -> dict[str, Any]:
    async with running(f"sqlite:///{path}", "happy", journal) as run:
        return (await drive(run, in_flight, Window(0.5, seconds))).to_json()


async def _one(path: Path, journal: str) -> None:
    async with running(f"sqlite:///{path}", "happy", journal) as run:
        await run()


def _in_a_process(path: Path, in_flight: int, seconds: float, journal: str) -> float:
    command = [sys.executable, "-m", "bench.growth", "--file", str(path), "--in-flight", str(in_flight)]
    command += ["--seconds", str(seconds), "--journal", journal]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    rate: float = json.loads(done.stdout.splitlines()[-1])["sagas_per_second"]
    return rate


def table(ended: int, rounds: int, seconds: float, journal: str, directory: Path | None) -> list[str]:
    """The Markdown."""
    with tempfile.TemporaryDirectory(dir=directory) as home:
        empty, full = Path(home) / "empty.db", Path(home) / "full.db"
        asyncio.run(_one(full, journal))
        multiply(full, ended)
        size = full.stat().st_size / 1e6
        lines = [
            f"| in flight | sagas/s on an empty file | with {ended:,} ended sagas ({size:,.0f} MB) | ratio | |",
            "|---|---|---|---|---|",
        ]
        for in_flight in (20, 100):
            rates: dict[Path, list[float]] = {empty: [], full: []}
            for number in range(rounds):
                for path in (empty, full) if number % 2 else (full, empty):
                    rates[path].append(_in_a_process(path, in_flight, seconds, journal))
            before, after = median(rates[empty]), median(rates[full])
            word = "reached" if after >= 0.9 * before else "falls short"
            lines.append(f"| {in_flight} | {before:,.0f} | {after:,.0f} | {after / before:.0%} | {word} |")
    return lines


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ended", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--journal", choices=("persist", "wal"), default="persist")
    parser.add_argument("--dir", type=Path, help="where the files are to be")
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--in-flight", type=int, default=20, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.file is not None:
        print(json.dumps(asyncio.run(_window(options.file, options.in_flight, options.seconds, options.journal))))
    else:
        print("\n".join(table(options.ended, options.rounds, options.seconds, options.journal, options.dir)))


if __name__ == "__main__":
    main()
