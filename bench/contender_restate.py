"""Restate: its own server, with a service in this process, called over HTTP.

The server is the program that an npm package ships (`npm install --prefix .services
@restatedev/restate-server`); RESTATE_SERVER names another. It keeps its own log instead of a
database, so what is counted in PostgreSQL is not counted here.

Compensation is what its documentation shows: a list of undoing steps, run where a step ends for good.

Guarantees: the server's defaults, durability included; its directory is gone afterwards.
Must not: listen beyond loopback.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

from bench.order import DOCUMENT
from services.found import UNPACKED
from services.process import free_port

READY_SECONDS = 60.0
PACKAGED = UNPACKED.parent / "node_modules/@restatedev/restate-server-linux-x64/bin/restate-server"
BODY = json.dumps(DOCUMENT).encode()


def program() -> str | None:
    """Where the server is, if it is anywhere."""
    packaged = str(PACKAGED) if PACKAGED.exists() else None
    return os.environ.get("RESTATE_SERVER") or packaged or shutil.which("restate-server")


class Line:
    """One connection that stays open, one request at a time."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """The status and what was answered."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        fields = dict(line.split(": ", 1) for line in lines[1:] if line)
        return int(lines[0].split()[1]), await reader.readexactly(int(fields.get("content-length", 0)))

    def close(self) -> None:
        """Hang up."""
        if self._streams is not None:
            self._streams[1].close()


@asynccontextmanager
async def _server(ingress: int, admin: int) -> AsyncIterator[int]:
    """The server's process; it takes a while to come up."""
    found = program()
    if found is None:
        raise RuntimeError("there is no restate-server: npm install --prefix .services @restatedev/restate-server")
    with tempfile.TemporaryDirectory() as home:
        environment = {
            **os.environ,
            "RESTATE_BASE_DIR": home,
            "RESTATE_LISTEN_MODE": "tcp",
            "RESTATE_BIND_ADDRESS": f"127.0.0.1:{free_port()}",
            "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{ingress}",
            "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{admin}",
            "RESTATE_DISABLE_TELEMETRY": "true",
            "RUST_LOG": "error",
        }
        quiet = subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(
            found, "--no-logo", env=environment, cwd=home, stdout=quiet, stderr=quiet
        )
        try:
            yield process.pid
        finally:
            process.terminate()
            await process.wait()


@asynccontextmanager
async def running(
    flow: str, started: Callable[[int], None] = lambda pid: None
) -> AsyncIterator[Callable[[], Awaitable[object]]]:
    """A function that calls the service once. `started` hears the server's process id."""
    ingress, admin, service = free_port(), free_port(), free_port()
    async with _server(ingress, admin) as pid, _serving(flow, service):
        started(pid)
        await _registered(admin, service)
        free: list[Line] = []
        wanted = b'"shipped"' if flow == "happy" else b'"undone"'
        await _until(lambda: _called(Line(ingress), wanted))

        async def run() -> None:
            line = free.pop() if free else Line(ingress)
            if not await _called(line, wanted):
                raise RuntimeError("not what was wanted")
            free.append(line)

        yield run
        for line in free:
            line.close()


async def _called(line: Line, wanted: bytes) -> bool:
    return await line.post("/orders/place_order", BODY) == (200, wanted)


async def _registered(admin: int, service: int) -> None:
    body = json.dumps({"uri": f"http://127.0.0.1:{service}"}).encode()

    async def told() -> bool:
        line = Line(admin)
        status, _ = await line.post("/deployments", body)
        line.close()
        return status in (200, 201)

    await _until(told)


async def _until(done: Callable[[], Awaitable[bool]]) -> None:
    """Ask until it is so: the server takes seconds to come up."""
    async with asyncio.timeout(READY_SECONDS):
        while True:
            try:
                if await done():
                    return
            except (OSError, asyncio.IncompleteReadError):
                pass
            await asyncio.sleep(0.2)


@asynccontextmanager
async def _serving(flow: str, port: int) -> AsyncIterator[None]:
    """The service, on this loop."""
    hypercorn: Any = import_module("hypercorn")
    serve: Any = import_module("hypercorn.asyncio").serve
    config = hypercorn.Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.loglevel = "ERROR"
    over = asyncio.Event()
    task = asyncio.create_task(serve(_app(flow), config, shutdown_trigger=over.wait))
    try:
        yield
    finally:
        over.set()
        await task


def _app(flow: str) -> Any:
    restate: Any = import_module("restate")

    async def reserve() -> dict[str, Any]:
        return {"id": "r-000017"}

    async def charge() -> dict[str, Any]:
        return {"id": "p-000017", "cents": 26399}

    async def ship() -> dict[str, Any]:
        if flow == "compensated":
            raise restate.TerminalError("no room in the van")
        return {"tracking": "t-000017"}

    async def undo() -> None:
        pass

    orders = restate.Service("orders")

    @orders.handler()  # type: ignore[untyped-decorator]
    async def place_order(ctx: Any, order: dict[str, Any]) -> str:
        undoing: list[str] = []
        try:
            for name, act, back in (("reserve", reserve, "release"), ("charge", charge, "refund"), ("ship", ship, "")):
                await ctx.run_typed(name, act)
                undoing.append(back)
        except restate.TerminalError:
            for name in reversed(undoing):
                await ctx.run_typed(name, undo)
            return "undone"
        return "shipped"

    return restate.app(services=[orders])
