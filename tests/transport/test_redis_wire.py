"""The wire to a Redis: how commands are written, and how long an answer may take."""

from __future__ import annotations

import asyncio

from redis.asyncio.connection import Connection

from amends.transport.redis_options import read
from amends.transport.redis_wire import Command, Wire, packed

LATER_THAN_A_CLIENT_WAITS_MS = 5500  # by itself it would give up after 5 s, and with it what the server says just then


def test_commands_are_written_as_the_client_itself_would() -> None:
    commands: list[Command] = [
        ("PING",),
        ("XADD", b"a\x00key", "*", "name", "\N{SNOWMAN}", b"data", b"\r\n$3\r\n"),
        ("XACK", "queue", "group", 12, b""),
    ]

    assert b"".join(packed(commands)) == b"".join(Connection().pack_commands(commands))


def test_a_question_that_the_server_keeps_for_longer_than_five_seconds_is_waited_for(redis_url: str) -> None:
    async def main() -> None:
        wire = Wire(read(redis_url))

        answers = await wire.call([("XREAD", "BLOCK", LATER_THAN_A_CLIENT_WAITS_MS, "STREAMS", "silent", "$")], 60.0)

        assert answers == [None]
        assert await wire.one("PING", seconds=10.0) == b"PONG"
        assert wire.times_connected == 1
        await wire.close()

    asyncio.run(main())
