"""A private PgBouncer in front of a PostgreSQL, in transaction mode, the way that breaks careless clients.

    with Postgres() as server, Pgbouncer(server.admin_url) as bouncer:
        url = bouncer.url(server.create_database())

Prepared statements are not followed across transactions, also where PgBouncer (1.21 and later) could: what holds
without holds with them.

Guarantees: what `Server` guarantees; every database of the server can be reached, with the server's own password.
Must not: pool sessions; whoever wants them connects directly.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from urllib.parse import unquote, urlsplit, urlunsplit

import psycopg

from services.found import pgbouncer_program
from services.server import Server

POOL_SIZE = 20  # server connections per database
CLIENTS_MAX = 1000

_CONFIGURATION = """
[databases]
* = host={host} port={server_port}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
admin_users = {user}
pool_mode = transaction
default_pool_size = {pool_size}
max_client_conn = {clients}
logfile =
"""


class Pgbouncer(Server):
    """One PgBouncer in front of one server."""

    name = "PgBouncer"
    end_signal = signal.SIGTERM

    def __init__(self, admin_url: str, *, pool_size: int = POOL_SIZE) -> None:
        """admin_url: a URL of the server behind it, with user and password."""
        found = pgbouncer_program()
        super().__init__()
        self._program = str(self.place.reachable(found))
        self._server = urlsplit(admin_url)
        self._pool_size = pool_size

    def url(self, url: str) -> str:
        """The way through this PgBouncer to what the URL of the server behind it names."""
        parts = urlsplit(url)
        return urlunsplit(parts._replace(netloc=f"{parts.netloc.rpartition('@')[0]}@127.0.0.1:{self.port}"))

    @property
    def admin_url(self) -> str:
        """PgBouncer's own console, for SHOW POOLS and the like."""
        return self.url(urlunsplit(self._server._replace(path="/pgbouncer")))

    def stop(self) -> None:
        """End it, and every connection through it, at once."""
        self.end(self.end_signal)

    def restart(self) -> None:
        """Stop it and start it again."""
        self.stop()
        self.start()

    def configure(self) -> None:
        """Write its two files."""
        user, password = (unquote(part or "") for part in (self._server.username, self._server.password))
        users = self.place.write("users.txt", f'"{user}" "{password}"\n')
        text = _CONFIGURATION.format(
            host=self._server.hostname,
            server_port=self._server.port or 5432,
            port=self.port,
            users=users,
            user=user,
            pool_size=self._pool_size,
            clients=CLIENTS_MAX,
        )
        if self._version() >= (1, 21):
            text += "max_prepared_statements = 0\n"
        self.place.write("pgbouncer.ini", text)

    def command(self) -> Sequence[str]:
        """The command of the process; without a log file of its own it writes to where we look."""
        return [self._program, str(self.directory / "pgbouncer.ini")]

    def answers(self) -> bool:
        """Whether its console takes connections."""
        try:
            psycopg.connect(self.admin_url, connect_timeout=5, autocommit=True).close()
        except psycopg.OperationalError:
            return False
        return True

    def _version(self) -> tuple[int, ...]:
        told = re.search(r"PgBouncer (\d+)\.(\d+)", self.place.run([self._program, "--version"]).stdout)
        return tuple(map(int, told.groups())) if told else (0, 0)
