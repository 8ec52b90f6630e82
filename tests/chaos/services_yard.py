"""The yard of the chaos of services: one broker that may be harmed, databases, processes, and a log of what was done.

What it is: two orchestrators, two participants of each of three services, and two clients, each a process with an
unreliable network of its own. In the choreographed style two participants of the service that starts sagas stand in
place of the orchestrators, the clients are two more of these, and a watcher looks on.
Guarantees: every process it starts is ended by `close`; one that dies is followed by another; whatever is stopped is
continued, at the latest by `calm`.
Must not: judge.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from services_shop import SERVICES

from services.broker import Broker

HERE = Path(__file__).parent
OPEN = {
    "orchestrated": "SELECT key FROM amends.saga WHERE status IN ('running', 'compensating')",
    "choreographed": "SELECT key FROM amends.home WHERE stand NOT IN ('ended', 'parked')",
}
ALONE = {"orchestrated": (), "choreographed": ("watcher",)}  # those of which there is one
TWICE = {"orchestrated": "orchestrator", "choreographed": "orders_app"}
RATES: dict[str, Any] = {
    "duplicated": 0.1, "redelivered": 0.1, "held": 0.1, "held_seconds": 0.1, "commands_lost": 0.03,
    "replies_lost": 0.05, "first_replies_lost": 0.03, "replies_late": 0.04, "late_seconds": 2.5, "acks_lost": 0.05,
    "confirms_lost": 0.05, "away": 0.03, "replayed": 0.05, "forged": 0.05, "garbage": 0.03, "unknown": 0.02,
    "huge": 0.001, "actions_behind_undo": 0.08, "behind_seconds": 20.0,
}  # fmt: skip
YOUNG_SECONDS = 15.0  # in which a process on a busy machine may still be importing what it needs


@dataclass
class Unit:
    """A process, and how it is started again."""

    yard: Yard
    name: str
    command: tuple[str, ...]
    seed: int
    process: subprocess.Popen[bytes] | None = None
    fault: str = ""  # AMENDS_FAULT of its next life
    armed: str = ""  # and of this one
    lives: int = 0
    not_before: float = 0.0  # it is to be down until then
    began: float = 0.0  # its life

    @property
    def alive(self) -> bool:
        """Whether its process is there, stopped or not."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start it."""
        given = {name: value for name, value in os.environ.items() if name != "AMENDS_FAULT"}
        given |= self.yard.environment | {"SHOP_SEED": str(self.seed + self.lives)}
        given |= {"AMENDS_FAULT": self.fault} if self.fault else {}
        self.armed, self.fault = self.fault, ""
        self.lives += 1
        self.began = time.monotonic()
        with (self.yard.books / f"stderr-{self.name}.txt").open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, *self.command],
                env=given, cwd=self.yard.books, stdout=subprocess.DEVNULL, stderr=errors,
            )  # fmt: skip

    def kill(self) -> None:
        """kill -9."""
        self.armed = "" if self.alive else self.armed
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.bury()

    def bury(self) -> None:
        """Write down when it was killed, if it was."""
        if self.process is not None and self.process.returncode == -signal.SIGKILL:
            self.yard.killed.setdefault(self.process.pid, time.monotonic())

    def terminate(self) -> None:
        """SIGTERM; it goes when it is done."""
        if self.process is not None and self.alive:
            self.process.terminate()

    def send(self, what: signal.Signals) -> None:
        """A signal."""
        if self.process is not None and self.alive:
            self.process.send_signal(what)


@dataclass
class Record:
    """The fault log: what was done, when, and to how many sagas in flight."""

    kind: str
    at: float
    live: int
    note: str = ""


@dataclass
class Yard:
    """One run."""

    books: Path
    seed: int
    broker: Broker
    url: str
    databases: Mapping[str, str]
    style: str = "orchestrated"
    units: list[Unit] = field(default_factory=list)
    clients: list[Unit] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    overlapped: dict[str, set[str]] = field(default_factory=dict)
    killed: dict[int, float] = field(default_factory=dict)  # when which process died of kill -9
    died_at: Counter[str] = field(default_factory=Counter)  # of those that died at a fault point, at which

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)
        self._later: list[tuple[float, Callable[[], None]]] = []
        self._live: list[str] = []
        place = {"broker": self.url, "databases": dict(self.databases), "books": str(self.books)}
        paths = [str(HERE), str(HERE.parent / "run"), os.environ.get("PYTHONPATH", "")]
        self.environment = {
            "SHOP_PLACE": json.dumps(place),
            "SHOP_RATES": json.dumps(RATES),
            "SHOP_STYLE": self.style,
            "PYTHONPATH": os.pathsep.join(paths),
        }
        for number in (1, 2):
            self.units += [self._worker(f"{name}_app", number) for name in SERVICES]
            self.units.append(self._worker(TWICE[self.style], number))
            command = (str(HERE / "services_client.py"), f"c{number}", str(self.dice.randrange(2**31)))
            self.clients.append(Unit(self, f"client-{number}", command, self.dice.randrange(2**31)))
        self.units += [self._worker(name, 1) for name in ALONE[self.style]]

    def _worker(self, target: str, number: int) -> Unit:
        command = ("-m", "amends", "worker", f"services_shop:{target}", "--log-level=warning")
        return Unit(self, f"{target}-{number}", command, self.dice.randrange(2**31))

    @property
    def orchestrators(self) -> list[Unit]:
        """Those that live."""
        return self._living("orchestrator")

    @property
    def services(self) -> list[Unit]:
        """Participants that live."""
        return [unit for unit in self._living("") if "_app" in unit.name]

    def processes_of(self, service: str) -> Sequence[Unit]:
        """All of one service. Clients are of the one that starts choreographed sagas."""
        found = [unit for unit in self.units if unit.name.startswith(f"{service}_app")]
        return [*found, *self.clients] if service == "orders" else found

    @property
    def watcher(self) -> Unit:
        """There is one where sagas are choreographed."""
        return next(unit for unit in self.units if unit.name.startswith("watcher"))

    def _living(self, name: str) -> list[Unit]:
        for _ in range(600):
            found = [unit for unit in self.units if unit.name.startswith(name) and unit.alive]
            if any("_app" in unit.name for unit in found) or (name and found):
                return found
            self.rest(0.1)
        raise RuntimeError("no process has come up for a minute")

    def oversee(self) -> None:
        """What a supervisor does: start what is not there, and what is due by now."""
        for entry in [entry for entry in self._later if entry[0] <= time.monotonic()]:
            self._later.remove(entry)
            entry[1]()
        for unit in (*self.units, *self.clients):
            if unit.alive:
                continue
            unit.bury()
            if time.monotonic() >= unit.not_before:
                if unit.armed and unit.process is not None and unit.process.returncode == -signal.SIGKILL:
                    self.died_at[unit.armed.partition(":")[0]] += 1
                unit.start()

    def rest(self, seconds: float) -> None:
        """Let time pass, overseeing."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.oversee()
            time.sleep(min(0.05, left))

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Do something in a while."""
        self._later.append((time.monotonic() + seconds, act))

    def freeze(self, unit: Unit, seconds: float) -> None:
        """SIGSTOP, and SIGCONT in a while."""
        process = unit.process
        unit.send(signal.SIGSTOP)

        def thaw() -> None:
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGCONT)

        self.later(seconds, thaw)

    def note(self, kind: str, note: str = "") -> None:
        """Write down a fault that begins now."""
        live = self.live()
        self.records.append(Record(kind, time.monotonic(), len(live), note))
        self.overlapped.setdefault(kind, set()).update(live)

    def live(self) -> list[str]:
        """The sagas that are open, or were when that could last be seen."""
        try:
            with psycopg.connect(self.databases["orders"], autocommit=True, connect_timeout=5) as connection:
                self._live = [row[0] for row in connection.execute(OPEN[self.style].encode()).fetchall()]
        except psycopg.Error:
            pass
        return self._live

    def calm(self) -> None:
        """No more faults; whatever was taken away is back; the networks heal."""
        (self.books / "calm").touch()
        for _, act in sorted(self._later, key=lambda entry: entry[0]):
            act()
        self._later.clear()
        for unit in (*self.units, *self.clients):
            unit.send(signal.SIGCONT)
            unit.not_before = 0.0
        self.broker.start()

    def end_clients(self) -> None:
        """Ask the clients to go, and wait for them to be done, or end them."""
        for unit in self.clients:
            unit.terminate()
        for unit in self.clients:
            if unit.process is not None:
                try:
                    unit.process.wait(20)
                except subprocess.TimeoutExpired:
                    unit.kill()
        self.clients.clear()

    def stop(self) -> list[str]:
        """SIGTERM; those that do not leave well. One that has hardly begun ends by the signal itself."""
        young = {unit.name for unit in self.units if time.monotonic() - unit.began < YOUNG_SECONDS}
        for unit in self.units:
            unit.terminate()
        found = []
        for unit in self.units:
            if unit.process is None:
                continue
            try:
                code: int | None = unit.process.wait(30)
            except subprocess.TimeoutExpired:
                unit.kill()
                code = None
            if code != 0 and not (code == -signal.SIGTERM and unit.name in young):
                found.append(f"{unit.name} ended with {code} when it was asked to stop")
        return found

    def close(self) -> None:
        """End everything."""
        for unit in (*self.units, *self.clients):
            unit.kill()
