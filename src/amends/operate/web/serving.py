"""The dashboard as a process of its own: Uvicorn on a socket that is ours.

Guarantees: the first SIGTERM or SIGINT ends live events and lets what is in work finish, for `DRAIN_SECONDS` at most;
the second ends the process at once.
Must not: decide who may ask.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

import uvicorn
from starlette.applications import Starlette

from amends.errors import DefinitionError

DRAIN_SECONDS = 5
KEEP_ALIVE_SECONDS = 15
BACKLOG = 128
CONNECTIONS_MAX = 1000  # beyond that 503 is all that anybody hears
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_log = logging.getLogger("amends.web")


class Tls(NamedTuple):
    """Files of a certificate and its key."""

    certificate: Path
    key: Path | None


class _Server(uvicorn.Server):
    """Uvicorn's, without its signal handlers: they would end the process by the signal that asked it to end well."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def is_loopback(host: str) -> bool:
    """Whether nobody beyond this machine reaches it."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens there. port: 0 for any that is free. Raises DefinitionError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind, protocol)
        try:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind(address)
            found.listen(BACKLOG)
        except BaseException:
            found.close()
            raise
    except (OSError, OverflowError) as error:
        raise DefinitionError(f"--host={host} --port={port}: {error}") from None
    return found


def origin_of(listening: socket.socket, host: str, tls: Tls | None) -> str:
    """The address for a browser. It names what was bound: of `localhost` a browser may ask `::1` first, where somebody
    else can listen and would be shown the code that logs in."""
    bound_to, port = listening.getsockname()[:2]
    host = bound_to if host == "localhost" and tls is None else host  # a certificate says who is asked
    name = f"[{host}]" if ":" in host else host
    return f"{'http' if tls is None else 'https'}://{name}:{port}"


async def serve(
    app: Starlette, listening: socket.socket, *, tls: Tls | None = None, ready: Callable[[], object] = lambda: None
) -> None:
    """Serve until it is told to stop. ready: called once it answers."""
    server = _Server(_config(app, tls))
    loop = asyncio.get_running_loop()

    def stop(number: int) -> None:
        name = signal.Signals(number).name
        if server.should_exit:
            _log.warning("%s again: the dashboard stops at once", name)
            logging.shutdown()
            os._exit(128 + number)
        _log.info("%s: the dashboard stops", name)
        app.state.web.live.close()
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    telling = loop.create_task(_tell(server, ready), name="amends-tells")
    try:
        await server.serve(sockets=[listening])
    finally:
        telling.cancel()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def _tell(server: uvicorn.Server, ready: Callable[[], object]) -> None:
    while not server.started:
        await asyncio.sleep(0.01)
    ready()


def _config(app: Starlette, tls: Tls | None) -> uvicorn.Config:
    secured: dict[str, Any] = {}
    if tls is not None:
        secured = {"ssl_certfile": str(tls.certificate), "ssl_keyfile": None if tls.key is None else str(tls.key)}
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,  # addresses that log in once would stand in it
        server_header=False,
        proxy_headers=False,
        ws="none",
        lifespan="on",
        timeout_graceful_shutdown=DRAIN_SECONDS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        limit_concurrency=CONNECTIONS_MAX,
        **secured,
    )
