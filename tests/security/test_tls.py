"""X12: over TLS every broker's certificate is checked, and the database's where the URL says so; nothing turns the
check off.

Each scheme is tried against a server whose authority nobody trusts. Real brokers are tried in `tests/transport`.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from amends.errors import StoreUnavailable, TransportError, TransportRefused
from amends.store.postgres import PostgresStore
from amends.transport import open as opening
from amends.transport.open import transport_for
from amends.transport.url import parse

PLAIN = {"local", "kafka", "amqp", "nats", "redis"}
TLS = {"kafkas", "amqps", "tls", "rediss"}
PORTS = dict.fromkeys(TLS, 1)


class Stranger:
    """A server with a certificate of nobody's. heard: what was said to it over TLS. opens: what it says and waits for
    before."""

    def __init__(self, opens: Callable[[asyncio.StreamReader, asyncio.StreamWriter], object]) -> None:
        issued = trustme.CA().issue_cert("localhost", "127.0.0.1")
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        issued.configure_cert(self.context)
        self.heard = b""
        self.port = 0
        self._opens = opens

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            told = self._opens(reader, writer)
            if asyncio.iscoroutine(told):
                await told
            await writer.start_tls(self.context)
            self.heard += await reader.read(1000)
        except (OSError, ssl.SSLError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Listen."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()


def at_once(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
    """TLS from the first byte."""


def as_nats(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """NATS says who it is before."""
    writer.write(b'INFO {"server_id":"x","version":"2.10.0","max_payload":1000,"tls_available":true}\r\n')


async def as_postgres(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """PostgreSQL is asked for TLS, and agrees."""
    assert (await reader.readexactly(8))[4:] == b"\x04\xd2\x16\x2f"
    writer.write(b"S")


def test_every_scheme_is_one_of_these() -> None:
    assert opening._ADAPTERS.keys() == PLAIN | TLS


@pytest.mark.parametrize("scheme", sorted(TLS))
def test_a_certificate_that_nobody_vouches_for_is_refused_and_nothing_is_said(scheme: str) -> None:
    stranger = Stranger(as_nats if scheme == "tls" else at_once)

    async def main() -> None:
        async with stranger.open():
            transport = transport_for(f"{scheme}://app:secret@127.0.0.1:{stranger.port}?connect_seconds=5")
            try:
                async with asyncio.timeout(30):
                    with pytest.raises(TransportError, match=r"(?i)certificate"):
                        await transport.open()
            finally:
                await transport.close()

    asyncio.run(main())

    assert stranger.heard == b"", "no password, and nothing else"


@pytest.mark.parametrize("scheme", sorted(TLS))
def test_the_check_is_on_and_no_option_turns_it_off(scheme: str) -> None:
    context = parse(f"{scheme}://h", PORTS).tls()

    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    for option in ("verify=no", "verify=false", "insecure=yes", "ssl_check_hostname=no", "tls=no", "cert_reqs=none"):
        with pytest.raises(TransportRefused):
            transport_for(f"{scheme}://h?{option}")


@pytest.mark.parametrize("mode", ["verify-full", "verify-ca"])
def test_postgresql_checks_the_certificate_where_the_url_says_so(mode: str, tmp_path: Path) -> None:
    authority = tmp_path / "authority.pem"
    trustme.CA().cert_pem.write_to_path(str(authority))
    stranger = Stranger(as_postgres)

    async def main() -> None:
        async with stranger.open():
            url = f"postgresql://app:secret@127.0.0.1:{stranger.port}/orders?sslmode={mode}&sslrootcert={authority}"
            store = PostgresStore(url, "default")
            with pytest.raises(StoreUnavailable, match=r"(?i)certificate") as refused:
                await store.open(work=False)
            await store.close()
            assert "secret" not in str(refused.value)

    asyncio.run(main())

    assert stranger.heard == b""


def test_without_a_word_about_it_postgresql_is_spoken_to_as_psql_does() -> None:
    """TLS where the server offers it, whoever that is: `docs/operating/security.md` says so, and what to write."""
    stranger = Stranger(as_postgres)

    async def main() -> None:
        async with stranger.open():
            store = PostgresStore(f"postgresql://app:secret@127.0.0.1:{stranger.port}/orders", "default")
            with pytest.raises(StoreUnavailable):
                await store.open(work=False)
            await store.close()

    asyncio.run(main())

    assert b"app" in stranger.heard
    assert b"secret" not in stranger.heard, "before it is asked for"
