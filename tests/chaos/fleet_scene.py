"""The scene of the chaos on PostgreSQL: servers, proxies, a fleet of workers, clients, and a log of what was done.

What it is: workers that differ in their way to the database (directly; through a proxy; through a proxy and PgBouncer
in transaction mode) and in their wall clock. The ledger is on a server of its own, which nobody harms.
Guarantees: every process it starts is ended by `close`, whatever state it is in; a worker or client that dies is
followed by another; whatever is stopped is continued, at the latest by `calm`.
Must not: judge.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg
from chaos_books import make_books

from services.pgbouncer import Pgbouncer
from services.postgres import Postgres
from services.proxy import Proxy, Trap

HERE = Path(__file__).parent
WORKERS = 4
CLIENTS = 3
SKEWS = (300.0, -300.0, 0.0, 120.0)  # seconds by which a worker's wall clock is off
RETIRED_SECONDS = 10.0  # after which nobody is left to retire it
REGISTERED = "SELECT 1 FROM amends.worker WHERE pid = {} AND retired_at IS NULL"
RUN_BY_SOMEBODY = "SELECT key FROM amends.saga WHERE owner IS NOT NULL AND status IN ('running', 'compensating')"


class ImpatientPgbouncer(Pgbouncer):
    """By default one asks a server that was away again only after 15 s, which is PgBouncer's promise and not ours."""

    def configure(self) -> None:
        """As always, and one line more."""
        super().configure()
        self.place.write("pgbouncer.ini", (self.directory / "pgbouncer.ini").read_text() + "server_login_retry = 1\n")


@dataclass
class Place:
    """What a process needs to be started again: its name, its way to the database, its clock."""

    name: str
    url: str
    skew: float = 0.0
    process: subprocess.Popen[bytes] | None = None
    fault: str = ""  # AMENDS_FAULT of its next life
    frozen: bool = False

    @property
    def alive(self) -> bool:
        """Whether its process is there, stopped or not."""
        return self.process is not None and self.process.poll() is None


@dataclass
class Zombie:
    """A worker that was stopped for longer than its lease, and when it went on."""

    pid: int
    asleep: float
    awake: float


@dataclass
class Record:
    """The fault log: what was done, when, and to how many sagas in flight."""

    kind: str
    begin: float
    live: int
    note: str = ""


@dataclass
class Fleet:
    """One run's place, servers and processes."""

    books: Path
    seed: int
    server: Postgres
    ledger: Postgres
    dice: random.Random = field(init=False)
    workers: list[Place] = field(default_factory=list)
    clients: dict[str, Place] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)
    overlapped: dict[str, set[str]] = field(default_factory=dict)
    zombies: list[Zombie] = field(default_factory=list)
    traps: list[Trap] = field(default_factory=list)
    lives: int = 0
    clients_ever: int = 0

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)
        self._later: list[tuple[float, Callable[[], None]]] = []
        self._stack = contextlib.ExitStack()
        self._look: psycopg.Connection[tuple[str]] | None = None
        self._live: list[str] = []
        self.database: str = self.server.create_database()
        self.bouncer: Pgbouncer = self._stack.enter_context(ImpatientPgbouncer(self.server.admin_url))
        self.proxy: Proxy = self._stack.enter_context(Proxy(self.server.admin_url))
        self.pooled_proxy: Proxy = self._stack.enter_context(Proxy(self.bouncer.admin_url))
        self.ledger_url: str = self.ledger.create_database()
        make_books(self.ledger_url)
        self.ways: tuple[str, ...] = (self.database, self.proxy.url(self.database), self._pooled())

    def _pooled(self) -> str:
        direct = quote(self.proxy.url(self.database), safe="")
        return f"{self.pooled_proxy.url(self.bouncer.url(self.database))}?pooling=transaction&direct={direct}"

    # Processes

    def environment(self, place: Place, form: str) -> dict[str, str]:
        """What a process of ours finds in its environment."""
        paths = [str(HERE), str(HERE / "clock"), str(HERE.parent / "run"), os.environ.get("PYTHONPATH", "")]
        given = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "CHAOS_BOOKS": str(self.books)}
        given.pop("AMENDS_FAULT", None)
        given |= {"CHAOS_DATABASE": place.url, "CHAOS_LEDGER": self.ledger_url, "CHAOS_FORM": form}
        given |= {"CHAOS_SKEW": str(place.skew)} if place.skew else {}
        return given | ({"AMENDS_FAULT": place.fault} if place.fault else {})

    def launch(self, place: Place, *command: str, form: str = "plain") -> None:
        """Start a process at a place."""
        with (self.books / f"stderr-{place.name}.txt").open("ab") as errors:
            place.process = subprocess.Popen(
                [sys.executable, *command],
                env=self.environment(place, form),
                cwd=self.books,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )
        place.fault, place.frozen = "", False

    def start_worker(self, place: Place) -> None:
        """A worker, which lives until something ends it."""
        self.lives += 1
        self.launch(place, "-m", "amends", "worker", "chaos_shop:orchestrator", "--log-level=warning", form="all")

    def start_client(self) -> None:
        """A client with a name of its own."""
        self.clients_ever += 1
        place = Place(f"c{self.clients_ever}", self.ways[self.clients_ever % len(self.ways)])
        self.launch(place, str(HERE / "fleet_client.py"), place.name, str(self.dice.randrange(2**31)))
        self.clients[place.name] = place

    def a_worker(self) -> Place:
        """One that lives and is not stopped; waits for it."""
        for _ in range(600):
            found = [place for place in self.workers if place.alive and not place.frozen]
            if found:
                return self.dice.choice(found)
            self.rest(0.1)
        raise RuntimeError("no worker has come up for a minute")

    def oversee(self) -> None:
        """What a supervisor does: start what is not there, and what is due by now."""
        for entry in [entry for entry in self._later if entry[0] <= time.monotonic()]:
            self._later.remove(entry)
            entry[1]()
        for place in self.workers:
            if not place.alive:
                self.start_worker(place)
        for name in [name for name, place in self.clients.items() if not place.alive]:
            del self.clients[name]
        while len(self.clients) < CLIENTS:
            self.start_client()

    def rest(self, seconds: float) -> None:
        """Let time pass, overseeing."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.oversee()
            time.sleep(min(0.05, left))

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Do something in a while, whatever else happens till then."""
        self._later.append((time.monotonic() + seconds, act))

    # Faults' tools

    def kill(self, place: Place) -> None:
        """kill -9."""
        if place.process is not None:
            place.process.kill()
            place.process.wait()

    def freeze(self, place: Place, seconds: float, *, longer_than_lease: bool = False) -> None:
        """SIGSTOP, and SIGCONT in a while."""
        process = place.process
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGSTOP)
        place.frozen = True
        asleep = time.monotonic()
        if longer_than_lease:
            self.later(seconds, lambda: self.thaw_when_retired(place, process, asleep))
        else:
            self.later(seconds, lambda: self.thaw(place, process))

    def thaw_when_retired(self, place: Place, process: subprocess.Popen[bytes], asleep: float) -> None:
        """SIGCONT once somebody has retired it, so that what wakes up is a zombie; or when it takes too long."""
        try:
            registered = bool(self.ask(REGISTERED.format(process.pid)))
        except psycopg.Error:
            registered = True
        if registered and time.monotonic() - asleep < RETIRED_SECONDS:
            self.later(0.3, lambda: self.thaw_when_retired(place, process, asleep))
        else:
            self.thaw(place, process, asleep)

    def thaw(self, place: Place, process: subprocess.Popen[bytes], asleep: float | None = None) -> None:
        """SIGCONT. asleep: since when, if a lease has run out meanwhile."""
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            if asleep is not None:
                self.zombies.append(Zombie(process.pid, asleep, time.monotonic()))
        if place.process is process:
            place.frozen = False

    def stopped_itself(self, place: Place) -> bool:
        """Whether its process has stopped at a fault point."""
        try:
            return place.process is not None and psutil.Process(place.process.pid).status() == psutil.STATUS_STOPPED
        except psutil.NoSuchProcess:
            return False

    def note(self, kind: str, note: str = "") -> None:
        """Write down a fault that begins now."""
        live = self.live()
        self.records.append(Record(kind, time.monotonic(), len(live), note))
        self.overlapped.setdefault(kind, set()).update(live)
        with (self.books / "faults.jsonl").open("a") as log:
            log.write(json.dumps({"kind": kind, "at": time.monotonic(), "note": note, "live": live}) + "\n")

    # What can be seen from outside

    def live(self) -> list[str]:
        """The sagas that workers have in hand at the moment, or had when that could last be seen."""
        with contextlib.suppress(psycopg.Error):
            self._live = [row[0] for row in self.ask(RUN_BY_SOMEBODY)]
        return self._live

    def ask(self, query: str) -> list[tuple[str]]:
        """Rows, over a connection of our own, which is made anew where it was lost. Raises psycopg.Error."""
        if self._look is not None:
            try:
                return self._look.execute(query.encode()).fetchall()
            except psycopg.Error:
                self._look.close()
                self._look = None
        self._look = psycopg.connect(self.database, autocommit=True, connect_timeout=5)
        return self._look.execute(query.encode()).fetchall()

    # The end

    def calm(self) -> None:
        """No more faults, and whatever was taken away is back; the clients go."""
        for place in [*self.workers, *self.clients.values()]:
            if place.alive and place.process is not None:
                place.process.send_signal(signal.SIGCONT)
                place.frozen = False
        for _, act in sorted(self._later, key=lambda entry: entry[0]):
            act()
        self._later.clear()
        for proxy in (self.proxy, self.pooled_proxy):
            proxy.disarm()
            proxy.thaw()
            proxy.delay(0)
        self.server.start()
        self.bouncer.start()
        for place in self.clients.values():
            if place.process is not None:
                place.process.terminate()

    def end_clients(self) -> None:
        """Wait for the clients to be done, or end them."""
        until = time.monotonic() + 25
        for place in self.clients.values():
            process = place.process
            if process is None:
                continue
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(until - time.monotonic(), 0.1))
            self.kill(place)
        self.clients.clear()

    def stop_workers(self) -> list[str]:
        """SIGTERM; those that do not leave well."""
        for place in self.workers:
            if place.alive and place.process is not None:
                place.process.terminate()
        found = []
        for place in self.workers:
            if place.process is not None:
                try:
                    code = place.process.wait(30)
                except subprocess.TimeoutExpired:
                    self.kill(place)
                    code = None
                found += [f"the worker {place.name} ended with {code} when it was asked to stop"] if code else []
        return found

    def close(self) -> None:
        """End everything."""
        for place in [*self.workers, *self.clients.values()]:
            if place.alive:
                self.kill(place)
        self._stack.close()
