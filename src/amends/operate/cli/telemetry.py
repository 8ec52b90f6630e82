"""What `amends worker` shows of itself beside its work: `/metrics` for Prometheus, logs as JSON, traces.

Guarantees: without being asked it listens nowhere; it answers one path, in one piece, and whoever is slow or sends too
much is let go; where a token was given, nobody reads without it.
Must not: keep a worker from working, nor from leaving.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import click

from amends.observe.hub import Observer
from amends.observe.logs import InContext, JsonLines
from amends.observe.metrics import Metrics
from amends.observe.prometheus import OPENMETRICS, TEXT, accepts_openmetrics, exposition
from amends.operate.cli.safe import safe

HEAD_BYTES_MAX = 8192
READ_SECONDS = 5.0
CLIENTS_MAX = 16
PORT_MAX = 65_535
LOOPBACK = ("127.0.0.1", "::1", "localhost")
_log = logging.getLogger("amends.worker")
Answer = tuple[int, str, str, str]  # status, reason, content type, body


def place_of(text: str) -> tuple[str, int]:
    """`9464`, `127.0.0.1:9464`, `[::1]:9464`: a host, loopback by default, and a port; 0 for any that is free. Raises
    UsageError."""
    host, _, port = text.strip().rpartition(":")
    if not port.isascii() or not port.isdigit() or int(port) > PORT_MAX:
        raise click.UsageError(f"--metrics={text}: a port is expected, or host:port, such as 127.0.0.1:9464")
    return host.removeprefix("[").removesuffix("]") or "127.0.0.1", int(port)


class Scraped:
    """A place where metrics are read. token: that who reads has to show, as `Authorization: Bearer …`; none: anybody
    may."""

    def __init__(self, metrics: Metrics, host: str, port: int, token: str = "") -> None:
        self._metrics = metrics
        self._host = host
        self._port = port
        self._token = token
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()

    async def open(self) -> str:
        """Listen; gives the URL. Raises UsageError where that cannot be."""
        try:
            self._server = await asyncio.start_server(self._came, self._host, self._port, limit=HEAD_BYTES_MAX)
        except OSError as error:
            raise click.UsageError(f"metrics cannot be served at {self._host}:{self._port}: {error}") from error
        port = self._server.sockets[0].getsockname()[1]
        host = f"[{self._host}]" if ":" in self._host else self._host
        if self._host not in LOOPBACK and not self._token:
            _log.warning(
                "whoever reaches %s:%d reads the names of sagas and steps; AMENDS_METRICS_TOKEN asks for a token",
                host,
                port,
            )
        return f"http://{host}:{port}/metrics"

    async def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()
        for client in list(self._clients):
            client.cancel()
        if self._clients:
            await asyncio.wait(list(self._clients))

    async def _came(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._clients) >= CLIENTS_MAX:
            writer.close()
            return
        self._clients.add(task)
        try:
            with suppress(OSError, TimeoutError, asyncio.LimitOverrunError, asyncio.IncompleteReadError):
                async with asyncio.timeout(READ_SECONDS):
                    head = await reader.readuntil(b"\r\n\r\n")
                    writer.write(_written(*self._answer(head.decode("latin-1"))))
                    await writer.drain()
        except asyncio.CancelledError:
            return  # by `close`; in Python 3.11 a stream server cannot take a client's task that was cancelled
        finally:
            self._clients.discard(task)
            writer.close()

    def _answer(self, head: str) -> Answer:
        first, *lines = head.split("\r\n")
        method, _, rest = first.partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        if path != "/metrics":
            return 404, "Not Found", "text/plain; charset=utf-8", "metrics are at /metrics\n"
        if method != "GET":
            return 405, "Method Not Allowed", "text/plain; charset=utf-8", "GET is expected\n"
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        given = headers.get("authorization", "").encode()
        if self._token and not hmac.compare_digest(given, f"Bearer {self._token}".encode()):
            return 401, "Unauthorized", "text/plain; charset=utf-8", "a token is expected: AMENDS_METRICS_TOKEN\n"
        wants = accepts_openmetrics(headers.get("accept", ""))
        return 200, "OK", OPENMETRICS if wants else TEXT, exposition(self._metrics.families(), openmetrics=wants)


def _written(status: int, reason: str, kind: str, body: str) -> bytes:
    data = body.encode()
    head = (
        f"HTTP/1.1 {status} {reason}\r\ncontent-type: {kind}\r\ncontent-length: {len(data)}\r\n"
        "cache-control: no-store\r\nx-content-type-options: nosniff\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + data


def tracing() -> Observer:
    """The observer that makes traces. Raises UsageError where the extra is not installed."""
    try:
        from amends.otel import Tracing  # an extra
    except ImportError as error:
        raise click.UsageError('--trace needs an extra: pip install "amends[otel]", and an SDK that exports') from error
    make: Callable[[], Observer] = Tracing
    return make()


class Watched:
    """What was asked for on the command line."""

    def __init__(self, metrics: str | None, *, log_json: bool, trace: bool) -> None:
        self.log_json = log_json
        self._scraped: Scraped | None = None
        observers: list[Observer] = [InContext()] if log_json else []
        if trace:
            observers.append(tracing())
        if metrics is not None:
            counted = Metrics()
            observers.append(counted)
            self._scraped = Scraped(counted, *place_of(metrics), os.environ.get("AMENDS_METRICS_TOKEN", ""))
        self.observers: tuple[Observer, ...] = tuple(observers)

    async def open(self) -> None:
        """Begin to show. Raises UsageError."""
        if self._scraped is not None:
            _log.info("metrics are at %s", await self._scraped.open())

    async def close(self) -> None:
        """Show no more."""
        if self._scraped is not None:
            await self._scraped.close()


def watched_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of what is shown."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


_OPTIONS = (
    click.option(
        "--metrics",
        metavar="[HOST:]PORT",
        envvar="AMENDS_METRICS",
        help="Serve metrics for Prometheus there, at /metrics; on this machine only, unless a host is named.",
    ),
    click.option(
        "--log-json",
        is_flag=True,
        envvar="AMENDS_LOG_JSON",
        help="Log each line as JSON, with the saga, its id, the step and the attempt that it is about.",
    ),
    click.option(
        "--trace",
        is_flag=True,
        envvar="AMENDS_TRACE",
        help="Make traces with OpenTelemetry. Where they go is for its SDK: run it under opentelemetry-instrument.",
    ),
)


class SafeFormatter(logging.Formatter):
    """Log lines for a terminal: what came from outside cannot play with it."""

    def format(self, record: logging.LogRecord) -> str:
        return safe(super().format(record), lines=True)


def set_up_logs(level: str, *, as_json: bool) -> None:
    """Log to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    plain = SafeFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(JsonLines() if as_json else plain)
    logging.basicConfig(handlers=[handler], level=level.upper())
