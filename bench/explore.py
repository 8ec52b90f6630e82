"""Exploring: `python -m bench.explore`, how many runs of the order saga a second on one core.

The saga of examples/order.py, against the shop that it pretends, with an invariant of three lines: every single fault
and every pair; and the budget that `explore` has by itself, whose lists of three are longer runs.

Guarantees: each line is the best of several rounds, of processor time and of the clock on the wall.
Must not: judge. The target is 2,000 runs a second.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from amends import Completed
from amends.testing import Exploration, Report

sys.path.append(str(Path(__file__).parents[1] / "examples"))

from order import Order, Shop, place_order  # it lies there

ORDER = Order("book", 1, 2_900)
PAIRS_ALL = 369  # the run without a fault, 28 single ones, 340 pairs


def conserved(shop: Shop, outcome: object) -> None:
    """What is sold is paid for and sent; else the shop is as it was."""
    sold = 1 if isinstance(outcome, Completed) else 0
    assert shop.stock["book"] == 10 - sold
    assert sum(shop.charged.values()) == sold * ORDER.cents
    assert len(shop.shipped) == len(shop.mailed) == sold


EXPLORATION: Exploration = Exploration(place_order, ORDER, world=Shop, invariant=conserved)


def measured(runs: int) -> tuple[float, float, Report]:
    """Runs a second, of processor time and of the clock."""
    processor, clock = time.process_time(), time.perf_counter()
    report: Any = EXPLORATION.run(runs=runs)
    assert report.ok, str(report)
    return report.runs / (time.process_time() - processor), report.runs / (time.perf_counter() - clock), report


def main() -> None:
    """Print the rates."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=6, help="rounds, of which the best counts")
    given = parser.parse_args()
    for title, runs in (("every single fault and every pair", PAIRS_ALL), ("2,000 runs", 2_000)):
        rounds = [measured(runs) for _ in range(given.rounds)]
        processor, clock = max(one[0] for one in rounds), max(one[1] for one in rounds)
        print(
            f"{title:<36}{rounds[0][2].runs:>7,} runs{processor:>9,.0f} /s of processor{clock:>9,.0f} /s on the clock"
        )


if __name__ == "__main__":
    main()
