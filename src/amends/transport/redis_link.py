"""The connections of a transport to its Redis: one to publish over, one for acks and claims; listeners have their own.

Guarantees: while nothing can be published `away` says why, and the connection is tried again with growing pauses.
Must not: know what is published.
"""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import suppress

from redis.exceptions import ResponseError

from amends.errors import TransportAway, TransportError, TransportRefused
from amends.transport.lasting import lasting
from amends.transport.redis_groups import Groups
from amends.transport.redis_options import Options
from amends.transport.redis_wire import Wire

PAUSE_FIRST_SECONDS, PAUSE_LAST_SECONDS = 0.05, 2.0
PING_SECONDS = 5.0
OLDEST = (6, 2)  # since then claims of the idle are one command
_log = logging.getLogger("amends.redis")


class Link:
    """One per transport."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.away: str = "it is not open"
        self.publishing: Wire = Wire(options)
        self.tending: Wire = Wire(options)
        self.groups: Groups = Groups(options, self.tending)
        self._up = asyncio.Event()
        self._look = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._said = False  # that the server is away

    @property
    def is_open(self) -> bool:
        """Whether it was opened and not closed."""
        return self._keeper is not None

    async def open(self) -> None:
        """Connect; a server that is away is waited for in the background. Raises TransportRefused."""
        self.away = "there is no connection yet"
        try:
            await self._greet()
        except TransportAway as error:
            self.failed(error)
        except TransportRefused:
            await self.publishing.close()
            raise
        self._keeper = asyncio.get_running_loop().create_task(
            lasting(self._keep, f"the connection to {self.options.shown}", _log), name="amends-redis"
        )

    async def close(self) -> None:
        """Disconnect."""
        keeper, self._keeper = self._keeper, None
        await end(keeper)
        self._up.clear()
        self.away = "it is closed"
        await self.publishing.close()
        await self.tending.close()

    async def ready(self, seconds: float | None) -> bool:
        """Wait until there is a connection; whether there is one in time."""
        if self.is_open and not self._up.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._up.wait()
        return self._up.is_set()

    def doubt(self) -> None:
        """Look at once whether the server is there."""
        self._look.set()

    def failed(self, error: TransportError) -> None:
        """Something did not get through."""
        self._up.clear()
        if self.is_open or self.away == "there is no connection yet":
            self.away = str(error)
            _log.log(logging.DEBUG if self._said else logging.WARNING, "the server is away: %s", error)
            self._said = True
        self._look.set()

    async def _keep(self) -> None:
        """See that there is a connection, with growing pauses where there is none."""
        pause = PAUSE_FIRST_SECONDS
        while True:
            self._look.clear()
            try:
                await self._greet() if not self._up.is_set() else await self._ping()
                pause = PAUSE_FIRST_SECONDS
                with suppress(TimeoutError):
                    async with asyncio.timeout(PING_SECONDS):
                        await self._look.wait()
            except TransportError as error:
                self.failed(error)
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  # no secret
                pause = min(pause * 2, PAUSE_LAST_SECONDS)

    async def _ping(self) -> None:
        await self.publishing.call([("PING",)], self.options.publish_seconds)

    async def _greet(self) -> None:
        """Connect, see whether the server is up to it, and say what is not durable there."""
        reply = (await self.publishing.call([("INFO", "server")], self.options.connect_seconds))[0]
        if isinstance(reply, bytes):
            _check_version(self.options, reply.decode(errors="replace"))
        elif isinstance(reply, ResponseError) and str(reply).startswith(("LOADING", "NOAUTH")):
            raise self.options.url.refused(str(reply)) if "NOAUTH" in str(reply) else TransportAway(str(reply))
        await self._warn()
        if self._said:
            _log.info("%s is there again", self.options.shown)
        self._said = False
        self.away = ""
        self._up.set()

    async def _warn(self) -> None:
        """Where CONFIG is forbidden nothing is said."""
        names = ("appendonly", "maxmemory", "maxmemory-policy")
        replies = await self.publishing.call([("CONFIG", "GET", name) for name in names], self.options.connect_seconds)
        only, most, policy = (reply[1].decode() if isinstance(reply, list) and reply else "" for reply in replies)
        if only == "no":
            _log.warning(
                "%s: appendonly is off: what was confirmed is lost when the server ends (docs/reference/transports.md)",
                self.options.shown,
            )
        if most not in ("", "0") and policy.startswith("allkeys-"):
            _log.warning(
                "%s: maxmemory-policy is %s: the server may drop whole streams, with all that is in them",
                self.options.shown,
                policy,
            )


def _check_version(options: Options, info: str) -> None:
    for line in info.splitlines():
        name, _, value = line.partition(":")
        if name == "redis_version":
            numbers = tuple(int(part) for part in value.strip().split(".")[:2] if part.isdigit())
            if numbers < OLDEST:
                raise options.url.refused(f"this is Redis {value.strip()}; 6.2 or later is needed")


async def end(task: asyncio.Task[None] | None) -> None:
    """Cancel a task and wait for its end."""
    while task is not None and not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=1.0)
