"""What the URL of a Kafka says, as its client wants it.

    kafka://host:port[,host:port]?…      kafkas:// for TLS;      kafka://user:password@… for SASL

Guarantees: what makes no sense is refused before anybody connects; no text that is made here shows a password.
Must not: connect.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from amends.transport.url import TLS, Url, parse

PARTITIONS = 6  # of a topic that is made: the most consumers that can share it
SESSION_SECONDS = 10.0  # a consumer that is not heard of for so long has left its group
COMMIT_SECONDS = 0.15  # acks of so long are committed together
AHEAD = 10_000  # offsets of one partition between the oldest that is open and the newest that was delivered
FETCH_WAIT_SECONDS = 0.1  # how long the broker keeps a question for new messages; those that come answer it at once
BATCH_BYTES = 256 * 1024  # of one partition, sent at once; a broker takes 1 MiB by default
REQUEST_BYTES = 1024 * 1024  # of one message with its headers: what a broker takes unless it was told otherwise
RETRY_MILLISECONDS = 200
REQUEST_SECONDS = 30.0
NO_LIMIT = 2**31 - 1
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
_OPTIONS = (
    "max_request_size",
    "partitions",
    "replication",
    "session_seconds",
    "commit_seconds",
    "ahead",
    "compression",
    "mechanism",
    "tls",
)
_COMPRESSIONS = ("none", "gzip", "snappy", "lz4", "zstd")


@dataclass(frozen=True)
class Options:
    """One URL, read. bootstrap: the brokers to ask first."""

    url: Url
    prefix: str
    bootstrap: list[str]
    publish_seconds: float
    connect_seconds: float
    session_seconds: float
    commit_seconds: float
    ahead: int
    max_request_size: int
    partitions: int
    replication: int
    create: bool
    compression: str | None
    login: dict[str, Any] = field(repr=False)

    @property
    def shown(self) -> str:
        """The URL for messages and logs, without secrets."""
        return self.url.shown

    def client(self) -> dict[str, Any]:
        """What all of its clients are made with."""
        return {"bootstrap_servers": self.bootstrap, "retry_backoff_ms": RETRY_MILLISECONDS, **self.login}

    def producer(self) -> dict[str, Any]:
        """What its producer is made with: a message is confirmed by all replicas in sync, and written once."""
        return {
            **self.client(),
            "acks": "all",
            "enable_idempotence": True,
            "linger_ms": 0,
            "max_batch_size": BATCH_BYTES,
            "compression_type": self.compression,
            "request_timeout_ms": int(max(self.publish_seconds, 1.0) * 1000),
        }

    def consumer(self, group: str) -> dict[str, Any]:
        """What a consumer is made with. It is in its group as long as its loop runs, however long the work takes."""
        session = int(self.session_seconds * 1000)
        return {
            **self.client(),
            "group_id": group,
            "enable_auto_commit": False,
            "auto_offset_reset": "earliest",
            "session_timeout_ms": session,
            "rebalance_timeout_ms": max(session, 10_000),
            "heartbeat_interval_ms": max(session // 4, 100),
            "max_poll_interval_ms": NO_LIMIT,
            "request_timeout_ms": int(max(self.session_seconds, 10.0) * 1000 + REQUEST_SECONDS * 1000),
            "fetch_max_wait_ms": int(FETCH_WAIT_SECONDS * 1000),
            "metadata_max_age_ms": 30_000,
        }


def read(text: str) -> Options:
    """The options that a URL is. Raises TransportRefused for one that makes no sense."""
    url = parse(text, {"kafka": 9092, "kafkas": 9092})
    url.only(*_OPTIONS, *TLS)
    if url.path:
        raise url.refused("a path means nothing to Kafka")
    compression = url.text("compression", "none")
    if compression not in _COMPRESSIONS:
        raise url.refused(f"compression={compression:.40}: one of {', '.join(_COMPRESSIONS)} is expected")
    return Options(
        url=url,
        prefix=url.prefix,
        bootstrap=[str(host) for host in url.hosts],
        publish_seconds=url.publish_seconds,
        connect_seconds=url.connect_seconds,
        session_seconds=url.seconds("session_seconds", SESSION_SECONDS),
        commit_seconds=url.seconds("commit_seconds", COMMIT_SECONDS),
        ahead=url.number("ahead", AHEAD),
        max_request_size=url.number("max_request_size", REQUEST_BYTES),
        partitions=url.number("partitions", PARTITIONS),
        replication=url.number("replication", 0) or -1,
        create=url.create,
        compression=None if compression == "none" else compression,
        login=_login(url),
    )


def _login(url: Url) -> dict[str, Any]:
    """Who asks, and how it is kept secret."""
    tls = url.flag("tls", url.scheme == "kafkas")
    if not tls and url.scheme == "kafkas":
        raise url.refused("tls=no: kafkas:// is Kafka over TLS")
    if not tls and any(name in url.options for name in TLS):
        raise url.refused("a file for TLS, and no TLS: kafkas:// or tls=yes is expected")
    login: dict[str, Any] = {"ssl_context": url.tls()} if tls else {}
    mechanism = url.text("mechanism", "PLAIN").upper()
    if mechanism not in MECHANISMS:
        raise url.refused(f"mechanism={mechanism:.40}: one of {', '.join(MECHANISMS)} is expected")
    if url.user is None:
        if "mechanism" in url.options:
            raise url.refused("a mechanism, and nobody who asks: user:password@ before the host is expected")
        login["security_protocol"] = "SSL" if tls else "PLAINTEXT"
        return login
    return login | {
        "security_protocol": "SASL_SSL" if tls else "SASL_PLAINTEXT",
        "sasl_mechanism": mechanism,
        "sasl_plain_username": url.user,
        "sasl_plain_password": url.password or "",
    }
