"""A private PostgreSQL: own directory, own port, default durability, as an unprivileged user.

    with Postgres() as server:
        url = server.create_database()

Guarantees: what `Server` guarantees; nothing but the size of the pool of connections differs from the defaults.
Must not: read or touch the machine's own clusters; weaken what is durable.
"""

from __future__ import annotations

import secrets
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import psutil
import psycopg

from services.databases import Databases
from services.found import postgres_bin
from services.server import Server

MAX_CONNECTIONS = 200
USER = "amends"
ORPHAN_SECONDS = 30.0  # what the children of a killed server may take to notice, before they are killed too

StopMode = Literal["smart", "fast", "immediate"]
_SIGNALS: dict[StopMode, signal.Signals] = {
    "smart": signal.SIGTERM,
    "fast": signal.SIGINT,
    "immediate": signal.SIGQUIT,
}


class Postgres(Server):
    """One cluster and its server."""

    name = "PostgreSQL"
    end_signal = signal.SIGQUIT

    def __init__(self, programs: Path | None = None, /, **settings: str | int) -> None:
        """settings: lines of postgresql.conf, such as `deadlock_timeout="100ms"`. programs: the directory of
        another version than the machine's."""
        found = programs or postgres_bin()
        super().__init__()
        self._bin = self.place.reachable(found / "postgres").parent
        self._settings = settings
        self._data = self.directory / "data"
        self._password = secrets.token_urlsafe(12)
        self._orphans: list[psutil.Process] = []

    @property
    def admin_url(self) -> str:
        """The superuser's URL of the maintenance database."""
        return f"postgresql://{USER}:{self._password}@127.0.0.1:{self.port}/postgres"

    @property
    def databases(self) -> Databases:
        """Makes and drops databases."""
        return Databases(self.admin_url)

    def create_database(self) -> str:
        """A fresh, empty database. Gives its URL."""
        return self.databases.create()

    def drop(self, url: str) -> None:
        """Remove a database made here, also while somebody is connected to it."""
        self.databases.drop(url)

    def stop(self, mode: StopMode = "fast") -> None:
        """Stop it as its administrator would: `fast` ends the sessions, `immediate` leaves the rest to recovery."""
        self.end(_SIGNALS[mode])

    def kill(self) -> None:
        """kill -9 of the server's main process. Its children notice by themselves, some of them later."""
        self._orphans = psutil.Process(self.pid).children()
        super().kill()

    def restart(self, mode: StopMode = "fast") -> None:
        """Stop it and start it again. After kill(), start() is enough."""
        self.stop(mode)
        self.start()

    def close(self) -> None:
        """End it and remove its directory. It cannot be started again."""
        if self._orphans:
            self.start()  # a killed server leaves shared memory behind, and only the next start knows which
        super().close()

    def configure(self) -> None:
        """Make the cluster if there is none, and say what differs from PostgreSQL's defaults."""
        if not self._data.exists():
            self._make_cluster()
        settings: dict[str, str | int] = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "max_connections": MAX_CONNECTIONS,
            **({"shared_preload_libraries": "pg_stat_statements"} if self._has("pg_stat_statements") else {}),
            **self._settings,
        }
        self.place.write("server.conf", "".join(f"{name} = '{value}'\n" for name, value in settings.items()))

    def command(self) -> Sequence[str]:
        """The command of the main process."""
        return [str(self._bin / "postgres"), "-D", str(self._data)]

    def answers(self) -> bool:
        """Whether it takes connections. It says so in a file first; asking earlier would fill its log with refusals."""
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

    def ready_to_start(self) -> None:
        """Wait for the children of a killed server: as long as one lives, PostgreSQL refuses to start."""
        _, left = psutil.wait_procs(self._orphans, timeout=ORPHAN_SECONDS)
        for process in left:
            process.kill()
        psutil.wait_procs(left)
        self._orphans = []

    def _make_cluster(self) -> None:
        password = self.place.write("password", self._password)
        self.place.run(
            [
                str(self._bin / "initdb"),
                *("--pgdata", str(self._data), "--username", USER, "--pwfile", str(password)),
                *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C"),
                "--no-sync",  # the empty cluster may be lost in a power failure; from the start on all is synced
            ]
        )
        with (self._data / "postgresql.conf").open("a") as file:
            file.write(f"include '{self.directory / 'server.conf'}'\n")

    def _has(self, library: str) -> bool:
        asked = ""
        if (self._bin / "pg_config").exists():
            asked = self.place.run([str(self._bin / "pg_config"), "--pkglibdir"], check=False).stdout.strip()
        return any((self._bin / folder / f"{library}.so").exists() for folder in ("../lib", asked or "../lib"))
