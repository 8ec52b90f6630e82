"""nats-py's client, with three things that it lacks for us: TLS that the URL asked for and a server does not insist on,
commands put on the wire in one go, and messages handed over as they are read, without a queue and a task in between.

Guarantees: over `tls://` no password and no message is sent in the clear; messages of one connection are handed over in
the order in which the server sent them.
Must not: reconnect: a connection that broke is over, and `nats_link.py` makes another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error

Headers = dict[str, str]
Came = Callable[[str, str, bytes, Headers], None]
"""Called with subject, reply subject, body and headers."""

_DRAIN_SECONDS = 2.0  # a server that does not answer for so long has sent nothing either
FLUSH_BYTES = 4 * 1024 * 1024  # more that is not on the wire yet is waited for


class NoTls(Error):
    """The server speaks no TLS."""

    def __str__(self) -> str:
        return "the server speaks no TLS, and tls:// asks for it"


class NatsClient(Client):
    """One connection."""

    def __init__(self, *, insist_on_tls: bool) -> None:
        super().__init__()
        self._insist_on_tls = insist_on_tls
        self._direct: dict[int, Came] = {}
        self.told: int = 0  # commands that were put on the wire

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        """A server that can do TLS is asked for it before anything is said to it."""
        if self._insist_on_tls and initial_connection:
            if not (info.get("tls_required") or info.get("tls_available")):
                raise NoTls
            info["tls_required"] = True
        await super()._process_info(info, initial_connection)

    async def _flush_pending(self, force_flush: bool = False) -> Any:
        """A connection that broke says so in one way. Raises OSError."""
        try:
            return await super()._flush_pending(force_flush)
        except RuntimeError as error:  # uvloop's word for it
            raise ConnectionResetError(str(error)) from error

    async def _close(self, status: int, do_cbs: bool = True) -> None:
        """What is left to say over a connection that broke is said to nobody; the client would try, and end there."""
        writer: Any = getattr(self._transport, "_io_writer", None)
        if writer is not None and writer.is_closing():
            self._pending = []
            self._pending_data_size = 0
        await super()._close(status, do_cbs)

    def _build_message(  # pyright: ignore[reportIncompatibleMethodOverride]  # the client asks whether there is one
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: Headers | None
    ) -> Msg | None:
        """What belongs to a listener of ours is handed over at once; None then ends the matter for the client."""
        came = self._direct.get(sid)
        if came is None:
            message: Msg | None = super()._build_message(sid, subject, reply, data, headers)
            return message
        came(subject.decode(), reply.decode(), data, headers or {})
        return None

    async def hear(self, subject: str, came: Came) -> int:
        """Have what comes to a subject handed over; gives the number to stop it with."""

        async def queued(message: Msg) -> None:  # where a later version of the client builds its messages elsewhere
            came(message.subject, message.reply, message.data, message.headers or {})

        subscription = await self.subscribe(subject, cb=queued, pending_msgs_limit=0, pending_bytes_limit=0)
        self._direct[subscription._id] = came
        return subscription._id

    async def hear_no_more(self, sid: int) -> None:
        """Stop it; what the server had sent by then is still handed over."""
        subscription = self._subs.get(sid)
        with suppress(OSError, Error, TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                if subscription is not None:
                    await subscription.drain()  # type: ignore[no-untyped-call]
        self._direct.pop(sid, None)

    def put(self, commands: Iterable[bytes]) -> None:
        """Put commands on the wire, in order. What is put while the connection breaks is lost."""
        if self.is_closed:
            return
        for command in commands:
            self._pending.append(command)
            self._pending_data_size += len(command)
            self.told += 1
        queue = self._flush_queue
        if queue is not None and queue.empty():
            queue.put_nowait(asyncio.get_running_loop().create_future())

    async def flushed(self) -> None:
        """Wait until not too much is left to be put on the wire."""
        if self._pending_data_size > FLUSH_BYTES:
            await self._flush_pending(force_flush=True)


def pub(subject: str, reply: str = "", data: bytes = b"") -> bytes:
    """The command that publishes a message without headers."""
    return b"PUB %b %b %d\r\n%b\r\n" % (subject.encode(), reply.encode(), len(data), data)


def hpub(subject: str, reply: str, headers: bytes, data: bytes) -> bytes:
    """The command that publishes a message with headers, as `header_block` makes them."""
    line = f"HPUB {subject} {reply} {len(headers)} {len(headers) + len(data)}\r\n".encode()
    return b"%b%b%b\r\n" % (line, headers, data)


def header_block(headers: Headers) -> bytes:
    """Headers as they travel. Names and values are printable ASCII: whoever calls has seen to it."""
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    return f"NATS/1.0\r\n{lines}\r\n".encode()
