"""How long people wait who look for sagas among a million: `python -m bench.million`.

A few sagas of five definitions really run, to each kind of end; the store is filled with copies of them, which differ
in their ids, their ages and the numbers in what went wrong. Then all that may be asked is asked, on both databases.

Guarantees: each look is taken several times, through the same operations as the command line's; the worst counts.
Must not: touch a file or a database that something else uses.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from amends import Orchestrator, Park, Reject, Retry, Saga, step, wait_for, when
from amends.operate.operations import Operations, operations
from amends.operate.values import Search, Trouble
from bench.million_fill import Kinds, fill_postgres, fill_sqlite
from services.postgres import Postgres

LIMIT_MILLISECONDS = 200.0
TIMES = 5
NAMES = ("place-order", "book-trip", "open-account", "pay-out", "move-house")
WORDS = ("does not answer", "is closed", "has no such account", "wants a person", "was moved")


@dataclass
class Order:
    """What a saga is about. kind: how it is to end."""

    sku: str
    number: int
    kind: str


@step(retry=Retry(attempts=1))
async def reserve(order: Order) -> str:
    """Keep something."""
    return f"r-{order.number}"


@reserve.compensation(retry=Retry(attempts=1))
async def release(order: Order) -> None:
    """Let it go."""
    if order.kind.startswith("held"):
        raise RuntimeError(f"shelf {order.number} {WORDS[int(order.kind[4:])]}")


@step(retry=Retry(attempts=1))
async def pay(order: Order) -> str:
    """Charge for it, or not."""
    if order.kind.startswith(("back", "held")):
        raise Reject(f"card {order.number} was declined")
    if order.kind.startswith("parked"):
        raise Park(f"the bank of account 'DE{order.number}' {WORDS[int(order.kind[6:])]}")
    return f"p-{order.number}"


@pay.compensation
async def refund() -> None:
    """Give it back."""


def waits(order: Order) -> bool:
    """Whether somebody has to agree first."""
    return order.kind == "waiting"


def sagas() -> list[Saga[Order, None]]:
    """Five definitions."""
    approval = wait_for("approval", bool)
    return [Saga(name, reserve, when(waits, approval), pay, input=Order) for name in NAMES]


KINDS: Kinds = ("done", "back", "waiting", *(f"{word}{n}" for word in ("parked", "held") for n in range(len(WORDS))))


async def originals(url: str, migrate: bool) -> None:
    """Run one saga of each kind and definition; only those that wait stay open beside the parked."""
    made = sagas()
    orchestrator = Orchestrator(url, sagas=made, migrate=migrate)
    async with orchestrator:
        for saga in made:
            for number, kind in enumerate(KINDS):
                name = f"{saga.name} {kind}"
                order = Order(("tea", "lamp", "rug")[number % 3], 1000 + number, kind)
                if kind == "waiting":
                    await orchestrator.start(saga, order, id=name)
                else:
                    await orchestrator.run(saga, order, id=name)
        await asyncio.sleep(1.5)  # those that wait leave the memory


Look = Callable[[Operations], Awaitable[object]]


async def looks(found: Operations) -> dict[str, Look]:
    """Everything that may be asked, by what it is."""
    example = (await found.search(Search(statuses=("parked",)))).sagas[7]
    fingerprint = (await found.plan("book-trip")).fingerprint
    old = (await found.search(Search(statuses=("completed",)), limit=1)).sagas[0].id

    def search(before: str | None = None, limit: int = 50, **wanted: object) -> Look:
        return lambda one: one.search(Search(**wanted), before=before, limit=limit)  # type: ignore[arg-type]

    return {
        "list": search(),
        "list, the second page": search(before=old),
        "list, 1,000 of them": search(limit=1000),
        "completed": search(statuses=("completed",)),
        "completed of one definition": search(statuses=("completed",), sagas=("move-house",)),
        "compensated with one error": search(statuses=("compensated",), fingerprints=(example.fingerprint,)),
        "open": search(statuses=("running", "compensating", "parked")),
        "open of one definition": search(statuses=("running",), sagas=("pay-out",)),
        "parked": search(statuses=("parked",)),
        "stuck flag": search(stuck=True),
        "one error": search(fingerprints=(example.fingerprint,)),
        "at one step": search(steps=("pay",)),
        "the very id": search(key=example.id),
        "beginning of an amends id": search(key=old[:13]),
        "beginning of no id": search(key="order-"),
        "input of open ones": search(statuses=("parked",), input=(("number", "1003"),)),
        "input of all, rare": search(input=(("number", "1"),)),
        "one version": search(versions=(fingerprint[:8],)),
        "nobody's": search(assigned=""),
        "somebody's": search(assigned="ada"),
        "started within an hour": search(started_after=time.time() - 3600),
        "started a week ago or earlier": search(started_before=time.time() - 7 * 86_400),
        "unchanged for a day, open": search(statuses=("running",), changed_before=time.time() - 86_400),
        **{f"trouble {trouble}": search(troubles=(trouble,)) for trouble in Trouble},
        "groups": lambda one: one.groups(Search()),
        "groups of one definition": lambda one: one.groups(Search(sagas=("pay-out",), stuck=True)),
        "overview": lambda one: one.overview(),
        "workers": lambda one: one.workers(),
        "stuck": lambda one: one.stuck(),
        "show one": lambda one: one.show(example.id),
        "doctor": lambda one: one.doctor(),
    }


Row = tuple[str, float, float, float, str]


async def measured(url: str) -> list[Row]:
    """The median and the worst of each look and the processor time of this process, in milliseconds, and what was
    found."""
    rows: list[Row] = []
    async with operations(url) as found:
        for name, look in (await looks(found)).items():
            spans: list[float] = []
            used = time.process_time()
            for _ in range(TIMES):
                begun = time.perf_counter()
                answer = await look(found)
                spans.append((time.perf_counter() - begun) * 1000)
            used = (time.process_time() - used) * 1000 / TIMES
            rows.append((name, median(spans), max(spans), used, _size(answer)))
    return rows


def _size(answer: object) -> str:
    lines = getattr(answer, "sagas", None) or getattr(answer, "lines", None)
    more = " and more" if getattr(answer, "more", False) else ""
    if lines is not None or hasattr(answer, "more"):
        return f"{len(lines or ())}{more}"
    return str(len(answer)) if isinstance(answer, tuple) else ""


def table(title: str, rows: list[Row]) -> list[str]:
    """The Markdown."""
    lines = [f"| {title} | found | median ms | worst ms | CPU ms here | |", "|---|---|---|---|---|---|"]
    for name, middle, worst, used, size in rows:
        word = "reached" if worst < LIMIT_MILLISECONDS else "falls short"
        lines.append(f"| {name} | {size} | {middle:.1f} | {worst:.1f} | {used:.1f} | {word} |")
    return lines


def _ask(title: str, url: str, *, pages: bool) -> None:
    print("\n".join(table(title, asyncio.run(measured(url)))), flush=True)
    if pages:
        from bench.million_pages import measured_pages  # of the extra `web`

        print("\n".join(table(f"{title}: pages and API", asyncio.run(measured_pages(url)))), flush=True)


def _run(options: argparse.Namespace) -> None:
    sizes = options.ended, options.open, options.parked
    with ExitStack() as stack:
        if not options.postgres_only:
            home = stack.enter_context(tempfile.TemporaryDirectory(dir=options.dir))
            path = Path(options.file or f"{home}/million.db")
            if not path.exists():
                asyncio.run(originals(f"sqlite:///{path}", migrate=False))
                begun = time.perf_counter()
                fill_sqlite(path, KINDS, *sizes)
                size = path.stat().st_size / 1e6
                print(f"SQLite: filled in {time.perf_counter() - begun:.0f} s, {size:,.0f} MB", flush=True)
            _ask("SQLite", f"sqlite:///{path}", pages=options.pages)
        if not options.sqlite_only:
            url = options.postgres or stack.enter_context(Postgres()).create_database()
            if not options.filled:
                asyncio.run(originals(url, migrate=True))
                begun = time.perf_counter()
                fill_postgres(url, KINDS, *sizes)
                print(f"PostgreSQL: filled in {time.perf_counter() - begun:.0f} s", flush=True)
            _ask("PostgreSQL", url, pages=options.pages)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ended", type=int, default=1_000_000)
    parser.add_argument("--open", type=int, default=5_000)
    parser.add_argument("--parked", type=int, default=400)
    parser.add_argument("--postgres", metavar="URL", help="an empty database; else one of a private server")
    parser.add_argument("--filled", action="store_true", help="that database has them already")
    parser.add_argument("--pages", action="store_true", help="ask the pages and the HTTP API too")
    parser.add_argument("--sqlite-only", action="store_true")
    parser.add_argument("--postgres-only", action="store_true")
    parser.add_argument("--file", help="where the file is to be, or is already, and stays")
    parser.add_argument("--dir", type=Path, help="where it is to be for the run")
    _run(parser.parse_args())


if __name__ == "__main__":
    main()
