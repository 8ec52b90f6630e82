"""A private NATS server with JetStream, on loopback.

    with Nats() as broker:
        client = await nats.connect(broker.url)

Guarantees: what `Broker` guarantees; streams are kept in files below its directory.
Must not: be part of a cluster.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from services.broker import USER, Broker
from services.found import nats_program

_GREETING = b"INFO {"
_CONFIGURATION = """
listen: "127.0.0.1:{port}"
authorization {{ user: "{user}", password: "{password}" }}
jetstream {{ store_dir: "{data}", max_memory_store: 268435456, max_file_store: 4294967296 }}
"""
_TLS_CONFIGURATION = """
tls {{ cert_file: "{certificates.certificate}", key_file: "{certificates.key}" }}
"""


class Nats(Broker):
    """One server."""

    name = "NATS"

    def __init__(self, *, tls: bool = False) -> None:
        """tls: take nothing but TLS. A server that took both would not make a client use it."""
        found = self.find()
        super().__init__(tls=tls)
        self._program = self.place.reachable(found)

    @staticmethod
    def find() -> Path:
        """Its program."""
        return nats_program()

    @property
    def url(self) -> str:
        """The way in; over TLS if it listens with that."""
        return self.tls_url if self.tls else f"nats://{USER}:{self.password}@127.0.0.1:{self.port}"

    @property
    def tls_url(self) -> str:
        """The way in over TLS."""
        return f"tls://{USER}:{self.password}@127.0.0.1:{self.port}"

    def configure(self) -> None:
        """Write what it reads."""
        self.make_data_directory()
        text = _CONFIGURATION.format(port=self.port, user=USER, password=self.password, data=self.data)
        if self.tls:
            text += _TLS_CONFIGURATION.format(certificates=self.certificates)
        self.place.write("nats.conf", text)

    def command(self) -> Sequence[str]:
        """The command of the process."""
        return [str(self._program), "--config", str(self.directory / "nats.conf")]

    def answers(self) -> bool:
        """Whether it greets."""
        return self.exchange(b"", len(_GREETING)) == _GREETING
