"""What every test may ask for: servers, from `servers.py`."""

from servers import (
    broker_prefix,
    kafka_server,
    kafka_url,
    nats_server,
    nats_url,
    pgbouncer,
    pgbouncer_url,
    postgres_databases,
    postgres_of_version,
    postgres_server,
    postgres_url,
    pytest_terminal_summary,
    rabbitmq_server,
    rabbitmq_url,
    redis_server,
    redis_url,
)

__all__ = [
    "broker_prefix",
    "kafka_server",
    "kafka_url",
    "nats_server",
    "nats_url",
    "pgbouncer",
    "pgbouncer_url",
    "postgres_databases",
    "postgres_of_version",
    "postgres_server",
    "postgres_url",
    "pytest_terminal_summary",
    "rabbitmq_server",
    "rabbitmq_url",
    "redis_server",
    "redis_url",
]
