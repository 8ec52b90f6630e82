"""A scene: one side's processes on fresh databases, over one broker, under names of its own.

Guarantees: when it ends its processes have ended and its databases are gone; every saga has had its effects, once,
or it raises.
Must not: start or stop a server.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import IO, Any, NamedTuple
from urllib.parse import urlsplit

import psycopg

from bench.postgres.server import Server, database
from bench.services.bare import MESSAGES, ONE_STATEMENT
from bench.services.child import Config
from bench.services.shop import COUNT, SERVICES

ANSWER_SECONDS = 120.0
STATEMENTS = """
SELECT coalesce(sum(calls) FILTER (WHERE query !~* control), 0), coalesce(sum(calls) FILTER (WHERE query ~* control), 0)
FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid,
     (VALUES ('^(begin|commit|rollback|savepoint|release|set|reset|show|close|unlisten|deallocate|select pg_advisory)'))
     AS words (control)
WHERE d.datname = %s
"""  # what a transaction is begun and ended with, and a session cleared with, is counted apart


class Way(NamedTuple):
    """How a saga's steps are done. batch: commands in one transaction of a participant of amends, at most."""

    title: str
    side: str
    batch: int = 1


LOCAL = "local"  # the kind of place that has no broker
BARE = Way("bare", "bare")
BARE_ONE = Way("bare, one statement", ONE_STATEMENT)
BARE_MESSAGES = Way("bare, without its commits", MESSAGES)
AMENDS = Way("amends", "amends")
CHOREOGRAPHED = Way("amends, choreographed", "choreographed")
BATCHED = Way("amends, batch=50", "amends", 50)


class Place(NamedTuple):
    """Where a scene is. pid: of the broker; None without one."""

    server: Server
    kind: str
    url: str
    pid: int | None = None


class Child:
    """One process."""

    def __init__(self, config: Config) -> None:
        command = [sys.executable, "-m", "bench.services.child", json.dumps(asdict(config))]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid: int = self._process.pid
        self._what = f"the {config.role} of {config.side} over {config.broker.partition(':')[0]}"

    def ready(self) -> None:
        """Wait until it is."""
        if self._line(ANSWER_SECONDS) != "ready":
            raise RuntimeError(f"{self._what} is not ready; its error is above")

    def ask(self, op: str, *, within: float = ANSWER_SECONDS, **more: object) -> dict[str, Any]:
        """Have it do something; gives its answer."""
        if self._process.stdin is not None:
            self._process.stdin.write(json.dumps({"op": op, **more}) + "\n")
            self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._line(within))
        return answer

    def leave(self) -> None:
        """Nothing more is asked; wait for its end."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        if self._process.wait(ANSWER_SECONDS) != 0:
            raise RuntimeError(f"{self._what} failed; its error is above")

    def kill(self) -> None:
        """Whatever it does."""
        self._process.kill()
        self._process.wait()

    def _line(self, seconds: float) -> str:
        out: IO[str] | None = self._process.stdout
        alarm = threading.Timer(seconds, self._process.kill)
        alarm.start()
        try:
            line = "" if out is None else out.readline().strip()
        finally:
            alarm.cancel()
        if not line:
            raise RuntimeError(f"{self._what} has failed, or said nothing for {seconds:.0f} s; its error is above")
        return line


@dataclass
class Scene:
    """One side at work."""

    place: Place
    orchestrator: Child
    participants: list[Child]
    home: str
    databases: dict[str, str]

    def warm(self, in_flight: int, sagas: int) -> None:
        """Run so many sagas before anything is measured: each participant opens ten connections as it needs them."""
        self.orchestrator.ask("warm", in_flight=in_flight, sagas=sagas)

    def window(self, in_flight: int, seconds: float, warm: float) -> dict[str, Any]:
        """One window, and what its sagas cost each."""
        place = self.place
        watch = {"participants": [child.pid for child in self.participants], "postgres": [place.server.pid]}
        if place.pid is not None:
            watch["broker"] = [place.pid]
        place.server.checkpoint()
        before = self._counts()
        sample = self.orchestrator.ask("window", in_flight=in_flight, seconds=seconds, warm=warm, watch=watch)
        after = self._counts()
        sagas = after["ran"] - before["ran"]
        each = {name: (after[name] - before[name]) / sagas for name in after if name != "ran"}
        return {**sample, **sample["notes"], **each}

    def weight(self, sagas: int) -> dict[str, float]:
        """What the messages of so many sagas weigh: bytes per saga, and of the largest."""
        everybody = [self.orchestrator, *self.participants]
        for child in everybody:
            child.ask("weigh")
        self.orchestrator.ask("warm", in_flight=min(sagas, 20), sagas=sagas)
        counts = [child.ask("counts") for child in everybody]
        return {
            "bytes": sum(count["bytes"] for count in counts) / sagas,
            "largest": max(count["largest"] for count in counts),
        }

    def check(self) -> None:
        """Every saga was completed, and had one effect in each service. Raises RuntimeError."""
        told = self.orchestrator.ask("counts")
        if told["went_wrong"]:
            raise RuntimeError(f"sagas were not completed: {told['went_wrong']}")
        for service, url in self.databases.items():
            found = effects(url)
            if found != told["ran"]:
                raise RuntimeError(f"{told['ran']} sagas have had {found} effects in {service}")

    def _counts(self) -> dict[str, float]:
        """All that is counted, so far."""
        told = self.orchestrator.ask("counts")
        messages = told["sent"] + sum(child.ask("counts")["sent"] for child in self.participants)
        counted = {"ran": told["ran"], "messages": messages}
        for who, urls in (("home", [self.home]), ("services", self.databases.values())):
            counts = [self.place.server.run(STATEMENTS, urlsplit(url).path[1:])[0] for url in urls]
            counted[f"{who}_statements"] = sum(float(count[0]) for count in counts)
            counted[f"{who}_control"] = sum(float(count[1]) for count in counts)
        return counted


def effects(url: str) -> int:
    """How many effects a service has had."""
    with psycopg.connect(url) as connection:
        row = connection.execute(COUNT).fetchone()
    return 0 if row is None else int(row[0])


@contextmanager
def scene(place: Place, way: Way, steps: int = 3, *, checked: bool = True) -> Iterator[Scene]:
    """One side, at work with so many services. checked: see at the end that all has come true."""
    with ExitStack() as stack:
        home = stack.enter_context(database(place.server))
        databases = {name: stack.enter_context(database(place.server)) for name in SERVICES[:steps]}
        prefix = f"bench-{secrets.token_hex(4)}."
        shared: dict[str, Any] = {"side": way.side, "broker": place.url, "prefix": prefix, "batch": way.batch}
        participants: list[Child] = []
        if place.pid is not None:
            for name, url in databases.items():
                child = Child(Config("participant", databases={name: url}, **shared))
                stack.callback(child.kill)
                participants.append(child)
            for child in participants:
                child.ready()
        hosted = {} if participants else databases
        orchestrator = Child(Config("orchestrator", database=home, databases=hosted, steps=steps, **shared))
        stack.callback(orchestrator.kill)
        orchestrator.ready()
        made = Scene(place, orchestrator, participants, home, databases)
        yield made
        if checked and way.side != MESSAGES:
            made.check()
        for child in (orchestrator, *participants):
            child.leave()
