"""Live events: which sagas have moved, told to pages that then ask for what they show.

    GET live?saga=ID&saga=ID&about=overview&bulk=ID     text/event-stream
    event: changed
    data: {"kind": "saga", "id": "order-42", "version": 9}      also of the kind bulk; of the kind overview: a list,
                                                                the counts or the stuck ones may have changed

Guarantees: one look at the store every `LOOK_SECONDS` serves all listeners, and none is looked for where nobody
listens; a listener that does not read is not waited for; every stream ends when the application does, and after
`STREAM_SECONDS` anyway, since a browser comes again by itself.
Must not: carry anything but ids and versions.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterable
from typing import NamedTuple

from amends.errors import AmendsError, UnknownSaga
from amends.operate.web.desks import Desk
from amends.operate.web.problems import Busy

LOOK_SECONDS = 1.0
BEAT_SECONDS = 15.0
STREAM_SECONDS = 20.0  # whoever serves it may wait for streams before it ends
FORGETS_SECONDS = 10.0  # after that long a page looks again at what no look can tell
TOPICS_MAX = 50
TOPICS_OF_ALL_MAX = 500
QUEUE_MAX = 200
AGAIN_MILLISECONDS = 1000
_log = logging.getLogger("amends.web")


class Topic(NamedTuple):
    """What a listener wants to hear of. kind: saga, bulk or overview. place: the name of the desk; None for the
    first."""

    kind: str
    id: str = ""
    place: str | None = None


Look = Callable[[Desk, Topic], Awaitable[Hashable]]
FindDesk = Callable[["str | None"], Awaitable[Desk]]


class Live:
    """All listeners of one application. find: gives the desk of a place. most: how many may listen at once."""

    def __init__(self, find: FindDesk, look: Look, most: int) -> None:
        self._find = find
        self._look = look
        self._most = most
        self._listeners: dict[asyncio.Queue[str | None], frozenset[Topic]] = {}
        self._seen: dict[Topic, Hashable] = {}
        self._looking: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def count(self) -> int:
        """How many listen."""
        return len(self._listeners)

    async def stream(self, topics: Iterable[Topic]) -> AsyncIterator[str]:
        """The events of some topics, as text/event-stream has them. Raises Busy before the first."""
        wanted = frozenset(topics)
        queue: asyncio.Queue[str | None] = asyncio.Queue(QUEUE_MAX)
        self._admit(wanted)
        self._listeners[queue] = wanted
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(self._work(), name="amends-live")
        try:
            yield f"retry: {AGAIN_MILLISECONDS}\n\n"
            async for text in self._heard(queue):
                yield text
        finally:
            self._listeners.pop(queue, None)

    def check(self, topics: Iterable[Topic]) -> None:
        """Raises Busy where these could not be listened to now."""
        self._admit(frozenset(topics))

    def close(self) -> None:
        """End every stream, now."""
        self._closed = True
        self._end_all()

    async def end(self) -> None:
        """End every stream, and look at nothing more."""
        self.close()
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)

    def open(self) -> None:
        """Take listeners again, after a close."""
        self._closed = False

    def _admit(self, wanted: frozenset[Topic]) -> None:
        watched = set(wanted).union(*self._listeners.values())
        if self._closed or len(self._listeners) >= self._most or len(watched) > TOPICS_OF_ALL_MAX:
            raise Busy(f"{len(self._listeners)} pages listen already; this one has to be loaded anew", Retry_After="5")

    async def _heard(self, queue: asyncio.Queue[str | None]) -> AsyncIterator[str]:
        loop = asyncio.get_running_loop()
        end = loop.time() + STREAM_SECONDS
        while (left := end - loop.time()) > 0:
            try:
                async with asyncio.timeout(min(left, BEAT_SECONDS)):
                    text = await queue.get()
            except TimeoutError:
                yield ": beat\n\n"
                continue
            if text is None:
                return
            yield text

    async def _work(self) -> None:
        """Look for everybody, as long as there is anybody."""
        loop = asyncio.get_running_loop()
        forgets = loop.time() + FORGETS_SECONDS
        try:
            while self._listeners:
                if loop.time() >= forgets:
                    self._tell_all("overview")
                    forgets = loop.time() + FORGETS_SECONDS
                wanted = set[Topic]().union(*self._listeners.values())
                self._seen = {topic: seen for topic, seen in self._seen.items() if topic in wanted}
                for topic in wanted:
                    await self._look_at(topic)
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            self._end_all()  # also where a look failed in a way that nobody foresaw: browsers come again

    async def _look_at(self, topic: Topic) -> None:
        try:
            found = await self._look(await self._find(topic.place), topic)
        except UnknownSaga:
            found = None
        except AmendsError as error:
            _log.warning("live events: %s", error)
            return
        before = self._seen.get(topic, _NEVER)
        self._seen[topic] = found
        if before is _NEVER or before == found:
            return
        for queue, topics in list(self._listeners.items()):
            if topic in topics:
                _put(queue, _event(topic, found))

    def _tell_all(self, kind: str) -> None:
        for queue, topics in list(self._listeners.items()):
            if any(topic.kind == kind for topic in topics):
                _put(queue, _event(Topic(kind), None))

    def _end_all(self) -> None:
        for queue in list(self._listeners):
            while not queue.empty():
                queue.get_nowait()
            queue.put_nowait(None)


_NEVER = object()


def _put(queue: asyncio.Queue[str | None], text: str) -> None:
    """One that does not read loses events, and loses them only until it asks anew."""
    if not queue.full():
        queue.put_nowait(text)


def _event(topic: Topic, version: Hashable) -> str:
    data: dict[str, Hashable] = {"kind": topic.kind}
    if topic.kind != "overview":
        data |= {"id": topic.id, "version": version}
    return f"event: changed\ndata: {json.dumps(data)}\n\n"
