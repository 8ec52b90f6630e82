"""The one command: python -m examples.order_system --broker=kafka|rabbitmq|nats|redis|none

Starts the servers and the processes, places orders, breaks things, waits, and has the money checked. Ends with 0 if
everything balances, and with 1 if anything does not.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from .checker import Totals
from .servers import KINDS, NONE, servers
from .story import Report, Size, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.order_system", description=__doc__)
    parser.add_argument("--broker", choices=KINDS, default=os.environ.get("BROKER") or NONE)
    styles = ("orchestrated", "choreographed")
    parser.add_argument("--style", choices=styles, default=os.environ.get("STYLE") or styles[0])
    parser.add_argument("--orders", type=int, default=Size.orders, help="placed before anything goes wrong")
    parser.add_argument("--rate", type=float, default=Size.rate, help="orders a second, also during the faults")
    parser.add_argument("--seed", type=int, default=Size.seed, help="of what customers buy")
    parser.add_argument("--no-faults", action="store_true", help="only the load")
    given = parser.parse_args()
    size = Size(given.orders, given.rate, faults=not given.no_faults, seed=given.seed)
    with tempfile.TemporaryDirectory(prefix="order-system-") as place:
        print(f"order system, {given.style}, broker: {given.broker}; logs in {place}", flush=True)
        with servers(given.broker) as ready:
            chosen = replace(ready, choreographed=given.style == "choreographed")
            report = asyncio.run(run(chosen, size, Path(place)))
        show(report)
        if report.troubles:
            for log in sorted(Path(place).glob("*.log")):
                print(f"--- the end of {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-20:]))
    return 1 if report.troubles else 0


def show(report: Report) -> None:
    """The report, for people."""
    if report.faults:
        print("\nfaults, and how many sagas moved when they came")
        for name, moving in report.faults:
            print(f"  {name:<52} {moving:>4}")
    print(f"\n{sum(report.statuses.values())} orders")
    for status, number in report.statuses.most_common():
        print(f"  {status:<20} {number:>6}")
    print(f"  cancelled by customers {report.cancelled:>4}")
    if report.totals is not None:
        _show_money(report, report.totals)
    print("processes started: " + ", ".join(f"{name} {lives}" for name, lives in report.lives.items()))
    for order, what in report.troubles:
        print(f"VIOLATION {order or '(all)'}: {what}")
    for text in report.shown:
        print(f"\n{text}")
    print(f"\n{'NOT BALANCED' if report.troubles else 'everything balances'}, in {report.seconds:.0f} s")


def _show_money(report: Report, found: Totals) -> None:
    charged, refunded, worth = found
    print(f"money: charged {_money(charged)} - refunded {_money(refunded)} = {_money(charged - refunded)}", end="; ")
    print(f"completed orders are worth {_money(worth)}; {report.receipts} receipts")


def _money(cents: int) -> str:
    return f"{cents / 100:,.2f}"


if __name__ == "__main__":
    sys.exit(main())
