"""What every test may ask for: servers, from `servers.py`."""

from servers import (
    pgbouncer,
    pgbouncer_url,
    postgres_databases,
    postgres_of_version,
    postgres_server,
    postgres_url,
    pytest_terminal_summary,
)

__all__ = [
    "pgbouncer",
    "pgbouncer_url",
    "postgres_databases",
    "postgres_of_version",
    "postgres_server",
    "postgres_url",
    "pytest_terminal_summary",
]
