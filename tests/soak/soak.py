"""An hour, or as many as you like, of what `make test` does for minutes, with seeds that were never run before.

    python tests/soak/soak.py --hours 1
    python tests/soak/soak.py --hours 0.05 --only 'chaos of services, orchestrated, nats'

`soak_parts.py` is the list of what is run. Each round has every part at least once. Prints a report, which is also in
a file from the first minute on; Ctrl-C prints what there is by then. The exit code is 0 where nothing is wrong and the
report is valid, 1 where a promise was broken, 2 where it proves too little, 69 where a server is missing, 130 where it
was interrupted.

Guarantees: ends by itself, a sixth of its time later than asked for at most.
Must not: run what `make test` would not understand.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
for name in ("tests/soak", "tests/chaos", "."):
    sys.path.insert(0, str(ROOT / name))

from soak_machine import facts, missing  # noqa: E402  # run as a script it finds its neighbours first
from soak_parts import PARTS, there  # noqa: E402
from soak_report import Report, into_page  # noqa: E402
from soak_run import EXTRA, Result, Soak  # noqa: E402

HOUR = 3600.0


def main() -> int:
    """Rounds of about an hour until the time is up."""
    given = _options()
    hours, chosen = given.hours, tuple(part for part in PARTS if given.only in part.name)
    if not chosen:
        sys.stderr.write(f"no such part; there are: {'; '.join(part.name for part in PARTS)}\n")
        return 64
    if gone := missing():
        sys.stderr.write("\n".join(["nothing was run:", *gone]) + "\n")
        return 69
    seed = int(time.time()) * 1_000_000_000  # never run before
    place = given.place or ROOT / "build" / f"soak-{datetime.now().astimezone():%Y-%m-%d-%H%M%S}"
    place.mkdir(parents=True, exist_ok=True)
    absent = tuple(part for part in chosen if not there(part, ROOT))
    report = Report(hours, seed, facts(), tuple(part for part in chosen if part not in absent), absent, given.only)
    began, rounds = time.monotonic(), max(1, round(hours))
    soak = Soak(place, given.lanes, began + hours * HOUR * (1 + EXTRA), seed, _teller(report, place), _say)
    _keep(report, place)
    _say(f"{hours:g} h, seeds from {seed}; the report, as far as it has come, is {place / 'report.md'}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        for number in range(rounds):
            parts = [part for part in chosen if number == 0 or not part.once]
            soak.round(parts, began + hours * HOUR * (number + 1) / rounds)
            report.rounds += 1
        report.state = ""
    except KeyboardInterrupt:
        report.state = "it was interrupted"
    _keep(report, place)
    sys.stdout.write(f"\n{report.text()}\n{report.verdict}\n")
    if report.code == 0 and given.write and not given.only:
        into_page(report.text())
    return 130 if report.state else report.code


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--lanes", type=int, default=os.cpu_count() or 1, help="so many parts of one core at a time")
    parser.add_argument("--only", default="", help="only parts with this in their name; the report is about them")
    parser.add_argument("--place", type=Path, help="where logs and the report are kept; by default in build/")
    parser.add_argument("--write", action="store_true", help="put a valid report into docs/internals/soak.md")
    return parser.parse_args()


def _teller(report: Report, place: Path) -> Any:
    """Keeps the report as it grows, and says what is wrong at once."""

    def tell(result: Result) -> None:
        before = len(report.violations)
        report.results.append(result)
        _keep(report, place)
        counts = ", ".join(f"{count:,} {name}" for name, count in result.found.counts.items())
        if result.found.chaos is not None:
            counts = f"{sum(result.found.chaos.sagas.values()):,} sagas, {result.found.chaos.faults.total()} faults"
        _say(f"{result.part.name}: {counts or 'nothing'}, {result.ended.seconds:.0f} s")
        for why in result.found.invalid:
            _say(f"INVALID: {result.part.name}: {why}")
        for sentence in report.violations[before:]:
            _say(f"VIOLATION: {sentence}")

    return tell


def _keep(report: Report, place: Path) -> None:
    """Write what there is, so that it survives whatever comes."""
    new = place / "report.new"
    new.write_text(report.text())
    new.replace(place / "report.md")


def _say(line: str) -> None:
    sys.stdout.write(f"{time.strftime('%H:%M:%S')}  {line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
