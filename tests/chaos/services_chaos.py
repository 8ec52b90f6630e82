"""Chaos of services: orchestrators, participants of three services, clients and a broker under all faults at once.

    python tests/chaos/services_chaos.py --broker nats --seconds 60 --seed 7
    python tests/chaos/services_chaos.py --broker nats --seconds 60 --seed 7 --style choreographed

In the choreographed style a service starts the sagas, nobody is in the middle, and a watcher looks on.
Prints a table, or with --json one JSON object. `troubles` are broken promises; `invalid` says why a run proves
nothing. The exit code is 0 where there is neither, 1 where a promise is broken, 2 where the run is invalid.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "run"), str(HERE.parents[1])]
STYLES = ("orchestrated", "choreographed")
KINDS = ("kafka", "rabbitmq", "nats", "redis")
OPTIONS = {  # so that what must pass passes soon
    "kafka": "partitions=4&session_seconds=3",
    "rabbitmq": "heartbeat_seconds=2",
    "nats": "claim_seconds=2",
    "redis": "claim_seconds=2",
}
BOUND_SECONDS = 60.0  # after the last fault everything is at rest, a backlog of asking again included
HANG_SECONDS = 60.0  # a run is called hanging only so long after that, so that the report says what hangs
CALM_SECONDS = 3.0
STILL_LOOKS = 40  # a NATS that was killed may count messages that it gives nobody, as it knows them acked
MANY, WORTH_SECONDS = 6, 8.0  # sagas in flight that a fault is worth


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--broker", choices=KINDS, default="nats")
    parser.add_argument("--style", choices=STYLES, default=STYLES[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--directory", type=Path, help="keep the records here; by default they go when all is well")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is closed
    directory = given.directory or Path(tempfile.mkdtemp(prefix="amends-chaos-"))
    directory.mkdir(parents=True, exist_ok=True)
    again = (
        f"python tests/chaos/services_chaos.py --broker {given.broker} --seconds {given.seconds:g} --seed {given.seed}"
        + (f" --style {given.style}" if given.style != STYLES[0] else "")
    )
    found = chaos(directory, given.broker, given.seconds, given.seed, given.style)
    report = {"broker": given.broker, "seed": given.seed, **found}
    from services_report import table

    sys.stdout.write(json.dumps(report) + "\n" if given.json else f"{table(report)}\n\nAgain: `{again}`\n")
    for sentence in (*report["troubles"], *(f"INVALID: {why}" for why in report["invalid"])):
        sys.stderr.write(f"{sentence}\n")
    code = 1 if report["troubles"] else 2 if report["invalid"] else 0
    if code == 0 and given.directory is None:
        shutil.rmtree(directory)
    elif code:
        sys.stderr.write(f"the records are in {directory}; again: {again}\n")
    return code


def chaos(directory: Path, kind: str, seconds: float, seed: int, style: str) -> dict[str, Any]:
    """A start, faults until the time is over, then peace, then the questions."""
    from services_books import make_books
    from services_shop import SERVICES
    from services_yard import Yard

    from services.databases import Databases
    from services.kafka import Kafka
    from services.nats import Nats
    from services.postgres import Postgres
    from services.rabbitmq import Rabbitmq
    from services.redis import Redis

    brokers: dict[str, Any] = {"kafka": Kafka, "rabbitmq": Rabbitmq, "nats": Nats, "redis": Redis}
    with Postgres() as server, brokers[kind]() as broker:
        databases = Databases(server.admin_url)
        others = ("watcher",) if style == "choreographed" else ()
        places = {name: databases.create() for name in ("orders", *SERVICES, *others)}
        for name in ("orders", *SERVICES):
            make_books(places[name])
        yard = Yard(directory, seed, broker, f"{broker.url}?{OPTIONS[kind]}", places, style)
        try:
            faults(yard, seconds)
            return ending(yard, seconds)
        finally:
            yard.close()


def faults(yard: Any, seconds: float) -> None:
    """All kinds once, in random order, then any: until the time is over and there is something to be seen of them, for
    which a slow machine gets as long again."""
    from services_faults import FAULTS, kill_a_service_at_a_point
    from services_report import SHORT_SECONDS

    _worth_it(yard, 60.0)
    began = time.monotonic()
    kinds = list(dict.fromkeys(FAULTS[yard.style]))
    todo = yard.dice.sample(kinds, len(kinds))
    while (gone := time.monotonic() - began) < seconds or (
        seconds >= SHORT_SECONDS and (todo or (gone < 2 * seconds and not _shown(yard)))
    ):
        late = (kill_a_service_at_a_point,) if gone > seconds and not todo else FAULTS[yard.style]
        fault = todo.pop(0) if todo else yard.dice.choice(late)
        _worth_it(yard, WORTH_SECONDS)
        fault(yard)
        last = yard.records[-1]
        sys.stderr.write(f"{last.at - began:6.1f} s  {last.kind} ({last.live} sagas in flight) {last.note}\n")
        yard.rest(yard.dice.uniform(0.3, 2.0))


def _shown(yard: Any) -> bool:
    """Whether what needs luck has been seen: who died with a baton in hand, and a cancel that came in time."""
    from services_books import lines

    told = lines(yard.books.glob("client-*.jsonl"))
    return yard.style != "choreographed" or (bool(yard.died_at) and any(line["what"] == "cancelled" for line in told))


def _worth_it(yard: Any, seconds: float) -> None:
    """Wait for many sagas in flight for a while."""
    until = time.monotonic() + seconds
    while len(yard.live()) < MANY and time.monotonic() < until:
        yard.rest(0.2)


def ending(yard: Any, seconds: float) -> dict[str, Any]:
    """No more faults, time, and the questions."""
    from chaos_laws import undone_unasked
    from services_books import calls, entries, lines, unbalanced
    from services_check import Evidence, check, words
    from services_homes import ends_of_homes, longest_wait
    from services_report import counted, invalid
    from services_shop import SERVICES

    yard.calm()
    if yard.style == "choreographed":
        _go_undisturbed(yard)
    bound = BOUND_SECONDS
    if yard.style == "choreographed":
        bound += longest_wait(yard.databases["orders"])
    sagas, rest, troubles = asyncio.run(_in_the_end(yard, bound))
    troubles += yard.stop()
    ledgers = {name: entries(yard.databases[name]) for name in SERVICES}
    called = calls(yard.books)
    told = lines(yard.books.glob("client-*.jsonl"))
    troubles += check(Evidence(sagas, ledgers, called, told, killed=yard.killed))
    done = {(entry.saga, entry.step) for ledger in ledgers.values() for entry in ledger if entry.op == "do"}
    troubles += undone_unasked(called, done)
    troubles += [
        f"S11 {name}: entry {seq} does not balance" for name in SERVICES for seq in unbalanced(yard.databases[name])
    ]
    troubles += words(yard.books)
    counts: Counter[str] = Counter()
    for path in yard.books.glob("counts-*.json"):
        counts.update(json.loads(path.read_text()))
    refusals = (path.read_text(errors="replace") for path in yard.books.glob("stderr-orchestrator-*.txt"))
    counts["replies refused"] = sum(text.count("a reply is refused") for text in refusals)
    if yard.style == "choreographed":
        more, seen = ends_of_homes(yard, sagas, told)
        troubles += more
        counts.update(seen)
    report: dict[str, Any] = {
        "style": yard.style,
        "seconds": seconds,
        "lives": sum(unit.lives for unit in yard.units),
        "sagas": Counter(view.line.status for view in sagas.values()),
        "faults": counted(yard.records, yard.overlapped),
        "messages": {name: count for name, count in sorted(counts.items()) if count},
        "effects": sum(len(ledger) for ledger in ledgers.values()),
        "calls": len(called),
        "bound": bound,
        "rest": rest,
        "troubles": troubles,
    }
    return {**report, "invalid": list(invalid(report))}


def _go_undisturbed(yard: Any) -> None:
    """Some sagas end when the watcher has to know all of them."""
    from services_homes import is_watching, known_since

    until = time.monotonic() + HANG_SECONDS
    while not is_watching(yard) and time.monotonic() < until:
        yard.rest(0.1)
    yard.rest(max(known_since(yard) - time.time(), 0.0) + CALM_SECONDS)


async def _in_the_end(yard: Any, bound: float) -> tuple[dict[str, Any], float, list[str]]:
    """Everything comes to rest in bounded time; then what is there is gathered."""
    from chaos_check import journals, views
    from chaos_laws import laws
    from services_homes import homes_of

    from amends.operate.operations import operations

    loop, began, troubles = asyncio.get_running_loop(), time.monotonic(), []
    await loop.run_in_executor(None, yard.end_clients)
    while (rest := time.monotonic() - began) < bound + HANG_SECONDS:
        yard.oversee()
        moving = yard.live()
        if not moving:
            break
        await asyncio.sleep(0.2)
    if rest > bound:
        troubles.append(f"L1 all was at rest only {rest:.1f} s after the last fault; the bound is {bound:.1f} s")
    troubles += [f"L1 {saga} hangs" for saga in moving]
    if moving:
        await _seen(yard, moving)
    if not await _delivered(yard):
        troubles.append("L3 messages are still under way long after the last fault")
    if yard.style == "choreographed":
        return homes_of(yard.databases["orders"]), rest, troubles
    async with operations(yard.databases["orders"], answer_seconds=20) as people:
        found = await views(people)
        return found, rest, [*troubles, *laws(found, await journals(people, found))]


async def _seen(yard: Any, hanging: list[str]) -> None:
    """Keep what is known of sagas that hang: where processes wait, what databases say."""
    from services_books import everything_of
    from services_shop import HANGS

    (yard.books / HANGS).touch()
    for name, url in yard.databases.items():
        (yard.books / f"hangs-{name}.txt").write_text(everything_of(url, hanging))
    await asyncio.sleep(1.0)  # they look a few times in a second


async def _delivered(yard: Any) -> bool:
    """Wait until nothing is under way to any service, so that what came late has had its say."""
    from services_shop import SERVICES

    from amends.transport.names import commands_of, progress_of
    from amends.transport.open import transport_for

    queues = [(commands_of(name), name) for name in SERVICES]
    if yard.style == "choreographed":
        queues += [(commands_of("orders"), "orders"), (progress_of("orders"), "watcher")]
    asker, until, looks, still = transport_for(yard.url), time.monotonic() + 60.0, 0, 0
    before: list[int | None] = []
    await asker.open()
    while looks < 10 and still < STILL_LOOKS and time.monotonic() < until:
        yard.oversee()
        lags = [await asker.lag(*queue) for queue in queues]
        looks = 0 if any(lags) else looks + 1
        still = 0 if lags != before else still + 1
        before = lags
        await asyncio.sleep(0.2)
    await asker.close()
    return looks >= 10 or still >= STILL_LOOKS


if __name__ == "__main__":
    os.environ.setdefault("SHOP_REPLY_SECONDS", "1.5")
    sys.exit(main())
