"""What the URL of a NATS server says, as its client wants it.

    nats://user:password@host:port[,host:port]?…      tls:// for TLS      nats://token@host for a token

Guarantees: what makes no sense is refused before anybody connects; no text that is made here shows a password.
Must not: connect.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import Any
from urllib.parse import quote

from amends.transport.door import MESSAGE_BYTES
from amends.transport.url import TLS, Url, parse

CLAIM_SECONDS = 30.0
KEEP_DAYS = 7.0
DUPLICATE_SECONDS = 120.0
PING_SECONDS = 5  # twice without an answer, and the connection is given up
_OPTIONS = ("claim_seconds", "keep_days", "duplicate_seconds", "replicas", "credentials")


@dataclass(frozen=True)
class Options:
    """One URL, read. login: what the client is given beside the server."""

    url: Url
    prefix: str
    create: bool
    publish_seconds: float
    connect_seconds: float
    message_bytes: int
    claim_seconds: float
    keep_seconds: float
    duplicate_seconds: float
    replicas: int
    insist_on_tls: bool
    login: dict[str, Any] = field(repr=False)

    @property
    def shown(self) -> str:
        """The URL for messages and logs, without secrets."""
        return self.url.shown

    def client(self) -> dict[str, Any]:
        """What every connection is made with: one try at one server, and no reconnecting of its own."""
        return {
            **self.login,
            "name": f"amends {self.prefix}",
            "allow_reconnect": False,
            "max_reconnect_attempts": 1,
            "reconnect_time_wait": 0,
            "connect_timeout": self.connect_seconds,
            "ping_interval": PING_SECONDS,
            "max_outstanding_pings": 2,
            "pending_size": 0,
            "flush_timeout": self.publish_seconds,
        }


def read(text: str) -> Options:
    """The options that a URL is. Raises TransportRefused for one that makes no sense."""
    url = parse(text, {"nats": 4222, "tls": 4222})
    if url.user and url.password is None:  # a token: it stands where users stand, and is shown to nobody
        url = replace(url, shown=url.shown.replace(f"{quote(url.user)}@", "…@", 1))
    url.only(*_OPTIONS, *TLS)
    if url.path:
        raise url.refused("a path means nothing to NATS")
    return Options(
        url=url,
        prefix=url.prefix,
        create=url.create,
        publish_seconds=url.publish_seconds,
        connect_seconds=url.connect_seconds,
        message_bytes=url.number("message_bytes", MESSAGE_BYTES),
        claim_seconds=url.seconds("claim_seconds", CLAIM_SECONDS),
        keep_seconds=url.seconds("keep_days", KEEP_DAYS) * 86400,
        duplicate_seconds=url.seconds("duplicate_seconds", DUPLICATE_SECONDS),
        replicas=url.number("replicas", 1),
        insist_on_tls=url.scheme == "tls",
        login=_login(url),
    )


def _login(url: Url) -> dict[str, Any]:
    """Who asks: a user with a password, a token, or a file of credentials; and what TLS is spoken with."""
    login: dict[str, Any] = {}
    if url.user and url.password is not None:
        login = {"user": url.user, "password": url.password}
    elif url.user:
        login = {"token": url.user}
    credentials = url.text("credentials")
    if credentials:
        if find_spec("nkeys") is None:
            raise url.refused('credentials= needs nkeys, which is not installed: pip install "nats-py[nkeys]"')
        login = {"user_credentials": credentials}
    if url.scheme == "tls" or any(name in url.options for name in TLS):
        login["tls"] = url.tls()
    return login
