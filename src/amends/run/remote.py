"""Remote: a worker's end of the line to the services that do steps.

Guarantees: a command leaves only after the decision that issued it is on disk, and goes out until the broker
has it; asked to stop, replies are taken no more and what is decided still goes out.
Must not: decide, or wait for anybody on a saga's way.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from amends.decide.events import Phase
from amends.decide.messages import Failure
from amends.decide.state import Action
from amends.decide.wire import SAGAS_PER_NOTICE, Command, Ended, command_message, ended_message
from amends.errors import AmendsError, TransportRefused
from amends.message import Message
from amends.run.replies import Counts, Replies
from amends.run.saying import Said
from amends.run.sender import Sender
from amends.run.tokens import Tokens
from amends.store.base import Store, TokenKey
from amends.transport.base import Destination, Listening, Transport
from amends.transport.names import commands_of, replies_of

if TYPE_CHECKING:
    from amends.run.live import Live
    from amends.run.worker import Worker

SECRET_BYTES = 32
NOTICE_SECONDS = 1.0  # ended sagas are told of together
TELL_SECONDS = 30.0
STOP_SECONDS = 5.0
ARRANGE_SECONDS = 1.0  # between two tries to have the queues made
_log = logging.getLogger("amends.remote")


class Services(NamedTuple):
    """The services that do steps, and the way to them. reply_name: of the queue of replies; None for the one
    that the store keeps."""

    names: tuple[str, ...]
    transport: Transport
    reply_name: str | None = None


class Remote:
    """One per worker. Where no saga has a remote step, it does nothing."""

    def __init__(self, worker: Worker, services: Services | None) -> None:
        self._worker = worker
        self._services = services
        self._name = ""
        self._sender: Sender | None = None if services is None else Sender(services.transport)
        self._replies: Replies | None = None
        self._listening: Listening | None = None
        self._arranging: asyncio.Task[None] | None = None
        self._ended: dict[str, list[bytes]] = {}
        self._notice: asyncio.TimerHandle | None = None

    async def open(self) -> None:
        """Connect, and listen for replies once the broker is there. Raises StoreError, and TransportError where
        waiting does not mend it."""
        if self._services is None:
            return
        keys = await token_keys(self._worker.store, self._worker.namespace)
        self._name = self._services.reply_name or keys[0].name
        self._replies = Replies(self._worker, Tokens(keys))
        await self._services.transport.open()
        arranging = self._arrange(self._services, self._replies)
        self._arranging = asyncio.get_running_loop().create_task(arranging, name="amends-remote")

    @property
    def away(self) -> str:
        """Why no command goes out at the moment; empty if they do."""
        return "" if self._sender is None else self._sender.away

    @property
    def counts(self) -> Counts:
        """What became of replies."""
        return Counts() if self._replies is None else self._replies.counts

    def send(self, live: Live, address: str, phase: Phase) -> None:
        """Have a command sent, whose decision is on disk."""
        if self._sender is None or self._replies is None:
            raise AmendsError(f"{address} is done by a service, and this worker has no way to one")
        command = command_of(live, address, phase)
        token = self._replies.tokens.make(command.namespace, command.saga, command.step, command.round, command.phase)
        complete = command._replace(token=token, reply_to=replies_of(self._name).name)
        if live.eye is not None:
            complete = complete._replace(trace=live.eye.sent(complete))
        message = command_message(complete, f"{self._worker.operation():x}", self._source)
        refused = partial(self._refused, live, command)
        self._sender.post(commands_of(command.type.partition(".")[0]), message, refused)

    def _refused(self, live: Live, command: Command, error: TransportRefused) -> None:
        """The broker never will take a command: that is for a person, and not known only when all attempts are
        used up."""
        why = f"the broker refuses the command: {error}"
        failure = Failure(command.step, command.phase, why, resolved=True, park=True, attempt=command.attempt)
        if not (live.dropped or live.misses()):  # who has it then sends it again, and hears of it again
            try:
                live.tell(failure)
            except Exception as broken:  # noqa: BLE001  # what befalls one saga must not befall the others
                self._worker.broke(live, broken)

    def ended(self, saga: bytes, services: Sequence[str]) -> None:
        """Let services know, some time soon, that a saga has ended."""
        for service in services:
            self._ended.setdefault(service, []).append(saga)
        if self._ended and self._notice is None:
            self._notice = self._worker.loop.call_later(NOTICE_SECONDS, self._tell_ended)

    async def has_told(self, sagas: Sequence[bytes]) -> bool:
        """Whether every service is told for sure that these have ended: what was said when they did may be lost, and
        once they are forgotten here nobody can say it again."""
        if self._services is None or self._sender is None:
            return True
        told = [self._sender.send(*notice) for name in self._services.names for notice in self._notices(name, sagas)]
        await asyncio.wait(told, timeout=TELL_SECONDS)
        return all(future.done() and future.result() is None for future in told)

    async def stop_taking(self) -> None:
        """Take no more replies."""
        arranging, self._arranging = self._arranging, None
        if arranging is not None:
            arranging.cancel()
            await asyncio.wait([arranging])
        listening, self._listening = self._listening, None
        if listening is not None:
            with suppress(TimeoutError):  # a broker that hangs keeps nobody from leaving
                async with asyncio.timeout(STOP_SECONDS):
                    await listening.stop()

    async def drain(self) -> None:
        """Wait until what was decided has gone out, and what was written is acked."""
        if self._notice is not None:
            self._notice.cancel()
            self._tell_ended()
        if self._sender is not None:
            await self._sender.drain()
        if self._replies is not None:
            await self._replies.drain()

    async def close(self) -> None:
        """Disconnect."""
        await self.stop_taking()
        if self._notice is not None:
            self._notice.cancel()
        if self._sender is not None:
            await self._sender.close()
        if self._services is not None:
            await self._services.transport.close()

    @property
    def _source(self) -> str:
        return f"/amends/{self._name}"

    async def _arrange(self, services: Services, replies: Replies) -> None:
        """Listen, and see that the queues are there; as soon as the broker is. A queue of commands that cannot be made
        holds up neither replies nor the others."""
        home = replies_of(self._name)
        room = self._worker.settings.in_flight
        missing, said = list(map(commands_of, services.names)), Said(_log)
        while self._listening is None or missing:
            try:
                if self._listening is None:
                    await services.transport.prepare([home])
                    self._listening = await services.transport.listen(home, self._name, replies.receive, in_flight=room)
            except Exception as error:  # noqa: BLE001  # whatever it is, every saga that asks a service waits for this
                said.warn("replies cannot be received yet", error)
            missing = [queue for queue in missing if not await _prepared(services.transport, queue, said)]
            if self._listening is None or missing:
                await asyncio.sleep(ARRANGE_SECONDS)

    def _tell_ended(self) -> None:
        self._notice = None
        ended, self._ended = self._ended, {}
        for service, sagas in ended.items():
            for notice in self._notices(service, sagas):
                if self._sender is not None:
                    self._sender.post(*notice)

    def _notices(self, service: str, sagas: Sequence[bytes]) -> Iterator[tuple[Destination, Message]]:
        for start in range(0, len(sagas), SAGAS_PER_NOTICE):
            ended = Ended(self._worker.namespace, tuple(sagas[start : start + SAGAS_PER_NOTICE]))
            id_, at = f"{self._worker.operation():x}", self._worker.now()
            yield commands_of(service), ended_message(ended, id_, self._source, at)


async def _prepared(transport: Transport, queue: Destination, said: Said) -> bool:
    """Whether a queue is there now."""
    try:
        await transport.prepare([queue])
    except Exception as error:  # noqa: BLE001  # it is tried again
        said.warn(f"the queue of commands {queue.name} cannot be seen to yet", error)
        return False
    return True


def command_of(live: Live, address: str, phase: Phase) -> Command:
    """The command of a step that was issued, without what only the sender knows."""
    step, node = live.known(address), live.program.plan.step(address)
    timeout = node.timeout if phase is Phase.ACTION else node.undo_timeout
    due = step.track(phase).due
    return Command(
        node.command,
        live.shell.namespace,
        live.id,
        live.key,
        address,
        phase,
        step.command or b"null",
        token="",
        reply_to="",
        sent_at=live.shell.now() if due is None else due - timeout,  # when it was decided, however late it goes out
        round=step.round,
        attempt=step.track(phase).attempts,
        closed=step.closed,
        known=step.action.status is Action.SUCCEEDED or step.result is not None,  # it may have come late
    )


async def token_keys(store: Store, namespace: str) -> list[TokenKey]:
    """The keys of a store; the first is made where there is none. Raises StoreError."""
    keys = await store.token_keys()
    while not keys:
        await rotate(store, namespace, keys)
        keys = await store.token_keys()
    return keys


async def rotate(store: Store, namespace: str, keys: Sequence[TokenKey]) -> None:
    """Add a key, unless somebody has just done so. Raises StoreError."""
    secret = secrets.token_bytes(SECRET_BYTES)
    mark = hashlib.blake2b(secret, digest_size=4).hexdigest()
    await store.add_token_key(f"{namespace}-{mark}", secret, keys[0].number if keys else 0)
