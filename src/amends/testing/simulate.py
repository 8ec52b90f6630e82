"""The simulation from the command line: many seeds, on as many processes as there are cores.

    python -m amends.testing.simulate --seeds 0:5000 --jobs 2
    python -m amends.testing.simulate --seed 1234 --trace

Guarantees: a failure prints its seed and the one command that repeats it; a long run in which
too little went wrong to prove anything is itself a failure.
Must not: print anything that depends on how the seeds were shared out.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from amends.testing.laws import SimulationFailed
from amends.testing.simulation import simulate

__all__ = ["SimulationFailed", "simulate"]

FAILURES_SHOWN = 3
ENOUGH_SEEDS = 2000  # from here on a run must have been eventful

# What must have happened, per thousand seeds: at most half of what does, on average.
REQUIRED = {
    "deaths": 600,
    "deaths with sagas in memory": 250,
    "deaths before": 250,
    "deaths after": 250,
    "pauses": 600,
    "workers retired alive": 100,
    "answers lost": 800,
    "store away": 1000,
    "hints lost": 5000,
    "drains": 150,
    "repeated calls": 400,
    "fenced calls": 5,
    "parked as poison": 3,
    "still running": 8,
    "event Adopted": 450,
    "event Begun": 80,
    "event CancelNoted": 8,
    "event Late": 7,
    "event Unknown": 170,
    "event Undone": 700,
    "event Parked": 110,
    "event Refused": 110,
    "operator compensate": 10,
    "operator retry": 30,
    "operator skip": 15,
    "finally completed": 1500,
    "finally compensated": 700,
}


class Result(NamedTuple):
    """What became of one seed."""

    seed: int
    counts: Counter[str]
    failure: str = ""


def run(seed: int) -> Result:
    """One seed, its failure as a value."""
    try:
        return Result(seed, simulate(seed).counts)
    except SimulationFailed as failure:
        return Result(seed, Counter(), str(failure))


def run_all(seeds: Sequence[int], jobs: int) -> Iterator[Result]:
    """All seeds, in any order."""
    if jobs <= 1:
        yield from map(run, seeds)
        return
    processes = multiprocessing.get_context("spawn")
    with processes.Pool(jobs, initializer=logging.disable, initargs=(logging.CRITICAL,)) as pool:
        yield from pool.imap_unordered(run, seeds, chunksize=10)


def missing(counts: Counter[str], seeds: int) -> list[str]:
    """What happened too seldom for a run of that many seeds to prove anything."""
    if seeds < ENOUGH_SEEDS:
        return []
    return [
        f"{name}: {counts[name]}, and {wanted * seeds // 1000} are wanted"
        for name, wanted in REQUIRED.items()
        if counts[name] < wanted * seeds // 1000
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line: 0 if every law held, 1 if one was broken, 2 if too little happened."""
    options = _options(arguments)
    logging.disable(logging.NOTSET if options.trace else logging.CRITICAL)
    if options.trace:
        logging.basicConfig(level=logging.DEBUG, stream=sys.stdout)
    first, last = (options.seed, options.seed + 1) if options.seed is not None else options.seeds
    began, total, failures = time.perf_counter(), Counter[str](), list[Result]()
    for result in run_all(range(first, last), options.jobs):
        total += result.counts
        if result.failure:
            failures.append(result)
            if len(failures) >= FAILURES_SHOWN:
                break
    for result in sorted(failures):
        _say(f"seed {result.seed} FAILED: {result.failure}")
    if failures:
        return 1
    for name, number in sorted(total.items()):
        _say(f"{name:28} {number:>10,}")
    seconds = time.perf_counter() - began
    _say(f"{last - first:,} seeds held, {(last - first) / seconds:.0f} seeds a second")
    too_few = missing(total, last - first)
    for line in too_few:
        _say(f"INVALID, too little happened: {line}")
    return 2 if too_few else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m amends.testing.simulate", description="Seeded simulation.")
    parser.add_argument("--seed", type=int, help="run one seed")
    parser.add_argument("--seeds", default=(0, 100), type=_range, help="first:last, the last not included")
    parser.add_argument("--jobs", default=1, type=int, help="on so many processes")
    parser.add_argument("--trace", action="store_true", help="log what the engine does")
    return parser.parse_args(arguments)


def _range(text: str) -> tuple[int, int]:
    first, _, last = text.partition(":")
    if not (first.isdigit() and last.isdigit() and int(first) < int(last)):
        raise argparse.ArgumentTypeError(f"{text!r}: first:last is expected, such as 0:5000")
    return int(first), int(last)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
