"""The independent checker of the chaos test: books, clients' logs and sagas, held against each other.

What it is: a function from what three parties wrote down to a list of sentences, empty if all is well. The ledger
and the accounts never heard of amends' journal, and the clients wrote down only what they were told.
Guarantees: reads by the public face, and changes nothing.
Must not: excuse.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from chaos_money import ACCOUNTS, OPENING_CENTS
from chaos_shop import PATHS, the_ledger
from ledger import Effect, Ledger

from amends.operate.operations import Operations
from amends.operate.values import SagaView
from amends.run.journal import Row, decode

Told = dict[str, Any]
AT_ONCE = 16
# asyncpg leaves this behind where a connect is given up in the very moment in which its line is cut; nobody's saga.
ASYNCPG_S_OWN = (
    "Future exception was never retrieved\nfuture: <Future finished exception=ConnectionError('unexpected con"
)
SETTLED = ("compensated", "void", "closed")
DOUBTFUL = re.compile(r"bug in amends|Traceback|never retrieved|never awaited|Exception ignored", re.IGNORECASE)


def logs(books: Path) -> list[Told]:
    """Every whole line that any client wrote."""
    found: list[Told] = []
    for path in sorted(books.glob("client-*.jsonl")):
        for line in path.read_text().splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                found.append(json.loads(line))
    return found


async def views(operations: Operations) -> dict[str, SagaView]:
    """All sagas, page by page."""
    found: dict[str, SagaView] = {}
    before: str | None = None
    while True:
        page = await operations.find(limit=1000, before=before)
        for start in range(0, len(page.sagas), AT_ONCE):
            ids = [line.id for line in page.sagas[start : start + AT_ONCE]]
            found.update(zip(ids, await asyncio.gather(*map(operations.show, ids)), strict=True))
        if not page.more:
            return found
        before = page.sagas[-1].id


async def journals(operations: Operations, ids: Iterable[str]) -> dict[str, list[Row]]:
    """The history of each of these sagas, row by row, as it lies in the store."""
    found: dict[str, list[Row]] = {}
    for saga_id in ids:
        loaded = await operations.session.store.load(saga_id)
        found[saga_id] = [] if loaded is None else [decode(row) for row in loaded.rows]
    return found


def check(books: Path, database: Path, sagas: dict[str, SagaView]) -> list[str]:
    """Everything that does not hold."""
    told = logs(books)
    ledger = next(the_ledger())
    effects = ledger.effects()
    try:
        return [
            *what_clients_were_told(told, sagas),
            *who_exists(told, _orders(database), sagas),
            *effects_and_ends(effects, sagas),
            *lists_of_the_parked(effects, sagas),
            *_money(database, ledger, sagas),
            *_files(database, books),
        ]
    finally:
        ledger.close()


def what_clients_were_told(told: list[Told], sagas: dict[str, SagaView]) -> Iterator[str]:
    seen: dict[str, set[tuple[str, str]]] = {}
    for line in told:
        saga_id, view = line["id"], sagas.get(line["id"])
        if line["what"] == "ugly":
            yield f"a client was told something ugly ({saga_id}): {line['text']}"
        elif view is None:
            continue
        elif line["what"] == "cancelled" and view.line.status == "completed":
            yield f"{saga_id}: its cancel was accepted, and it completed"
        elif line["what"] == "signalled" and not _heard(view, f"{saga_id.partition('-')[0]} {line['message']}"):
            yield f"{saga_id}: the signal {line['message']} was accepted, and is not in its history"
        elif line["what"] == "acted" and not any(entry.actor and entry.reason == "chaos" for entry in view.history):
            yield f"{saga_id}: {line['verb']} was accepted, and is not in its history"
        elif line["what"] == "outcome" and line["status"] != "parked":
            seen.setdefault(saga_id, set()).add((line["status"], json.dumps(line.get("result"))))
    for saga_id, outcomes in seen.items():
        if len(outcomes) > 1 or next(iter(outcomes))[0] != sagas[saga_id].line.status:
            yield f"{saga_id}: clients saw it end as {outcomes}, and it is {sagas[saga_id].line.status}"


def _heard(view: SagaView, note: str) -> bool:
    return any(line.value is not None and note in line.value.decode() for line in view.history)


def _orders(database: Path) -> set[str]:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return {row[0] for row in connection.execute("SELECT id FROM chaos_order")}


def who_exists(told: list[Told], rows: set[str], sagas: dict[str, SagaView]) -> Iterator[str]:
    """rows: the orders whose own transactions, which started the sagas too, were committed."""
    started = {line["id"] for line in told if line["what"] == "started"}
    asked = {line["id"] for line in told if line["what"] == "asked"}
    rolled_back = {line["id"] for line in told if line["what"] == "rolled-back"}
    for saga_id in sorted(started - set(sagas)):
        yield f"{saga_id}: its start was acknowledged, and it does not exist"
    for saga_id in sorted(rows - set(sagas)):
        yield f"{saga_id}: the transaction that started it was committed, and it does not exist"
    for saga_id in sorted(rolled_back & set(sagas)):
        yield f"{saga_id}: the transaction that started it was rolled back, and it exists"
    for saga_id in sorted(set(sagas) - asked - rows):
        if not saga_id.startswith("poison-"):
            yield f"{saga_id}: it exists, and nobody committed a transaction that started it"


def standing_of(effects: list[Effect]) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    for effect in effects:
        if effect.cents is not None and not effect.undone_by:
            found.setdefault(effect.saga, Counter())[effect.step] += 1
    return found


def effects_and_ends(effects: list[Effect], sagas: dict[str, SagaView]) -> Iterator[str]:
    standing = standing_of(effects)
    for saga_id in sorted(set(standing) - set(sagas)):
        yield f"{saga_id}: it does not exist, and its effects stand: {dict(standing[saga_id])}"
    for saga_id, view in sagas.items():
        mine = standing.get(saga_id, Counter())
        closed, name = set(view.closed), view.line.saga
        for step, count in mine.items():
            if count > 1:
                yield f"{saga_id}: {step} has {count} effects that stand"
        if view.line.status == "compensated" and set(mine) - closed:
            yield f"{saga_id}: it is compensated, and these effects stand: {sorted(set(mine) - closed)}"
        if view.line.status == "completed" and set(mine) - closed not in [path - closed for path in PATHS[name]]:
            yield f"{saga_id}: it is completed ({name}), and what stands is {sorted(mine)}, closed {sorted(closed)}"


def lists_of_the_parked(effects: list[Effect], sagas: dict[str, SagaView]) -> Iterator[str]:
    standing = standing_of(effects)
    for saga_id, view in sagas.items():
        if view.line.status != "parked":
            continue
        mine = {step for step, count in standing.get(saga_id, Counter()).items() if count}
        listed, closed, passed = {entry.step for entry in view.unsettled}, set(view.closed), view.state.passed
        expected: set[str] = set()
        settled: set[str] = set()
        for address, step in view.state.steps.items():
            node = view.plan.node(address)
            if node is None or not hasattr(node, "readonly") or node.readonly or address in closed:
                continue
            action, undo = str(step.action.status), "" if step.undo is None else str(step.undo.status)
            if passed:
                open_ = action not in ("pending", "skipped", "succeeded")
                settled |= {address} if action == "succeeded" else set()
            else:
                open_ = action in ("succeeded", "unknown", "stuck") and undo not in SETTLED
            expected |= {address} if open_ else set()
        if listed != expected:
            yield f"{saga_id}: parked, its list is {sorted(listed)}, and should be {sorted(expected)}"
        if mine - listed - closed - settled:
            yield f"{saga_id}: parked, and these effects stand unlisted: {sorted(mine - listed - closed - settled)}"


def _money(database: Path, ledger: Ledger, sagas: dict[str, SagaView]) -> Iterator[str]:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        found = dict(connection.execute("SELECT name, cents FROM account"))
    yield from accounts(found, sagas)
    yield from amounts(ledger.effects(), sagas)


def accounts(found: dict[str, int], sagas: dict[str, SagaView]) -> Iterator[str]:
    """The accounts, to the cent, from what the sagas say."""
    expected = Counter(dict.fromkeys(ACCOUNTS, OPENING_CENTS))
    for saga_id, view in sagas.items():
        if view.line.saga != "transfer" or view.line.status == "compensated":
            continue
        transfer = json.loads(view.input)
        if view.line.status != "completed" or view.closed:
            yield f"{saga_id}: a transfer is {view.line.status}, closed {view.closed}: {view.line.reason}"
        expected[transfer["source"]] -= transfer["cents"]
        expected[transfer["target"]] += transfer["cents"]
    if found != dict(expected):
        yield f"the accounts hold {found}, and the transfers make {dict(expected)}"
    if sum(found.values()) != OPENING_CENTS * len(ACCOUNTS):
        yield f"the accounts hold {sum(found.values())} cents in all"


def amounts(effects: list[Effect], sagas: dict[str, SagaView]) -> Iterator[str]:
    """Every effect moved what its order said."""
    for effect in effects:
        if effect.cents is not None and not _right(effect, sagas):
            yield f"{effect.saga}: {effect.step} moved {effect.cents} cents"


def _right(effect: Effect, sagas: dict[str, SagaView]) -> bool:
    view = sagas.get(effect.saga)
    if view is None:
        return False
    part = re.fullmatch(r"pay_part\[(\d)\]", effect.step)
    return effect.cents == (int(part[1]) + 1 if part else json.loads(view.input)["cents"])


def _files(database: Path, books: Path) -> Iterator[str]:
    for path in (database, books / "ledger.db"):
        with contextlib.closing(sqlite3.connect(path)) as connection:
            word = connection.execute("PRAGMA integrity_check").fetchone()[0]
        if word != "ok":
            yield f"{path.name}: {word}"
    yield from ugly_words(books / "stderr.txt")


def ugly_words(path: Path) -> Iterator[str]:
    """What a process wrote to stderr that nobody should have to read; the first of it."""
    lines = path.read_text(errors="replace").splitlines()
    for number, line in enumerate(lines):
        block = "\n".join(lines[number : number + 45])
        starved = "Traceback" in line and "[Errno 24] Too many open files" in block  # Python itself cannot begin
        if DOUBTFUL.search(line) and not (starved or block.startswith(ASYNCPG_S_OWN)):
            yield f"somebody wrote to {path.name}: " + "\n".join(lines[max(number - 3, 0) : number + 45])
            return
