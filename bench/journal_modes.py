"""What a durable commit costs in each of SQLite's journal modes, on this machine.

    python bench/journal_modes.py [--seconds 2] [--directory .]

What it is: the measurement behind docs/internals/decisions/0001. It writes the rows of a saga's
decision through the store's own statements, one at a time and 100 in a transaction, with
`synchronous=FULL`; modes alternate, so that a machine that is busy elsewhere is busy for all.
With strace on the machine it also counts the fsyncs of one commit.
"""

from __future__ import annotations

import argparse
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

from amends.store import sqlite_file
from amends.store.base import Head, NewSaga, Write
from amends.store.sqlite_commit import write_batch

MODES = ("DELETE", "TRUNCATE", "PERSIST", "WAL")
ROW = b'[1764100000.123,1,[["succeeded","reserve_stock",{"sku":"A-1","quantity":2}],["issued","charge_card","do",1]]]'
ROUNDS = 3
BATCH = 100


class Bench:
    """One file in one mode."""

    def __init__(self, directory: Path, mode: str) -> None:
        path = directory / f"{mode.lower()}.db"
        self._connection = sqlite3.connect(path, isolation_level=None, timeout=60)
        self._connection.execute(f"PRAGMA journal_mode = {mode}")
        sqlite_file.be_durable(self._connection)
        if not self._connection.execute("SELECT 1 FROM sqlite_master").fetchone():
            sqlite_file.migrate(self._connection, path)
        sql = "INSERT INTO amends_worker (ns, host, pid, plans, started_at, expires_at) VALUES (1, '', 1, '[]', 0, 0)"
        self._worker = int(self._connection.execute(sql).lastrowid or 0)
        self._number = time.time_ns()

    def commit(self, decisions: int) -> None:
        """One transaction of as many first rows."""
        writes: list[Write] = []
        for _ in range(decisions):
            self._number += 1
            number = self._number
            new = NewSaga(f"order-{number}", 1, b"0123456789abcdef", 1764100000.0)
            writes.append(Write(number.to_bytes(16, "big"), 0, number, ROW, new, Head("running", self._worker, None)))
        write_batch(self._connection, 1, self._worker, writes, 1764100000.0)

    def close(self) -> None:
        """Let the file go."""
        self._connection.close()


def per_second(work: Callable[[], None], seconds: float) -> float:
    """How often something can be done."""
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        work()
        count += 1
    return count / (time.perf_counter() - began)


def measure(directory: Path, seconds: float) -> dict[tuple[str, int], list[float]]:
    """Commits a second: by mode and batch, one figure a round."""
    found: dict[tuple[str, int], list[float]] = defaultdict(list)
    benches = {mode: Bench(directory, mode) for mode in MODES}
    for _ in range(ROUNDS):
        for size in (1, BATCH):
            for mode, bench in benches.items():
                found[mode, size].append(per_second(partial(bench.commit, size), seconds))
    for bench in benches.values():
        bench.close()
    return found


def fsyncs(directory: Path, mode: str) -> str:
    """How many fsyncs one commit takes, as strace counts them; ? without strace."""
    if shutil.which("strace") is None:
        return "?"
    command = ["strace", "-f", "-c", "-e", "trace=fsync,fdatasync", sys.executable, __file__]
    counts: list[int] = []
    for commits in (20, 120):
        arguments = ["--count", mode, str(commits), "--directory", str(directory)]
        run = subprocess.run([*command, *arguments], capture_output=True, text=True, check=True)
        lines = [line.split() for line in run.stderr.splitlines() if "sync" in line and line.split()[0][0].isdigit()]
        counts.append(sum(int(line[3]) for line in lines))
    return f"{(counts[1] - counts[0]) / 100:.1f}"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each mode, batch and round")
    parser.add_argument("--directory", type=Path, default=Path(), help="on the disk that is to be measured")
    parser.add_argument("--count", nargs=2, metavar=("MODE", "COMMITS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    sqlite_file.library_is_fixed = lambda version=None: True  # every mode, whatever this library is
    with tempfile.TemporaryDirectory(dir=options.directory) as name:
        directory = Path(name)
        if options.count:
            bench = Bench(directory, options.count[0])
            for _ in range(int(options.count[1])):
                bench.commit(1)
            bench.close()
            return
        found = measure(directory, options.seconds)
        print(f"SQLite {sqlite3.sqlite_version}, synchronous=FULL, {options.seconds:g} s x {ROUNDS} rounds, medians")
        print(
            f"{'mode':10}{'commits/s':>12}{'ms':>8}{f'{BATCH} a commit':>16}{'ms':>8}{'decisions/s':>13}{'fsyncs':>8}"
        )
        for mode in MODES:
            one, many = median(found[mode, 1]), median(found[mode, BATCH])
            print(
                f"{mode:10}{one:12,.0f}{1000 / one:8.2f}{many:16,.0f}{1000 / many:8.2f}{many * BATCH:13,.0f}"
                f"{fsyncs(directory, mode):>8}"
            )


if __name__ == "__main__":
    main()
