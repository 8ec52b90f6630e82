"""The end of the demo: the ledger in words and numbers, for people and as JSON.

Guarantees: says that it balances only if it does; otherwise says what does not fit, with the
history of each saga that is named.
Must not: compute anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.text import Text

from amends.operate.demo.ledger import Counts, money
from amends.operate.demo.story import Result
from amends.operate.demo.system import Run

INDENT = 11


def ledger(result: Result) -> Iterator[Text]:
    """The ledger, line by line."""
    balance = result.balance
    done = [view for view in result.views if view.status == "completed"]
    undone = [view for view in result.views if view.status == "compensated"]
    mended = sum(view.mended for view in result.views)
    net = money(balance.charged - balance.refunded)
    yield Text("The ledger", style="bold")
    yield Text()
    yield _line("money", f"charged {money(balance.charged)} - refunded {money(balance.refunded)} = {net}")
    yield _line("", f"{len(done)} completed orders are worth {money(balance.worth)}; unsettled: {_unsettled(result)}")
    for number, shelf in enumerate(balance.shelves):
        parts = f"{shelf.initial:4} {shelf.sku:8} = {shelf.available:4} available + {shelf.shipped:3} shipped"
        yield _line("" if number else "stock", parts + (f" + {shelf.reserved} reserved" if shelf.reserved else ""))
    parked = f"{mended} mended by a person"
    yield _line("orders", f"{len(result.views)}: {len(done)} completed, {len(undone)} compensated; {parked}")
    counts = result.counts
    yield _line("effects", f"{counts.effects}, each once by its key; {_absorbed(counts)}")
    yield from _kills(result)
    yield Text()
    yield from _verdict(result)


def _absorbed(counts: Counts) -> str:
    return f"{counts.repeats} repeats absorbed, {counts.late} too late and refused"


def _unsettled(result: Result) -> str:
    return money(result.balance.unsettled) if result.balance.unsettled else "nothing"


def _kills(result: Result) -> Iterator[Text]:
    for number, death in enumerate(result.deaths):
        ended = sum(view.ended for view in result.views if view.order.id in death.orders)
        all_ended = "all" if ended == len(death.orders) else str(ended)
        left = (
            f"{len(death.orders)} sagas, {len(death.in_flight)} with a call on its way; {all_ended} taken up and ended"
        )
        yield _line("" if number else "kill -9", f"worker {death.pid}: {left}")


def _verdict(result: Result) -> Iterator[Text]:
    if result.well:
        yield Text(
            f"Every saga ended, and the ledger balances to the cent. ({result.seconds:.1f} s)", style="bold green"
        )
        return
    for trouble in result.troubles:
        yield Text(trouble, style="bold red")
    for name, lines in result.timelines.items():
        yield Text()
        yield Text(f"{name}, from its history:", style="bold")
        yield from (Text(f"  {line}") for line in lines)
    yield Text()
    yield Text("This run did not end well.", style="bold red")


def where_next(result: Result, run: Run, *, kept: bool) -> Iterator[Text]:
    """Three lines."""
    telling = next((view.order.id for view in result.views if view.mended), result.views[0].order.id)
    yield Text("Next", style="bold")
    yield _line("read", "docs/start/demo.md: what you have just seen, and why it is hard")
    yield _line("write", "README.md, docs/start/quickstart.md: your first saga")
    if kept:
        yield _line("look", f"amends show {telling} --database {run.url}")
    else:
        yield _line("look", f"amends demo --keep, and then: amends show {telling} --database ...")


def summary(result: Result, run: Run) -> dict[str, Any]:
    """The same for a program."""
    balance, counts = result.balance, result.counts
    return {
        "well": result.well,
        "troubles": list(result.troubles),
        "orders": len(result.views),
        "seed": run.seed,
        "completed": sum(view.status == "completed" for view in result.views),
        "compensated": sum(view.status == "compensated" for view in result.views),
        "mended": [view.order.id for view in result.views if view.mended],
        "kills": [
            {"pid": death.pid, "going": death.going, "sagas": list(death.orders), "in_flight": list(death.in_flight)}
            for death in result.deaths
        ],
        "taken_up": [view.order.id for view in result.views if view.taken_up],
        "outcomes": {view.order.id: view.status for view in result.views},
        "cents": {
            "charged": balance.charged,
            "refunded": balance.refunded,
            "worth": balance.worth,
            "unsettled": balance.unsettled,
        },
        "stock": [
            {"sku": shelf.sku, "initial": shelf.initial, "available": shelf.available, "shipped": shelf.shipped}
            for shelf in balance.shelves
        ],
        "effects": counts.effects,
        "repeats_absorbed": counts.repeats,
        "late_refused": counts.late,
        "seconds": round(result.seconds, 3),
    }


def _line(label: str, text: str) -> Text:
    return Text.assemble("  ", (f"{label:9}", "cyan"), text)
