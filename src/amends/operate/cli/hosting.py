"""What a worker hosts, side by side on one loop: orchestrators, which run sagas, participants, which do commands, and
watchers, which are told of choreographed sagas.

Without a broker they meet in the transport within the process, so that a system may begin as one process and be
split later by changing commands, not code.

Guarantees: where one part cannot be opened, those that are open are closed; participants leave before orchestrators,
which are still there for their last replies; the process looks alive only while every part does.
Must not: know the command line.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

from amends.errors import SchemaMismatch
from amends.operate.cli.probes import Probes
from amends.operate.database import url_of
from amends.operate.reach import Asker, hub_of
from amends.operate.services import with_app
from amends.run.database import masked
from amends.run.participant import Participant
from amends.run.session import Config, Session
from amends.run.watcher import Watcher
from amends.transport.open import Broker

LOOK_SECONDS = 1.0  # between two looks at how a participant fares
WARNED_LOOKS = 3
_log = logging.getLogger("amends.worker")
Told = Callable[[str], None]


class Hosted(Protocol):
    """One part of a worker. name: in logs and in readiness. failed: done when it cannot go on; None for one that
    always can."""

    name: str
    failed: asyncio.Future[None] | None

    async def open(self, told: Told) -> None:
        """Begin to work. told: called after each look at how it fares, with what keeps it from working, if anything."""
        ...

    async def close(self) -> None:
        """Finish what is in flight, and let go of the rest."""
        ...


class Sagas:
    """An orchestrator at work."""

    def __init__(self, name: str, config: Config) -> None:
        self.name = name
        self.config = config
        self.failed: asyncio.Future[None] | None = None
        self._session = Session(config)
        self._number = 0

    async def open(self, told: Told) -> None:
        await self._session.open(work=True)
        running = self._session.worker
        if running is None:
            raise RuntimeError("a session that works has a worker")
        config = self._session.config
        names, where = ", ".join(config.registry.names), url_of(config.database)
        way = f", and asks services {way_of(config.broker)}" if Asker("", config).asked else ""
        self._number = running.worker
        _log.info("worker %d (process %d) runs %s on %s%s", self._number, os.getpid(), names, where, way)
        self.failed = running.failed
        running.looked = lambda well: told(running.away if well else "the database is away")
        running.ownership.wake()

    async def close(self) -> None:
        running = self._session.worker
        self._number = self._number if running is None else running.worker
        await self._session.close()
        _log.info("worker %d has stopped", self._number)


class Service:
    """A participant at work."""

    def __init__(self, name: str, participant: Participant) -> None:
        self.name = name
        self.failed: asyncio.Future[None] | None = None
        self.participant = participant
        self._watching: asyncio.Task[None] | None = None

    async def open(self, told: Told) -> None:
        try:
            await self.participant.__aenter__()
        except SchemaMismatch as error:
            raise with_app(error, self.name) from error
        service = self.participant.service.name
        way = way_of(self.participant.broker)
        _log.info("the participant of %s (process %d) takes its commands %s", service, os.getpid(), way)
        self._watching = asyncio.get_running_loop().create_task(_look(self.participant, told), name="amends-looks")

    async def close(self) -> None:
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.cancel()
            await asyncio.wait([watching])
        await self.participant.__aexit__(None, None, None)
        _log.info("the participant of %s has stopped", self.participant.service.name)


class Watching:
    """A watcher at work."""

    def __init__(self, name: str, watcher: Watcher) -> None:
        self.name = name
        self.failed: asyncio.Future[None] | None = None
        self._watcher = watcher
        self._looking: asyncio.Task[None] | None = None

    async def open(self, told: Told) -> None:
        watcher = self._watcher
        await watcher.__aenter__()
        homes, where = ", ".join(watcher.homes), url_of(watcher.config.database)
        way = way_of(watcher.broker)
        _log.info("the watcher of %s (process %d) hears %s, and writes to %s", homes, os.getpid(), way, where)
        self._looking = asyncio.get_running_loop().create_task(_look(watcher, told), name="amends-looks")

    async def close(self) -> None:
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.cancel()
            await asyncio.wait([looking])
        await self._watcher.__aexit__(None, None, None)
        _log.info("the watcher of %s has stopped", ", ".join(self._watcher.homes))


async def _look(part: Participant | Watcher, told: Told) -> None:
    while True:
        told(part.trouble)
        await asyncio.sleep(LOOK_SECONDS)


def way_of(broker: Broker) -> str:
    """Over what a part is reached, for people."""
    if hub_of(broker) is not None:
        return "within this process, without a broker"
    return f"over {masked(broker) if isinstance(broker, str) else type(broker).__name__}"


class Readiness:
    """What several parts say of themselves, as one process says it; and in the log, where one goes without what it
    needs for `WARNED_LOOKS` looks, and when it has it again."""

    def __init__(self, probes: Probes, names: Sequence[str]) -> None:
        self._probes = probes
        self._names = frozenset(names)
        self._heard: dict[str, str] = {}
        self._troubled: Counter[str] = Counter()

    def of(self, name: str) -> Told:
        """What a part is to tell. It counts as one sign of life once all have told."""
        return lambda trouble: self._told(name, trouble)

    def _told(self, name: str, trouble: str) -> None:
        self._say(name, trouble)
        self._heard[name] = trouble
        if self._heard.keys() < self._names:
            return
        several = len(self._names) > 1
        wrong = [f"{part}: {why}" if several else why for part, why in sorted(self._heard.items()) if why]
        self._heard.clear()
        self._probes.looked(not wrong, "; ".join(wrong))

    def _say(self, name: str, trouble: str) -> None:
        if trouble:
            self._troubled[name] += 1
            if self._troubled[name] == WARNED_LOOKS:
                _log.warning("%s is not ready: %s", name, trouble)
        elif self._troubled.pop(name, 0) >= WARNED_LOOKS:
            _log.info("%s is ready", name)


class Hosting:
    """Parts that work together. first: those that leave first. hearing: those that are told by the others, and so
    come first and leave last."""

    def __init__(
        self, first: Sequence[Hosted], then: Sequence[Hosted], probes: Probes, hearing: Sequence[Hosted] = ()
    ) -> None:
        self._groups = (tuple(first), tuple(then), tuple(hearing))
        self._readiness = Readiness(probes, [part.name for part in (*first, *then, *hearing)])
        self._open: list[Hosted] = []

    async def open(self) -> None:
        """Open every part, those who are asked before those who ask: what one tells at once, all others hear. Raises
        what one raises, after the others are closed."""
        first, then, hearing = self._groups
        try:
            for part in (*hearing, *first, *then):
                await part.open(self._readiness.of(part.name))
                self._open.append(part)
        except BaseException:
            await self.close()
            raise

    @property
    def failed(self) -> list[asyncio.Future[None]]:
        """What is done when a part cannot go on."""
        return [part.failed for part in self._open if part.failed is not None]

    async def close(self) -> None:
        """Close every part that is open, whatever becomes of the others. Raises the first error, at the end."""
        errors: list[BaseException] = []
        for group in self._groups:
            leaving = [part.close() for part in group if part in self._open]
            ended = await asyncio.gather(*leaving, return_exceptions=True)
            errors += [end for end in ended if isinstance(end, BaseException)]
        self._open.clear()
        if errors:
            raise errors[0]
