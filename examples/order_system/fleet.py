"""The processes of the system, started, watched and ended.

With a broker: a web process, the worker of the order service, inventory, payment. Without: the web process, and one
worker that hosts all of them. The code is the same; what differs are these commands, and BROKER_URL.

Guarantees: one that ends is started again; `close` ends all, whatever state they are in.
Must not: know what they do.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

import httpx

from services.process import free_port, tail

from .servers import Servers

HERE = Path(__file__).parent
PACKAGE = __package__ or "order_system"
ROOT = HERE.parents[PACKAGE.count(".")]  # from where the package is imported
WEB = "web"
PARTS = {
    "orders": ("orders:orchestrator", "orders:app"),
    "inventory": ("inventory:app",),
    "payment": ("payment:app",),
}
LOOK_SECONDS = 0.1
READY_SECONDS = 120.0
STOP_SECONDS = 60.0
STORE_AWAY = 7  # a worker ends with that if it cannot open its database


class NotReady(Exception):
    """A process did not come up."""


@dataclass
class Process:
    """One of them. lives: how often it was started. paused: it is stopped for a while."""

    name: str
    command: list[str]
    ready_file: Path
    log: Path
    child: subprocess.Popen[bytes] | None = None
    lives: int = 0
    paused: bool = False

    @property
    def alive(self) -> bool:
        return self.child is not None and self.child.poll() is None


@dataclass
class Fleet:
    """All of them. ended: what ended by itself though it had been ready, with its exit code."""

    servers: Servers
    directory: Path
    processes: dict[str, Process] = field(default_factory=dict[str, Process])
    ended: list[str] = field(default_factory=list[str])
    url: str = ""

    def __post_init__(self) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        uvicorn = ["-m", "uvicorn", f"{PACKAGE}.web:web", "--port", str(port), "--log-level", "warning"]
        self._web = self._add(WEB, uvicorn)
        parts = dict(PARTS)
        if self.servers.choreographed:
            parts["orders"] = ("orders:app",)
        if self.servers.broker_url is None and self.servers.choreographed:
            pass  # the web process is all of them
        elif self.servers.broker_url is None:
            self._add("everything", _worker(part for some in parts.values() for part in some))
        else:
            for name, some in parts.items():
                self._add(name, _worker(some))

    def _add(self, name: str, command: list[str]) -> Process:
        ready = self.directory / f"{name}.ready"
        if name != WEB:
            command = [*command, f"--ready-file={ready}"]
        made = Process(name, [sys.executable, *command], ready, self.directory / f"{name}.log")
        self.processes[name] = made
        return made

    def where(self, service: str) -> Process:
        """The process that a service is in."""
        return self.processes.get(service) or self.processes.get("everything") or self._web

    # Coming and going

    def start(self, process: Process) -> None:
        """Start it, or start it again."""
        given = {f"{name.upper()}_DATABASE": url for name, url in self.servers.databases.items()}
        environment = {**os.environ, **given, "BROKER_URL": self.servers.broker_url or "", "LEASE_SECONDS": "4"}
        if self.servers.choreographed:
            environment["STYLE"] = "choreographed"
        process.ready_file.unlink(missing_ok=True)
        with process.log.open("ab") as log:
            process.child = subprocess.Popen(process.command, cwd=ROOT, env=environment, stdout=log, stderr=log)  # noqa: S603
        process.lives += 1

    def kill(self, process: Process) -> None:
        """kill -9, and a new one."""
        if process.child is not None:
            process.child.kill()
            process.child.wait()
        self.start(process)

    def signal(self, process: Process, number: signal.Signals) -> None:
        """SIGSTOP or SIGCONT."""
        if process.child is not None and process.alive:
            process.paused = number is signal.SIGSTOP
            process.child.send_signal(number)

    async def oversee(self) -> None:
        """What a supervisor does, for ever: start what has ended."""
        while True:
            for process in self.processes.values():
                if process.child is not None and not process.alive:
                    code = process.child.returncode
                    if process.ready_file.exists() or code != STORE_AWAY:  # one that starts needs its database
                        self.ended.append(f"{process.name} ended by itself, with {code}")
                    self.start(process)
            await asyncio.sleep(LOOK_SECONDS)

    async def ready(self) -> None:
        """Wait until all of them work. Raises NotReady."""
        async with httpx.AsyncClient(base_url=self.url) as client:
            try:
                async with asyncio.timeout(READY_SECONDS):
                    while self._late():
                        if self._web in self._late() and await _answers(client):
                            self._web.ready_file.touch()
                        await asyncio.sleep(LOOK_SECONDS)
            except TimeoutError:
                told = "\n".join(f"--- {process.name}\n{tail(process.log)}" for process in self._late())
                raise NotReady(f"not ready within {READY_SECONDS:g} s:\n{told}") from None

    def _late(self) -> list[Process]:
        return [process for process in self.processes.values() if not process.ready_file.exists()]

    def stop(self) -> list[str]:
        """Ask them to finish; gives the words of those that did not end well."""
        for process in self.processes.values():
            if process.child is not None and process.alive:
                process.child.terminate()
        wrong: list[str] = []
        for process in self.processes.values():
            if process.child is None:
                continue
            try:
                code = process.child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                code = None
            if code not in (0, -signal.SIGTERM):
                wrong.append(f"{process.name} was asked to stop, and ended with {code}")
        return wrong

    def close(self) -> None:
        """End them."""
        for process in self.processes.values():
            if process.child is not None:
                process.child.kill()
                process.child.wait()


async def _answers(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/orders/none")).status_code == HTTPStatus.NOT_FOUND
    except httpx.TransportError:
        return False


def _worker(parts: Iterable[str]) -> list[str]:
    return ["-m", "amends", "worker", *(f"{PACKAGE}.{part}" for part in parts), "--log-level=warning"]
