"""Chaos on PostgreSQL: many workers and clients under random faults, and what holds afterwards.

    python tests/chaos/fleet.py --seconds 60 --seed 7

Prints a table, or with --json one JSON object. `troubles` are broken promises; `invalid` says why a run proves nothing.
The exit code is 0 where there is neither.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "run"), str(HERE.parents[1])]
BOOT = 8  # workers that come to an empty database at once
BOOT_SECONDS = 90.0
LONGEST_BACKOFF_SECONDS = 5.0
MANY, WORTH_SECONDS = 8, 5.0  # sagas in flight that a fault is worth
HANG_SECONDS = 60.0  # a run is called hanging only then, so that the report says what hangs
RETIRED = "was retired while it was away"
SCHEMA_LOCK = (7019, 4227)
AT_LOCK = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4227 AND NOT granted"
AT_WORK = "SELECT count(*) FROM amends.worker WHERE retired_at IS NULL AND expires_at > extract(epoch FROM now())"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--directory", type=Path, help="keep the records here; by default they go when all is well")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is closed
    directory = given.directory or Path(tempfile.mkdtemp(prefix="amends-chaos-"))
    directory.mkdir(parents=True, exist_ok=True)
    os.environ |= {"CHAOS_BOOKS": str(directory), "CHAOS_DATABASE": "postgresql:///imported", "CHAOS_FORM": "all"}
    report = {"seed": given.seed, "seconds": given.seconds, **chaos(directory, given.seconds, given.seed)}
    from fleet_report import table

    again = f"python tests/chaos/fleet.py --seconds {given.seconds:g} --seed {given.seed}"
    sys.stdout.write(json.dumps(report) + "\n" if given.json else f"{table(report)}\n\nAgain: `{again}`\n")
    for sentence in (*report["troubles"], *(f"INVALID: {why}" for why in report["invalid"])):
        sys.stderr.write(f"{sentence}\n")
    well = not report["troubles"] and not report["invalid"]
    if well and given.directory is None:
        shutil.rmtree(directory)
    elif not well:
        sys.stderr.write(f"the records are in {directory}; again: {again}\n")
    return 0 if well else 1


def chaos(directory: Path, seconds: float, seed: int) -> dict[str, Any]:
    """A start, faults until the time is over, then peace, then the questions."""
    from fleet_scene import Fleet

    from services.postgres import Postgres

    with Postgres() as server, Postgres() as ledger:
        fleet = Fleet(directory, seed, server, ledger)
        try:
            killed = boot(fleet)
            faults(fleet, seconds)
            return ending(fleet, killed)
        finally:
            fleet.close()


def boot(fleet: Any) -> int:
    """Eight workers come to an empty database at once; the first that migrates it is killed half-way."""
    import psycopg
    from chaos_money import ACCOUNTS, OPENING_CENTS
    from fleet_report import BEFORE_ALL
    from fleet_scene import SKEWS, WORKERS, Place

    places = [Place(f"w{number}", fleet.ways[number % len(fleet.ways)]) for number in range(BOOT)]
    with psycopg.connect(fleet.database) as holder:  # so that they really come at once
        holder.execute("SELECT pg_advisory_xact_lock(%s, %s)", SCHEMA_LOCK)
        places[0].fault = "migrate.inside:1"
        fleet.start_worker(places[0])
        _until(lambda: fleet.ask(AT_LOCK)[0][0] == 1, "the first worker is at the schema's lock")
        for place in places[1:]:
            fleet.start_worker(place)
        _until(lambda: fleet.ask(AT_LOCK)[0][0] == BOOT, "all workers are at the schema's lock")
        fleet.note(BEFORE_ALL)
    _until(lambda: not places[0].alive, "the worker that migrates is dead")
    killed = int(places[0].process.wait() == -signal.SIGKILL) if places[0].process else 0
    _until(lambda: _at_work(fleet) == BOOT - 1, "the other workers are at work")
    with psycopg.connect(fleet.database, autocommit=True) as connection:
        connection.execute("CREATE TABLE chaos_order (id text PRIMARY KEY)")
        connection.execute("CREATE TABLE account (name text PRIMARY KEY, cents integer NOT NULL)")
        for name in ACCOUNTS:
            connection.execute("INSERT INTO account VALUES (%s, %s)", (name, OPENING_CENTS))
    for place in places[WORKERS:]:
        if place.process is not None:
            place.process.terminate()
            place.process.wait(30)
    fleet.workers = places[:WORKERS]
    for place, skew in zip(fleet.workers, SKEWS, strict=True):
        place.skew = skew
    for place in fleet.workers:
        fleet.kill(place)  # and come again, each with its own clock
    return killed


def _at_work(fleet: Any) -> int:
    """How many workers are registered; none where there is no table yet."""
    if fleet.ask("SELECT to_regclass('amends.worker') IS NULL")[0][0]:
        return 0
    return int(fleet.ask(AT_WORK)[0][0])


def _until(condition: Callable[[], bool], what: str, seconds: float = BOOT_SECONDS) -> None:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise RuntimeError(f"{what}: not within {seconds:g} s")
        time.sleep(0.05)


def faults(fleet: Any, seconds: float) -> None:
    """All kinds once, in random order, then any: until the time is over and there is something to be seen of them, for
    which a slow machine gets as long again."""
    from fleet_faults import FAULTS
    from fleet_report import SHORT_SECONDS

    fleet.rest(3.0)
    _until(lambda: _overseen(fleet) > 0, "sagas are in flight")
    began = time.monotonic()
    kinds = list(dict.fromkeys(FAULTS))
    todo = fleet.dice.sample(kinds, len(kinds))
    while (gone := time.monotonic() - began) < seconds or (
        seconds >= SHORT_SECONDS and (todo or (gone < 2 * seconds and not _shown(fleet)))
    ):
        fault = todo.pop(0) if todo else fleet.dice.choice(FAULTS)
        _worth_it(fleet)
        fault(fleet)
        last = fleet.records[-1]
        sys.stderr.write(f"{last.begin - began:6.1f} s  {last.kind} ({last.live} sagas in flight) {last.note}\n")
        fleet.rest(fleet.dice.uniform(0.1, 0.6))


def _shown(fleet: Any) -> bool:
    """Whether what needs luck has been seen: an answer lost at a commit, and one refused that had been retired."""
    from fleet_check import count_words

    return any(trap.sprung for trap in fleet.traps) and count_words(fleet.books, RETIRED) > 0


def _worth_it(fleet: Any) -> None:
    """Wait for many sagas in flight for a while, then for any."""
    for_many = time.monotonic() + WORTH_SECONDS
    _until(lambda: _overseen(fleet) >= (MANY if time.monotonic() < for_many else 1), "sagas are in flight", 40.0)


def _overseen(fleet: Any) -> int:
    fleet.oversee()
    return len(fleet.live())


def ending(fleet: Any, killed: int) -> dict[str, Any]:
    """No more faults: a person who answers, time, and the questions."""
    import fleet_check
    from chaos_laws import until_taken_over
    from chaos_shop import LEASE_SECONDS
    from fleet_faults import KINDS
    from fleet_report import counted, invalid

    bound = 3 * LEASE_SECONDS + LONGEST_BACKOFF_SECONDS + 10.0
    fleet.calm()
    began, pids = time.monotonic(), [place.process.pid for place in fleet.workers if place.process]
    found, rest, troubles = asyncio.run(_in_the_end(fleet, bound))
    lived_until = dict.fromkeys(pids, time.monotonic())
    served, ungrateful = fleet_check.zombies_that_serve(fleet.books, fleet.zombies, lived_until)
    entries = found.ledger.entries()
    taken = until_taken_over(found.histories)
    calls, repeated = fleet_check.duplicates(fleet.books, entries)
    troubles += [*fleet_check.check(found), *ungrateful, *fleet.stop_workers()]
    found.ledger.close()
    report: dict[str, Any] = {
        "seconds": round(began - fleet.records[1].begin if len(fleet.records) > 1 else 0.0, 1),
        "workers": fleet.lives,
        "clients": fleet.clients_ever,
        "sagas": Counter(view.line.status for view in found.sagas.values()),
        "faults": counted(fleet.records, fleet.overlapped),
        "seen": {
            "killed in the middle of the first migration": killed,
            "takeovers": len(taken.seconds),
            "seconds until somebody took over, median": round(taken.median, 1),
            "seconds until somebody took over, longest": round(taken.longest, 1),
            "ambiguous commits": sum(trap.sprung for trap in fleet.traps),
            "writes and renewals of retired workers refused": fleet_check.count_words(fleet.books, RETIRED),
            "decisions refused, the saga had moved on": fleet_check.count_words(fleet.books, "has moved on without"),
            "zombies": len(fleet.zombies),
            "zombies that served again": served,
            "calls that reached the participant": calls,
            "repeated calls": repeated,
            "effects": sum(entry.op == "do" for entry in entries),
            "effects taken back": sum(entry.op == "undo" for entry in entries),
            "undos that came to nothing or too early": sum(entry.op == "tombstone" for entry in entries),
        },
        "bound": bound,
        "rest": rest,
        "troubles": troubles,
    }
    return {**report, "invalid": list(invalid(report, KINDS + 1))}


async def _in_the_end(fleet: Any, bound: float) -> tuple[Any, float, list[str]]:
    """Everything comes to rest in bounded time; then what is there is gathered."""
    from chaos_books import Books
    from chaos_check import journals, views
    from fleet_check import Evidence, JournalRow, Peace
    from fleet_faults import POISON

    from amends.operate.operations import operations

    troubles: list[str] = []
    async with operations(fleet.database, answer_seconds=20) as people:
        peace = Peace(time.monotonic(), sum(record.kind == POISON for record in fleet.records), len(fleet.workers))
        overseer = asyncio.create_task(_oversee(fleet, peace))
        while (rest := peace.lasts(time.monotonic())) < HANG_SECONDS and not peace.broken:
            moving = await people.find(statuses=["running", "compensating"], limit=1000)
            mail = [finding.detail for finding in await people.doctor() if finding.what == "mail"]
            if not moving.sagas and "is answered" in mail[0] and not fleet.clients:
                break
            await _answer(people)
            await asyncio.sleep(0.2)
        troubles += peace.troubles(rest, bound)
        troubles += [f"L1 {line.id} hangs: {line}" for line in moving.sagas]
        overseer.cancel()
        found = await views(people)
        histories = await journals(people, found)
    with contextlib.suppress(asyncio.CancelledError):
        await overseer
    orders = {row[0] for row in fleet.ask("SELECT id FROM chaos_order")}
    accounts = dict(fleet.ask("SELECT name, cents FROM account"))
    rows = fleet.ask("SELECT saga, seq, row FROM amends.journal ORDER BY saga, seq")
    journal = [JournalRow(saga.bytes, seq, row) for saga, seq, row in rows]
    books = Books(fleet.ledger_url, fleet.books)
    return Evidence(fleet.books, books, orders, accounts, journal, found, fleet.zombies, histories), rest, troubles


async def _oversee(fleet: Any, peace: Any) -> None:
    """A supervisor starts workers that are not there, also in peace, when a saga may take some down yet; clients are
    let go."""
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, fleet.end_clients)
    while True:
        for place in fleet.workers:
            if not place.alive:
                peace.deaths.append(time.monotonic())
                fleet.start_worker(place)
        await asyncio.sleep(0.2)


async def _answer(people: Any) -> None:
    """Whoever waits for a person gets an answer."""
    from amends.errors import AmendsError
    from amends.operate.values import Trouble

    async def answer(saga_id: str) -> None:
        with contextlib.suppress(AmendsError):
            await people.signal(saga_id, "approval", b'{"granted": true, "note": "in the end"}', actor="ann")

    waiting = (await people.stuck(troubles=[Trouble.WAITING], limit=200)).lines
    await asyncio.gather(*(answer(line.saga.id) for line in waiting))


if __name__ == "__main__":
    sys.exit(main())
