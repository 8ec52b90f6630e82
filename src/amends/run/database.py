"""Which store a database is.

Guarantees: a URL that cannot be meant is refused with what can be.
Must not: open anything.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from amends.errors import DefinitionError
from amends.store.base import Store
from amends.store.memory import MemoryStore
from amends.store.sqlite import SqliteStore

DEFAULT_DATABASE = "sqlite:///amends.db"
Database = str | Path | Store | None
_ENCODE = "in a user or password, percent-encode what has a meaning in a URL: @ is %40, : %3A, / %2F, # %23, ? %3F"
_LINE_ENDS = str.maketrans("", "", "\t\r\n")  # that a split leaves away, in a password too
_LIKELY = re.compile(r"^([^:]*://[^:/@]*:).*@", re.DOTALL)  # where a password is, in what is no URL because of it
_HARMLESS = "host|port|user|sslmode|pooling|target_session_attrs|application_name|connect_timeout|mode"
_OPTION = re.compile(  # any that is not one of these and plain may be a password, or have one
    rf"([?&](?!(?:{_HARMLESS})=[\w.,:/-]*(?:&|$))(?:[a-z_]{1, 40}=)?)[^&]+", re.IGNORECASE
)


def check_database(database: Database) -> None:
    """See that a database can be meant, without opening it. Raises DefinitionError."""
    if isinstance(database, str) and not database.startswith("memory:"):
        if not is_postgres(database):
            sqlite_path(database)
        else:
            _check_postgres(database)


def _check_postgres(url: str) -> None:
    parts = _split(url)
    early = "@" in parts.query and "@" not in parts.netloc  # a password ended the place early, and may be in it
    if parts.fragment or "#" in url or "@" in parts.path or early:
        raise DefinitionError(f"{masked(url)!r} is no URL of a database: {_ENCODE}")
    for host in parts.netloc.rpartition("@")[2].split(","):  # there may be several
        port = host.rpartition("]")[2].partition(":")[2]
        if port and not (port.isascii() and port.isdigit() and int(port) < 65_536):
            raise DefinitionError(f"{masked(url)!r}: {port!r} is no port; {_ENCODE}")
    if not parts.path.strip("/"):
        raise DefinitionError(f"{masked(url)!r} names no database: postgresql://user@host/orders is expected")


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:  # such as a bracket that is never closed; the error may have a part of the password
        raise DefinitionError(f"{masked(url)!r} is no URL: its brackets make no sense; {_ENCODE}") from None


def is_postgres(url: str) -> bool:
    """Whether a URL is PostgreSQL's; SQLAlchemy's names of it too."""
    return url.partition(":")[0].partition("+")[0].lower() in ("postgresql", "postgres")


def store_of(database: Database, namespace: str, *, migrate: bool = False) -> Store:
    """The store of a database: the argument, else AMENDS_DATABASE, else a file `amends.db`.
    `migrate`: opening it brings its schema to this code's, where that is not done anyhow.

    Raises DefinitionError for what is no database that amends knows.
    """
    if database is None:
        database = os.environ.get("AMENDS_DATABASE") or DEFAULT_DATABASE
    if isinstance(database, Path):
        return SqliteStore(database, namespace)
    if not isinstance(database, str):
        return database
    if database.partition(":")[0].lower() == "memory":
        return MemoryStore()
    if is_postgres(database):
        _check_postgres(database)
        return _postgres(database, namespace, migrate=migrate)
    return SqliteStore(sqlite_path(database), namespace)


def _postgres(url: str, namespace: str, *, migrate: bool) -> Store:
    """Imported only where it is used: the driver is an extra. Raises DefinitionError where it is missing."""
    try:
        from amends.store.postgres import PostgresStore
    except ModuleNotFoundError as error:
        if error.name != "asyncpg":
            raise
        raise DefinitionError(f"{masked(url)!r} needs the PostgreSQL driver: pip install 'amends[postgres]'") from error
    return PostgresStore(url, namespace, migrate=migrate)


def sqlite_path(url: str) -> Path:
    """The file of a SQLite URL: `sqlite:///relative.db` or `sqlite:////absolute.db`."""
    parts = _split(url)
    if parts.scheme != "sqlite" or parts.netloc or len(parts.path) < 2 or not url.lower().startswith("sqlite:///"):
        raise DefinitionError(
            f"{masked(url)!r} is no database that amends knows: sqlite:///orders.db is a file in this directory, "
            "sqlite:////var/lib/orders.db an absolute one, postgresql://user@host/orders a server's, memory:// is gone "
            "with the process"
        )
    if "?" in url or "#" in url:
        raise DefinitionError(f"{masked(url)!r}: there are no options; in the name of a file, ? is %3F and # is %23")
    if parts.path == "/:memory:":
        raise DefinitionError(f"{url!r}: what stays in memory is memory://")
    return Path(unquote(parts.path[1:]))


def masked(url: str) -> str:
    """A URL fit to be shown: without its password, and without options that may have one."""
    url = url.translate(_LINE_ENDS)
    try:
        parts = urlsplit(url)
        password = None if "@" in parts.path else parts.password
    except ValueError:
        password = None
    if password is None:
        return _OPTION.sub(r"\1***", _LIKELY.sub(r"\1***@", url))
    return _OPTION.sub(r"\1***", url.replace(f":{password}@", ":***@"))  # also where two URLs were pasted into one
