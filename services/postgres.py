"""A private PostgreSQL: own directory, own port, default durability, as an unprivileged user.

    with Postgres() as server:
        url = server.create_database()

Guarantees: the port, and so every URL, stays the same for the server's life, through kills and restarts; the
server and its directory are gone when this process is, however it ends.
Must not: read or touch the machine's own clusters; weaken what is durable.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
from types import TracebackType
from typing import Literal, Self

import psutil
import psycopg

from services.databases import Databases
from services.found import postgres_bin
from services.keeper import SERVER, Use, end_server, watch, write_down
from services.process import Place, ServerFailed, free_port, tail, wait_until

MAX_CONNECTIONS = 200
USER = "amends"
START_ATTEMPTS = 5
ORPHAN_SECONDS = 30.0  # what the children of a killed server may take to notice, before they are killed too

_CONFIGURATION = """
# What differs from PostgreSQL's defaults. Durability does not.
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = {connections}
port = {port}
"""
StopMode = Literal["smart", "fast", "immediate"]
_SIGNALS: dict[StopMode, signal.Signals] = {
    "smart": signal.SIGTERM,
    "fast": signal.SIGINT,
    "immediate": signal.SIGQUIT,
}


class Postgres:
    """One server. Methods may be called from any thread, but one at a time."""

    def __init__(self, **settings: str | int) -> None:
        """settings: lines of postgresql.conf, such as `deadlock_timeout="100ms"`."""
        self._settings = settings
        self._bin = postgres_bin()
        self._process: subprocess.Popen[bytes] | None = None
        self._orphans: list[psutil.Process] = []
        self._place = Place("postgres")
        self.directory = self._place.directory
        self.log = self.directory / "server.log"
        self._data = self.directory / "data"
        self._password = secrets.token_urlsafe(12)
        self.use = Use(self.directory)
        watch(self.directory)
        self._bin = self._place.reachable(self._bin / "postgres").parent
        self.port = free_port()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def admin_url(self) -> str:
        """The superuser's URL of the maintenance database."""
        return f"postgresql://{USER}:{self._password}@127.0.0.1:{self.port}/postgres"

    @property
    def databases(self) -> Databases:
        """Makes and drops databases."""
        return Databases(self.admin_url)

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        if self._process is None:
            raise ServerFailed("the server is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether its process lives."""
        return self._process is not None and self._process.poll() is None

    def create_database(self) -> str:
        """A fresh, empty database. Gives its URL."""
        return self.databases.create()

    def drop(self, url: str) -> None:
        """Remove a database made here, also while somebody is connected to it."""
        self.databases.drop(url)

    def start(self) -> None:
        """Start it, and come back when it takes connections. Nothing happens if it runs."""
        if self.running:
            return
        fresh = not self._data.exists()
        if fresh:
            self._make_cluster()
        for _ in range(START_ATTEMPTS):
            self._bury_orphans()
            if self._started():
                return
            if fresh and "could not bind" in tail(self.log):  # somebody was faster; later the port is ours to keep
                self.port = free_port()
                self._configure()
        raise ServerFailed(f"PostgreSQL does not start; its log ends with\n{tail(self.log)}")

    def stop(self, mode: StopMode = "fast") -> None:
        """Stop it as its administrator would: `fast` ends the sessions, `immediate` leaves the rest to recovery."""
        if self._process is not None and self.running:
            self._process.send_signal(_SIGNALS[mode])
            self._process.wait(60)
        self._process = None

    def kill(self) -> None:
        """kill -9 of the server's main process. Its children notice by themselves, some of them later."""
        if self._process is None:
            raise ServerFailed("the server is not running")
        self._orphans = psutil.Process(self._process.pid).children()
        self._process.kill()
        self._process.wait()
        self._process = None

    def restart(self, mode: StopMode = "fast") -> None:
        """Stop it and start it again. After kill(), start() is enough."""
        self.stop(mode)
        self.start()

    def close(self) -> None:
        """End it and remove its directory. It cannot be started again."""
        if self._process is None and (self.directory / SERVER).exists() and self._orphans:
            self.start()  # a killed server leaves shared memory behind, and only the next start knows which
        if self._process is not None:
            end_server(self.directory)
            self._process.wait()
            self._process = None
        shutil.rmtree(self.directory, ignore_errors=True)
        self.use.close()

    def _make_cluster(self) -> None:
        password = self._place.write("password", self._password)
        self._place.run(
            [
                str(self._bin / "initdb"),
                *("--pgdata", str(self._data), "--username", USER, "--pwfile", str(password)),
                *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C"),
                "--no-sync",  # the empty cluster may be lost in a power failure; from the start on all is synced
            ]
        )
        self._configure()

    def _configure(self) -> None:
        text = _CONFIGURATION.format(connections=MAX_CONNECTIONS, port=self.port)
        if self._has("pg_stat_statements"):
            text += "shared_preload_libraries = 'pg_stat_statements'\n"
        text += "".join(f"{name} = '{value}'\n" for name, value in self._settings.items())
        self._place.write("server.conf", text)
        main = self._data / "postgresql.conf"
        include = f"include '{self.directory / 'server.conf'}'\n"
        if include not in main.read_text():
            with main.open("a") as file:
                file.write(include)

    def _has(self, library: str) -> bool:
        asked = self._place.run([str(self._bin / "pg_config"), "--pkglibdir"], check=False)
        folders = [self._bin.parent / "lib", self._bin.parent / asked.stdout.strip()]
        return any((folder / f"{library}.so").exists() for folder in folders)

    def _started(self) -> bool:
        """Start the process; whether it takes connections in the end."""
        self._process = self._place.start([str(self._bin / "postgres"), "-D", str(self._data)], self.log)
        write_down(self.directory, self._process.pid, signal.SIGQUIT)
        wait_until(lambda: not self.running or self._answers(), "PostgreSQL takes connections")
        if self.running:
            return True
        self._process = None
        return False

    def _answers(self) -> bool:
        """Whether it takes connections: the file says so first, so that its log is not filled with refusals."""
        try:
            state = (self._data / "postmaster.pid").read_text().split("\n")[7]
        except (OSError, IndexError):
            return False
        if state.strip() != "ready":
            return False
        try:
            psycopg.connect(self.admin_url, connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def _bury_orphans(self) -> None:
        """Wait for the children of a killed server: as long as one lives, PostgreSQL refuses to start."""
        _, left = psutil.wait_procs(self._orphans, timeout=ORPHAN_SECONDS)
        for process in left:
            process.kill()
        psutil.wait_procs(left)
        self._orphans = []


def kill_backend(pid: int) -> None:
    """kill -9 of one session's process: the server ends all others and recovers."""
    os.kill(pid, signal.SIGKILL)
