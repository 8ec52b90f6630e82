"""Where a PostgreSQL database is, and how to talk to it: the URL and what is derived from it.

    postgresql://user:password@host:5432/database?sslmode=verify-full
    postgresql://user@pgbouncer:6432/database?pooling=transaction&direct=postgresql%3A%2F%2Fuser%40host%2Fdatabase

`pooling=transaction` says that a pooler such as PgBouncer stands between, which gives every
transaction another server connection: each statement then runs in an explicit transaction that
carries its own settings, and no prepared statement is kept. Nobody can listen through such a
pooler: `direct` names a way around it for that alone; without it, polls must do.

Guarantees: what is shown is without its password.
Must not: open anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from amends.errors import DefinitionError

LOCK_TIMEOUT_SECONDS = 0.25
IDLE_SECONDS = 5.0  # a third of the default lease: how long a frozen client may keep a transaction open
CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 20.0  # after which a line is given up: nobody may wait for a peer that is gone for good

SETTINGS = {
    "lock_timeout": f"{round(LOCK_TIMEOUT_SECONDS * 1000)}ms",
    "idle_in_transaction_session_timeout": f"{round(IDLE_SECONDS * 1000)}ms",
    "default_transaction_isolation": "read committed",
    # Plans are made while tables are small, and kept while they grow: only lookups by key stay right.
    "jit": "off",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_bitmapscan": "off",
    "enable_material": "off",
    "random_page_cost": "1.1",
}
COMMIT_SETTINGS = {"plan_cache_mode": "force_generic_plan"}  # planning it takes longer than running it


@dataclass(frozen=True)
class Place:
    """A database. dsn: without our own options. pooled: a transaction pooler stands between. direct:
    the way around it, or the same way where there is none between; None where nobody can listen."""

    dsn: str
    pooled: bool
    direct: str | None

    def __repr__(self) -> str:
        return f"Place({str(self)!r})"

    def __str__(self) -> str:
        parts = urlsplit(self.dsn)
        host = parts.netloc.rpartition("@")[2]
        return f"postgresql://{host}{parts.path.partition('&')[0]}"  # options whose ? was forgotten are none of it

    def options(self, *, name: str, settings: dict[str, str]) -> dict[str, Any]:
        """What asyncpg connects with."""
        common: dict[str, Any] = {"dsn": self.dsn, "timeout": CONNECT_SECONDS, "command_timeout": ANSWER_SECONDS}
        if self.pooled:
            return {**common, "statement_cache_size": 0}
        return {**common, "server_settings": {"application_name": name, **settings}}


def place_of(url: str) -> Place:
    """The database of a URL; SQLAlchemy's `postgresql+driver://` is understood too.

    Raises DefinitionError for options that make no sense.
    """
    parts = urlsplit(url)
    options = parse_qsl(parts.query, keep_blank_values=True)
    mine = {name: value for name, value in options if name in ("pooling", "direct")}
    rest = [(name, value) for name, value in options if name not in mine]
    dsn = urlunsplit(("postgresql", parts.netloc, parts.path, urlencode(rest), ""))
    pooling = mine.get("pooling", "session")
    if pooling not in ("session", "transaction"):
        raise DefinitionError("pooling=: transaction or session is expected")
    pooled = pooling == "transaction"
    direct = mine.get("direct")
    if direct is not None and not direct.startswith(("postgresql://", "postgres://")):
        raise DefinitionError("direct=: a postgresql:// URL is expected, percent-encoded")
    return Place(dsn, pooled, direct if pooled else dsn)
