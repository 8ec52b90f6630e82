"""A process that listens and acks nothing, to be killed.

Guarantees: it is gone when the `with` ends.
Must not: survive whoever started it: it ends when its input does.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from amends.testing.transport_suite.rig import WAIT_SECONDS, Rig
from amends.transport.base import Delivery, Destination
from amends.transport.open import transport_for


class Child:
    """A listener to a rig's queue, in a process of its own."""

    def __init__(self, rig: Rig) -> None:
        url = rig.broker.url_with({"prefix": rig.prefix, **rig.broker.claim})
        command = [sys.executable, "-m", __name__, rig.queue.name]
        self._process = subprocess.Popen(
            command, env={**os.environ, "AMENDS_BROKER": url}, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    async def has(self, number: int) -> None:
        """Wait until so many were delivered to it."""
        out = self._process.stdout
        assert out is not None
        async with asyncio.timeout(WAIT_SECONDS):
            for _ in range(number):
                line = await asyncio.to_thread(out.readline)
                assert line == b"delivered\n", "the process that listens has ended"

    def kill(self) -> None:
        """kill -9."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()


def _receive(deliveries: Sequence[Delivery]) -> None:
    for _ in deliveries:
        sys.stdout.write("delivered\n")
    sys.stdout.flush()


async def _listen() -> None:
    transport = transport_for(os.environ["AMENDS_BROKER"])
    await transport.open()
    await transport.listen(Destination(sys.argv[1]), "child", _receive, in_flight=10)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_listen())
