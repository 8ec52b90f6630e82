"""The tables of PostgreSQL by the name of their mark, for `bench.run`.

Guarantees: one server for all of them, started when the first is measured.
Must not: start one for those that are not asked for.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

from bench.postgres import growth, pooled, sleepers, statements, takeover, throughput, workers
from bench.postgres.server import Server, lines, serving

SAGAS_IN_FLIGHT = 500
TIMERS = 20_000
MILLION = 1_000_000
WINDOW_SECONDS = 2.0


@dataclass
class Sections:
    """All of them. command: what is typed to measure them again."""

    options: argparse.Namespace
    command: str
    stack: ExitStack
    _server: list[Server] = field(default_factory=list)

    @property
    def server(self) -> Server:
        """The one server."""
        if not self._server:
            self._server.append(self.stack.enter_context(serving()))
        return self._server[0]

    def all(self) -> dict[str, Callable[[], list[str]]]:
        """In the order in which they are measured."""
        rounds, seconds = self.options.rounds, WINDOW_SECONDS * self.options.scale
        return {
            "postgres machine": self._machine,
            "postgres throughput": self._throughput,
            "postgres pgbouncer": lambda: pooled.table(self.server, rounds, seconds),
            "postgres statements": lambda: statements.table(self.server),
            "postgres workers": lambda: workers.table(self.server, rounds, seconds),
            "postgres takeover": lambda: takeover.table(self.server, SAGAS_IN_FLIGHT, rounds),
            "postgres growth": lambda: asyncio.run(
                growth.table(self.server, self.options.ended or MILLION, rounds, seconds)
            ),
            "postgres sleepers": lambda: asyncio.run(
                sleepers.table(self.server, self.options.sleepers or MILLION, TIMERS, rounds)
            ),
        }

    def _machine(self) -> list[str]:
        return [*asyncio.run(lines(self.server)), f"- command: `{self.command}`"]

    def _throughput(self) -> list[str]:
        counted, found = throughput.counts(self.server)
        table = asyncio.run(throughput.measure(self.server, self.options.rounds, self.options.scale))
        parts = [
            throughput.speeds(table),
            throughput.processors(table),
            counted,
            throughput.verdicts(table, found),
        ]
        return [line for part in parts for line in (*part, "")][:-1]
