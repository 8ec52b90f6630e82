"""What every test may ask for: servers, from `servers.py`."""

from servers import postgres_databases, postgres_server, postgres_url

__all__ = ["postgres_databases", "postgres_server", "postgres_url"]
