"""The tables of services by the name of their mark, for `bench.run`.

Guarantees: each broker is started when it is first measured, and all of them end with the run; a broker that is not
on this machine is named, and left out.
Must not: start one for what is not asked for.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.metadata import version

from bench import facts
from bench.postgres.server import Server, serving
from bench.services import away, latency, participant, steps, styles
from bench.services.scene import LOCAL, Place
from services.broker import Broker
from services.found import ServiceMissing
from services.up import BROKERS

KINDS = (LOCAL, *sorted(BROKERS))
PACKAGES = ("amends", "asyncpg", "redis", "nats-py", "aiormq", "aiokafka")
WINDOW_SECONDS = 2.0
COMMANDS = 4000


def found() -> list[str]:
    """The brokers that are on this machine; none that is not."""
    kinds = [LOCAL]
    for kind in KINDS[1:]:
        try:
            BROKERS[kind].find()
        except ServiceMissing as error:
            print(f"services over {kind} are not measured: {error}", file=sys.stderr)
        else:
            kinds.append(kind)
    return kinds


@dataclass
class Sections:
    """All of them. command: what is typed to measure them again."""

    options: argparse.Namespace
    command: str
    stack: ExitStack
    _server: list[Server] = field(default_factory=list)
    _brokers: dict[str, Broker] = field(default_factory=dict)

    def all(self) -> dict[str, Callable[[], list[str]]]:
        """In the order in which they are measured."""
        kinds = [kind for kind in found() if not self.options.broker or kind in self.options.broker]
        tables: dict[str, Callable[[], list[str]]] = {"services machine": self._machine}
        for kind in kinds:
            tables[f"services {kind}"] = lambda kind=kind: self._steps(kind)  # type: ignore[misc]
        if not self.options.broker or "services participant" in (self.options.only or ()):  # it needs none
            tables["services participant"] = self._participant
        tables["services styles"] = lambda: self._styles(kinds)
        tables["services latency"] = lambda: self._latency(kinds)
        tables["services away"] = lambda: self._away([kind for kind in kinds if kind != LOCAL])
        return tables

    def _steps(self, kind: str) -> list[str]:
        options = self.options
        table = steps.measure(self.place(kind), options.rounds, options.scale, WINDOW_SECONDS)
        return steps.lines(table, judged=kind != LOCAL)  # the aims are of brokers

    def _participant(self) -> list[str]:
        return participant.lines(participant.measure(self.options.rounds, max(int(COMMANDS * self.options.scale), 200)))

    def _latency(self, kinds: list[str]) -> list[str]:
        places = [self.place(kind) for kind in kinds]
        return latency.lines(latency.measure(places, self.options.rounds, self.options.scale, WINDOW_SECONDS))

    def _styles(self, kinds: list[str]) -> list[str]:
        places = [self.place(kind) for kind in kinds]
        return styles.lines(styles.measure(places, self.options.rounds, self.options.scale, WINDOW_SECONDS))

    def _away(self, kinds: list[str]) -> list[str]:
        plan = away.Plan() if self.options.scale >= 0.5 else away.SHORT
        stories = {kind: away.measure(self.server, kind, self.broker(kind), plan) for kind in kinds}
        return away.lines(stories, plan)

    def _machine(self) -> list[str]:
        (postgres,) = self.server.run("SELECT split_part(version(), ' on ', 1)")[0]
        system = f"{platform.system()} {platform.release().partition('-')[0]}"
        return [
            f"- {facts.processor()}, {system}, Python {platform.python_version()}, {postgres}",
            "- " + ", ".join(f"{package} {version(package)}" for package in PACKAGES),
            f"- overwriting 8 KiB and flushing it: {facts.flush(None):.2f} ms",
            f"- load average when this began: {facts.load()}",
            f"- command: `{self.command}`",
        ]

    @property
    def server(self) -> Server:
        """The one PostgreSQL."""
        if not self._server:
            self._server.append(self.stack.enter_context(serving()))
        return self._server[0]

    def broker(self, kind: str) -> Broker:
        """The one broker of a kind, running."""
        if kind not in self._brokers:
            broker = self._brokers[kind] = BROKERS[kind]()
            self.stack.callback(broker.close)
            broker.start()
        return self._brokers[kind]

    def place(self, kind: str) -> Place:
        """Where scenes of a broker are."""
        if kind == LOCAL:
            return Place(self.server, kind, "local://")
        broker = self.broker(kind)
        return Place(self.server, kind, broker.url, broker.pid)
