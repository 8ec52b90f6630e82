"""The fuzzer: seeds and corpus first, then what is made of them.

Guarantees: the same seed and number of rounds try the same; an input that takes too long, or too much memory, is found.
Must not: go on after a rule broke.
"""

from __future__ import annotations

import hashlib
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from fuzz_targets import Target

CORPUS = Path(__file__).parent / "corpus"
CASE_SECONDS = 2.0  # of CPU; the slowest that was seen took a tenth of it
MEGABYTES_MAX = 400  # that the process may grow by
ROUND = 100  # cases of one target before the next


class Broken(Exception):
    """A rule broke. The text says which, of what target, by what, and how to see it again."""


@dataclass
class Report:
    """How much was tried, of each target, and how much of it was taken for good."""

    tried: dict[str, int] = field(default_factory=dict)
    taken: dict[str, int] = field(default_factory=dict)
    slowest: float = 0.0

    def lines(self) -> Iterator[str]:
        """For people."""
        for name, count in self.tried.items():
            yield f"  {name:<32} {count:>9,} cases, {self.taken[name]:>9,} of them taken"
        yield f"  the slowest took {self.slowest * 1000:.0f} ms of CPU; {sum(self.tried.values()):,} cases in all"


def corpus(name: str) -> list[bytes]:
    """What was found before, or is worth keeping."""
    place = CORPUS / name.replace(" ", "-")
    return [path.read_bytes() for path in sorted(place.iterdir())] if place.is_dir() else []


def attempt(target: Target, case: bytes, report: Report, why: str, keep: Path | None) -> None:
    """Try one input. Raises Broken."""
    begun = time.process_time()
    try:
        taken = target.check(case)
    except Exception as error:
        kept = "" if keep is None else f"; it is kept as {_keep(keep, target.name, case)}"
        told = f"{target.name}: {type(error).__name__}: {error} ({why}){kept}\n{case[:500]!r}"
        raise Broken(told) from error
    took = time.process_time() - begun
    report.slowest = max(report.slowest, took)
    if took > CASE_SECONDS:
        kept = "" if keep is None else f"; it is kept as {_keep(keep, target.name, case)}"
        raise Broken(f"{target.name}: {len(case):,} bytes took {took:.1f} s of CPU ({why}){kept}")
    report.tried[target.name] = report.tried.get(target.name, 0) + 1
    report.taken[target.name] = report.taken.get(target.name, 0) + taken


def fuzz(
    found: list[Target], seed: int, *, rounds: int | None = None, seconds: float = 0.0, keep: Path | None = None
) -> Report:
    """Try the seeds and the corpus, then what is made of them: so many rounds, or for so long. Raises Broken."""
    dice, report, until = Random(seed), Report(), time.monotonic() + seconds
    pools = {target.name: [*target.seeds, *corpus(target.name)] for target in found}
    for target in found:
        for case in pools[target.name]:
            attempt(target, case, report, "a seed, or of the corpus", keep)
    before, done = _megabytes(), 0
    while (done < rounds) if rounds is not None else (time.monotonic() < until):
        done += 1
        for target in found:
            pool = pools[target.name]
            for _ in range(ROUND):
                case = target.spoil(dice.choice(pool), dice.choice(pool), dice)
                attempt(target, case, report, f"seed {seed}, round {done}", keep)
        if _megabytes() - before > MEGABYTES_MAX:
            raise Broken(f"the process has grown by more than {MEGABYTES_MAX} MB (seed {seed}, round {done})")
    return report


def _keep(place: Path, name: str, case: bytes) -> Path:
    path = place / name.replace(" ", "-") / f"found-{hashlib.blake2b(case, digest_size=4).hexdigest()}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(case)
    return path


def _megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
