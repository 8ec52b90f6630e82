"""One connection to a Redis: commands go out together, and their replies come back together.

Guarantees: after anything went wrong in between, the connection is closed and the next call makes a new one, so that no
reply is ever taken for another's.
Must not: send a command twice.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from redis.asyncio.connection import Connection
from redis.exceptions import AuthenticationError, RedisError, ResponseError

from amends.errors import TransportAway, TransportRefused
from amends.transport.redis_options import Options

Command = tuple[bytes | str | int, ...]
Reply = Any  # bytes, int, None, a list of those, or the ResponseError that the server gave instead

CHUNK_BYTES = 4 * 1024 * 1024  # of commands on their way at once
_LATER = ("LOADING", "BUSY ", "OOM ", "MISCONF", "READONLY", "MASTERDOWN", "NOREPLICAS", "CLUSTERDOWN", "TRYAGAIN")


class NotSent(TransportAway):
    """There is no connection: nothing was sent."""


class Wire:
    """One connection, made when it is needed."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.times_connected: int = 0
        self._connection: Connection | None = None
        self._lock = asyncio.Lock()

    async def call(self, commands: Sequence[Command], seconds: float) -> list[Reply]:
        """The replies to commands. Raises NotSent, TransportAway where nobody knows what became of them, and
        TransportRefused where the server does not let us in."""
        replies: list[Reply] = []
        try:
            async with asyncio.timeout(seconds), self._lock:
                connection = await self._connected()
                try:
                    for chunk in _chunks(commands):
                        await connection.send_packed_command(packed(chunk))
                        for _ in chunk:
                            replies.append(await _reply(connection))
                except BaseException:
                    self._drop()
                    raise
        except TimeoutError:
            raise TransportAway(f"{self.options.shown}: no answer within {seconds:g} s") from None
        except (
            OSError,
            EOFError,
            RedisError,
            RuntimeError,
        ) as error:  # uvloop has its own
            raise TransportAway(f"{self.options.shown}: {error}") from error
        return replies

    async def one(self, *command: bytes | str | int, seconds: float) -> Reply:
        """The reply to one command; an error of the server is raised as ours."""
        reply = (await self.call([command], seconds))[0]
        if isinstance(reply, ResponseError):
            raise told(self.options, reply, str(command[0]))
        return reply

    async def close(self) -> None:
        """Disconnect."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(OSError, RedisError, TimeoutError):
                async with asyncio.timeout(2.0):
                    await connection.disconnect()

    def _drop(self) -> None:
        """What comes over this connection could be the answer to anything."""
        connection, self._connection = self._connection, None
        if connection is not None:
            writer = connection._writer
            if writer is not None:
                writer.transport.abort()
            connection._reader = connection._writer = None

    async def _connected(self) -> Connection:
        if self._connection is not None:
            return self._connection
        connection = self.options.connection()
        try:
            await connection.connect()  # type: ignore[no-untyped-call]
        except (OSError, EOFError, RedisError) as error:
            why = _hopeless(error)
            if why:
                raise self.options.url.refused(why) from error
            raise NotSent(f"{self.options.shown}: {error or type(error).__name__}") from error
        self._connection = connection
        self.times_connected += 1
        return connection


def packed(commands: Sequence[Command]) -> list[bytes]:
    """Commands as they go over the wire: an array of strings each. The client itself takes three times as long."""
    parts: list[bytes] = []
    for command in commands:
        parts.append(b"*%d\r\n" % len(command))
        for word in command:
            raw = word if isinstance(word, bytes) else str(word).encode()
            parts.append(b"$%d\r\n%b\r\n" % (len(raw), raw))
    return [b"".join(parts)]


async def _reply(connection: Connection) -> Reply:
    try:
        return await connection.read_response(disable_decoding=True)
    except ResponseError as error:
        return error


def _chunks(commands: Sequence[Command]) -> list[Sequence[Command]]:
    """Commands, cut where too much would be on its way at once."""
    chunks: list[Sequence[Command]] = []
    first, size = 0, 0
    for index, command in enumerate(commands):
        longest = command[-1]
        size += len(longest) if isinstance(longest, bytes) else 0
        if size > CHUNK_BYTES:
            chunks.append(commands[first : index + 1])
            first, size = index + 1, 0
    if first < len(commands):
        chunks.append(commands[first:])
    return chunks


def waits(error: ResponseError) -> bool:
    """Whether waiting may mend what the server complains of."""
    return str(error).startswith(_LATER)


def told(options: Options, error: ResponseError, what: str) -> TransportAway | TransportRefused:
    """The server's error as ours."""
    text = f"{what}: {error}"
    if waits(error):
        return TransportAway(f"{options.shown}: {text}")
    return options.url.refused(text)


def _hopeless(error: BaseException) -> str:
    """Why trying again does not help; empty if it may."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return f"TLS: {cause}"
        cause = cause.__cause__ or cause.__context__
    text = str(error)
    if isinstance(error, AuthenticationError) or text.startswith(("WRONGPASS", "NOAUTH")) or "AUTH" in text:
        return "the server refuses this user and password"
    if isinstance(error, ResponseError) and not waits(error):
        return text
    return ""
