"""From a URL to the transport that it means.

Guarantees: only the adapter that is asked for is imported, and so only its driver is needed.
Must not: connect.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from amends.errors import TransportRefused
from amends.transport.base import Transport

LOCAL = "local://"
_ADAPTERS: dict[str, tuple[str, str]] = {  # scheme -> module and class
    "local": ("local", "LocalTransport"),
    "amqp": ("rabbitmq", "RabbitmqTransport"),
    "amqps": ("rabbitmq", "RabbitmqTransport"),
    "kafka": ("kafka", "KafkaTransport"),
    "kafkas": ("kafka", "KafkaTransport"),
    "nats": ("nats", "NatsTransport"),
    "tls": ("nats", "NatsTransport"),  # as NATS calls it
    "redis": ("redis", "RedisTransport"),
    "rediss": ("redis", "RedisTransport"),
}
_EXTRAS = {"rabbitmq": "aio-pika", "kafka": "aiokafka", "nats": "nats-py", "redis": "redis"}
_DRIVERS = {"aiormq": "rabbitmq", "pamqp": "rabbitmq", "aiokafka": "kafka", "nats": "nats", "redis": "redis"}


Broker = str | Transport | None
"""What `broker=` takes: a URL, a transport that is made already, or nothing, which is `local://`."""


def transport_for(broker: Broker) -> Transport:
    """The transport of a URL, not open yet; without one the process's own, `local://`. One that is made already
    is given as it is.

    Raises TransportRefused for a URL that makes no sense, and for a driver that is not installed.
    """
    if broker is not None and not isinstance(broker, str):
        return broker
    text = LOCAL if broker is None else broker
    scheme = text.partition("://")[0]
    if "://" not in text or scheme not in _ADAPTERS:
        known = ", ".join(f"{name}://" for name in _ADAPTERS)
        raise TransportRefused(f"a broker's URL begins with one of {known}; this one does not")
    module, name = _ADAPTERS[scheme]
    try:
        made: Callable[[str], Transport] = getattr(import_module(f"amends.transport.{module}"), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _DRIVERS:
            raise
        raise TransportRefused(
            f'{scheme}:// needs {_EXTRAS[module]}, which is not installed: pip install "amends[{module}]"'
        ) from error
    return made(text)
