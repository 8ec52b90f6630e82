"""A private Redis that keeps what it was told: every write is in the append-only file before it is answered.

    with Redis() as broker:
        client = redis.asyncio.from_url(broker.url)

Guarantees: what `Broker` guarantees; what was answered survives a kill.
Must not: forget by itself: nothing is evicted.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from services.broker import Broker
from services.found import redis_program

_CONFIGURATION = """
bind 127.0.0.1
port {port}
dir {data}
requirepass {password}
appendonly yes
appendfsync always
save ""
maxmemory-policy noeviction
"""
_TLS_CONFIGURATION = """
tls-port {port}
tls-cert-file {certificates.certificate}
tls-key-file {certificates.key}
tls-ca-cert-file {certificates.authority}
tls-auth-clients no
"""


class Redis(Broker):
    """One server."""

    name = "Redis"

    def __init__(self, *, tls: bool = False) -> None:
        """tls: listen with TLS as well."""
        found = self.find()
        super().__init__(tls=tls)
        self._program = self.place.reachable(found)

    @staticmethod
    def find() -> Path:
        """Its program."""
        return redis_program()

    @property
    def url(self) -> str:
        """The way in, to database 0."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    @property
    def tls_url(self) -> str:
        """The way in over TLS."""
        return f"rediss://:{self.password}@127.0.0.1:{self.tls_port}/0"

    def configure(self) -> None:
        """Write what it reads."""
        self.make_data_directory()
        text = _CONFIGURATION.format(port=self.port, data=self.data, password=self.password)
        if self.tls:
            text += _TLS_CONFIGURATION.format(port=self.tls_port, certificates=self.certificates)
        self.place.write("redis.conf", text)

    def command(self) -> Sequence[str]:
        """The command of the process."""
        return [str(self._program), str(self.directory / "redis.conf")]

    def answers(self) -> bool:
        """Whether it lets in and has loaded what it kept."""
        expected = b"+OK\r\n+PONG\r\n"
        return self.exchange(b"AUTH %b\r\nPING\r\n" % self.password.encode(), len(expected)) == expected
