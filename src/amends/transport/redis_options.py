"""What the URL of a Redis says, as its client wants it.

    redis://user:password@host:port/0?…      rediss:// for TLS

Guarantees: what makes no sense is refused before anybody connects; no text that is made here shows a password.
Must not: connect.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from redis.asyncio.connection import Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from amends.transport.door import MESSAGE_BYTES
from amends.transport.url import TLS, Url, parse

CLAIM_SECONDS = 30.0
KEEP_DAYS = 7.0
_OPTIONS = ("claim_seconds", "keep_days")


@dataclass(frozen=True)
class Options:
    """One URL, read."""

    url: Url
    prefix: str
    create: bool
    publish_seconds: float
    connect_seconds: float
    message_bytes: int
    claim_seconds: float
    keep_seconds: float
    database: int
    tls: dict[str, Any] = field(repr=False)

    @property
    def shown(self) -> str:
        """The URL for messages and logs, without secrets."""
        return self.url.shown

    @property
    def claim_ms(self) -> int:
        """After how many milliseconds a message that nobody speaks of is somebody else's."""
        return max(int(self.claim_seconds * 1000), 1)

    def connection(self) -> Connection:
        """A connection that is not open yet. It tries once, and never again by itself."""
        kind = SSLConnection if self.url.scheme == "rediss" else Connection
        return kind(
            host=self.url.host.name,
            port=self.url.host.port,
            db=self.database,
            username=self.url.user or None,
            password=self.url.password,
            socket_timeout=None,  # each call has its own; the client's 5 s would end a question that is kept as long
            socket_connect_timeout=self.connect_seconds,
            socket_keepalive=True,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
            **self.tls,
        )


def read(text: str) -> Options:
    """The options that a URL is. Raises TransportRefused for one that makes no sense."""
    url = parse(text, {"redis": 6379, "rediss": 6379})
    url.only(*_OPTIONS, *TLS)
    if len(url.hosts) > 1:
        raise url.refused("one host is expected: neither Sentinel nor a cluster is spoken here")
    path = url.path or "0"
    if not (path.isascii() and path.isdigit() and len(path) < 6):
        raise url.refused(f"/{path:.40} is no number of a database")
    tls: dict[str, Any] = {}
    if url.scheme == "rediss":
        url.tls()  # says what is wrong with the files
        tls = {"ssl_cert_reqs": "required", "ssl_check_hostname": True, "ssl_ca_certs": url.options.get("cafile")}
        tls |= {"ssl_certfile": url.options.get("certfile"), "ssl_keyfile": url.options.get("keyfile")}
    elif any(name in url.options for name in TLS):
        raise url.refused("certificates are for rediss://")
    return Options(
        url=url,
        prefix=url.prefix,
        create=url.create,
        publish_seconds=url.publish_seconds,
        connect_seconds=url.connect_seconds,
        message_bytes=url.number("message_bytes", MESSAGE_BYTES),
        claim_seconds=url.seconds("claim_seconds", CLAIM_SECONDS),
        keep_seconds=url.seconds("keep_days", KEEP_DAYS) * 86400,
        database=int(path),
        tls=tls,
    )
