"""Hints between the processes on one PostgreSQL database: LISTEN and NOTIFY, coalesced.

A client wakes the workers after a start or a mail; a worker wakes the clients that watch a saga. A
NOTIFY in every transaction would cost half of the server's commits, since they take turns for it; so
all that is to be said while one is on its way goes out with the next, and what stays in the process
is not said at all.

Guarantees: hinting never blocks and never raises.
Must not: carry anything that matters.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from amends.errors import StoreError
from amends.store.postgres_errors import FAILED
from amends.store.postgres_line import SQL, Connection, connect
from amends.store.postgres_place import Place

PAYLOAD_BYTES = 7900  # the server takes 8000
KEY_BYTES_MAX = 1200  # no id of a saga is longer: 200 characters; JSON makes up to six bytes of one
UNSAID_MAX = 1000  # payloads; beyond it the oldest are forgotten
WATCHED_MAX = 100_000  # beyond it the oldest make room: who is forgotten has its poll
RECONNECT_FIRST_SECONDS = 0.1
RECONNECT_LAST_SECONDS = 5.0
_log = logging.getLogger("amends.hints")


class _Word(msgspec.Struct, omit_defaults=True):
    work: bool = False
    watch: list[str] = []
    told: list[str] = []


class PostgresHints:
    """One process's end. `work`: it is a worker's."""

    def __init__(self, place: Place, channel: str, *, work: bool) -> None:
        self._place = place
        self._channel = channel
        self._work = work
        self._callback: Callable[[str], None] | None = None
        self._connection: Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self._something = asyncio.Event()
        self._lost = asyncio.Event()
        self._to_wake = False
        self._to_watch: dict[str, None] = {}
        self._to_tell: dict[str, None] = {}
        self._unsaid: list[str] = []  # payloads on their way: where the line is lost they go over the next
        self._watched: dict[str, None] = {}

    def open(self, callback: Callable[[str], None]) -> None:
        """Listen and speak on the running loop. Where there is no direct way, polls must do."""
        self._callback = callback
        if self._place.direct is not None and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="amends-hints")

    async def close(self) -> None:
        """Stop. May be called twice."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def announce(self, keys: Sequence[str], *, work: bool) -> None:
        """Tell who watches these sagas, here and elsewhere; and wake the workers."""
        for key in keys:
            self._tell(key)
            if self._watched.pop(key, self) is None:
                self._say(self._to_tell, key)
        if work:
            if self._work:
                self._tell("work")
            self._to_wake = True
            self._something.set()

    def watch(self, key: str) -> None:
        """Ask the workers for a hint when this saga comes to rest."""
        if not self._work:
            self._say(self._to_watch, key)

    def _say(self, where: dict[str, None], key: str) -> None:
        if self._task is not None and len(where) < WATCHED_MAX and _may_be_said(key):
            where[key] = None
            self._something.set()

    async def _run(self) -> None:
        """Speak and listen, on a connection that is made again whenever it is lost."""
        delay = RECONNECT_FIRST_SECONDS
        while True:
            try:
                await self._connect()
                self._tell("work")  # what was said meanwhile was not heard
                delay = RECONNECT_FIRST_SECONDS
                await self._speak()
            except (*FAILED, StoreError) as error:
                _log.debug("hints are lost for now, polls must do: %s", error)
            except asyncio.CancelledError:
                self._drop()
                raise
            self._drop()
            await asyncio.sleep(delay)
            delay = min(delay * 2, RECONNECT_LAST_SECONDS)

    async def _connect(self) -> None:
        direct = Place(self._place.direct or self._place.dsn, pooled=False, direct=None)
        connection = await connect(direct.options(name="amends hints", settings={}), pooled=False)
        self._connection = connection
        self._lost.clear()
        if self._unsaid:
            self._something.set()
        connection.add_termination_listener(self._ended)
        await connection.add_listener(self._channel, self._hear)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    def _ended(self, _: Any) -> None:
        self._lost.set()
        self._something.set()

    async def _speak(self) -> None:
        while self._connection is not None:
            await self._something.wait()
            if self._lost.is_set():
                return
            self._something.clear()
            self._unsaid += self._payloads()
            del self._unsaid[:-UNSAID_MAX]
            while self._unsaid:
                await self._connection.execute(SQL["notify"], self._channel, self._unsaid[0])
                self._unsaid.pop(0)

    def _payloads(self) -> Iterable[str]:
        """What is to be said, in as few words as fit."""
        work, self._to_wake = self._to_wake, False
        watch, self._to_watch = list(self._to_watch), {}
        told, self._to_tell = list(self._to_tell), {}
        yield from _words(work=work, watch=watch, told=told)

    def _hear(self, connection: Any, process: int, channel: str, payload: object) -> None:
        own = self._connection
        if own is not None and process == own.get_server_pid():
            return
        try:
            word = msgspec.json.decode(str(payload), type=_Word)
        except msgspec.DecodeError:
            return  # somebody else's
        if self._work:
            for key in word.watch:
                self._watched[key] = None
                while len(self._watched) > WATCHED_MAX:
                    del self._watched[next(iter(self._watched))]
                self._tell(f"watched\n{key}")
            if word.work:
                self._tell("work")
        for key in word.told:
            self._tell(key)

    def _tell(self, topic: str) -> None:
        if self._callback is not None:
            self._callback(topic)


def _may_be_said(key: str) -> bool:
    """Whether it fits into a word. Who waits for a saga may have its id from anywhere."""
    try:
        return len(key.encode()) <= KEY_BYTES_MAX
    except UnicodeEncodeError:
        return False


def _words(*, work: bool, watch: list[str], told: list[str]) -> Iterable[str]:
    """The payloads of a word, split until each fits."""
    if not (work or watch or told):
        return
    payload = msgspec.json.encode(_Word(work, watch, told))
    if len(payload) <= PAYLOAD_BYTES:
        yield payload.decode()
        return
    yield from _words(work=work, watch=watch[: len(watch) // 2], told=told[: len(told) // 2])
    yield from _words(work=False, watch=watch[len(watch) // 2 :], told=told[len(told) // 2 :])
