"""One signed request to a webhook, and nothing but that.

The signature is that of Standard Webhooks: HMAC-SHA256 over id, timestamp and body.

Guarantees: the name is resolved once, every address is judged, and the connection goes to the very address that was
judged; no redirect is followed, no proxy of the environment is used, the certificate is verified against the name;
all of it has a deadline, and of the answer only its first line is read.
Must not: try again; `alert.py` does.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from amends.errors import DefinitionError
from amends.operate.alert_target import Target, refusal

SECONDS = 15.0
LINE_MAX = 1024  # bytes of the answer's first line
ADDRESSES_MAX = 4
SECRET_MIN, SECRET_MAX = 24, 64  # bytes
SECRETS_MAX = 4
_PREFIX = "whsec_"
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


class NotDelivered(Exception):
    """The webhook has not said that it has it. The text says why, without the URL."""


class Message(NamedTuple):
    """What is sent. The same id is the same body, however often it is sent."""

    id: str
    body: bytes


def secrets_of(text: str) -> tuple[bytes, ...]:
    """The secrets of a file: one a line, as `whsec_` and base64; more than one while a new one is brought in. Raises
    DefinitionError; what it says holds nothing of them."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not 1 <= len(lines) <= SECRETS_MAX:
        raise DefinitionError(f"the webhook's secret: 1 to {SECRETS_MAX} lines are expected, each `whsec_` and base64")
    return tuple(map(_secret, lines))


def _secret(line: str) -> bytes:
    how = "`whsec_` and the base64 of 24 to 64 random bytes is expected: `openssl rand -base64 32` makes them"
    if not line.startswith(_PREFIX):
        raise DefinitionError(f"the webhook's secret: {how}")
    try:
        secret = base64.b64decode(line.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise DefinitionError(f"the webhook's secret: {how}") from None
    if not SECRET_MIN <= len(secret) <= SECRET_MAX:
        raise DefinitionError(f"the webhook's secret: {how}")
    return secret


def signatures(secrets: Sequence[bytes], message: Message, at: int) -> str:
    """The header `webhook-signature`: one for each secret."""
    signed = f"{message.id}.{at}.".encode() + message.body
    made = (base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode() for secret in secrets)
    return " ".join(f"v1,{signature}" for signature in made)


async def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses of a name, as this machine resolves it."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Webhook:
    """A webhook. tls: verifies the certificate; the usual authorities by default."""

    def __init__(
        self,
        target: Target,
        secrets: Sequence[bytes],
        *,
        allow_private: bool = False,
        tls: ssl.SSLContext | None = None,
        resolve: Resolve = resolve,
        seconds: float = SECONDS,
    ) -> None:
        self._target = target
        self._secrets = tuple(secrets)
        self._allow_private = allow_private
        self._tls = tls
        self._resolve = resolve
        self._seconds = seconds

    def __repr__(self) -> str:
        """Without the path, which may hold a token."""
        return f"Webhook({self._target.authority!r})"

    async def post(self, message: Message, at: float) -> None:
        """Send it once. Raises NotDelivered unless the answer is a 2xx."""
        try:
            async with asyncio.timeout(self._seconds):
                reader, writer = await self._connected()
                try:
                    writer.write(self._request(message, int(at)))
                    await writer.drain()
                    line = await reader.readuntil(b"\n")
                finally:
                    writer.transport.abort()
        except TimeoutError:
            raise NotDelivered(f"no answer within {self._seconds:g} s") from None
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            raise NotDelivered("the answer is not HTTP") from None
        except ssl.SSLCertVerificationError as error:
            raise NotDelivered(f"the certificate is not trusted: {error.verify_message}") from None
        except OSError as error:
            raise NotDelivered(f"the connection failed: {error.strerror or type(error).__name__}") from None
        _check(line)

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to an address that was judged."""
        target = self._target
        tls = (self._tls or ssl.create_default_context()) if target.tls else None
        failed: OSError | None = None
        for address in await self._judged():
            try:
                return await asyncio.open_connection(
                    address, target.port, ssl=tls, server_hostname=target.host if tls else None, limit=LINE_MAX
                )
            except ssl.SSLError:
                raise
            except OSError as error:
                failed = error
        raise failed or OSError("no address")

    async def _judged(self) -> Sequence[str]:
        """The addresses, all of them allowed: where one is not, none is used."""
        target = self._target
        try:
            found = [target.host] if target.literal else await self._resolve(target.host, target.port)
        except OSError as error:
            raise NotDelivered(f"the name is not known: {error.strerror or type(error).__name__}") from None
        for address in found:
            if why := refusal(address, allow_private=self._allow_private):
                raise NotDelivered(f"it comes to {address}, which is refused: {why}")
        return found[:ADDRESSES_MAX]

    def _request(self, message: Message, at: int) -> bytes:
        target = self._target
        lines = (
            f"POST {target.path} HTTP/1.1",
            f"Host: {target.authority}",
            "User-Agent: amends-alert",
            "Content-Type: application/json",
            f"Content-Length: {len(message.body)}",
            f"Webhook-Id: {message.id}",
            f"Webhook-Timestamp: {at}",
            f"Webhook-Signature: {signatures(self._secrets, message, at)}",
            "Connection: close",
        )
        return "\r\n".join((*lines, "", "")).encode("ascii") + message.body


def _check(line: bytes) -> None:
    """Raises NotDelivered unless the first line of an answer says 2xx."""
    version, _, rest = line.partition(b" ")
    code = rest[:3]
    if not version.startswith(b"HTTP/1.") or not code.isdigit():
        raise NotDelivered("the answer is not HTTP")
    if code.startswith(b"3"):
        raise NotDelivered(f"it answered {code.decode()}, a redirect, and none is followed: give the final URL")
    if not code.startswith(b"2"):
        raise NotDelivered(f"it answered {code.decode()}")
