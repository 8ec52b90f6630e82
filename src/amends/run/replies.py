"""Replies: how the answers of services reach their sagas.

A reply for a saga in this worker's memory is decided at once; one for any other becomes a mail, which its
owner, or whoever claims it, takes. The broker is told that a reply is done with when the decision, or the mail,
is on disk, and not before.

Guarantees: a reply that is not authentic moves nothing and is counted; one that is lost on the way to the disk
comes again.
Must not: judge what an outcome means; the core does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from amends import fault
from amends.decide.messages import Message as Told
from amends.decide.wire import Reply, reply_of
from amends.define.values import describe
from amends.errors import MessageRefused, StoreError
from amends.run import mailbox
from amends.run.sealed_mail import sealed
from amends.run.tokens import Tokens
from amends.store.base import Fate, NewMail
from amends.transport.base import Delivery

if TYPE_CHECKING:
    from amends.run.worker import Worker

MAIL_BATCH = 500
PAUSE_SECONDS = 0.5
AGAIN_SECONDS = 0.2
_log = logging.getLogger("amends.replies")


class Counts(NamedTuple):
    """What became of replies since the worker began."""

    taken: int = 0
    mailed: int = 0
    refused: int = 0
    homeless: int = 0  # of sagas that are not in this store


class Replies:
    """The intake of one worker."""

    def __init__(self, worker: Worker, tokens: Tokens) -> None:
        self._worker = worker
        self.tokens: Tokens = tokens
        self._strange: list[Delivery] = []  # made with keys that are not known here, or not yet
        self._learning: asyncio.Task[None] | None = None
        self._mails: list[tuple[NewMail, Delivery]] = []
        self._sending: asyncio.Task[None] | None = None
        self._acks: set[asyncio.Task[None]] = set()
        self.counts: Counts = Counts()

    def receive(self, deliveries: Sequence[Delivery]) -> None:
        """Take what came from the broker."""
        for delivery in deliveries:
            reply = self._reply(delivery)
            if reply is None:
                self._done(delivery)
                continue
            if not self.tokens.knows(reply.token):
                self._strange.append(delivery)
                continue
            self._take_one(reply, delivery)
        if self._mails and self._sending is None:
            self._sending = asyncio.get_running_loop().create_task(self._send(), name="amends-reply-mails")
        if self._strange and self._learning is None:
            self._learning = asyncio.get_running_loop().create_task(self._learn(), name="amends-reply-keys")

    def _take_one(self, reply: Reply, delivery: Delivery) -> None:
        """What befalls one must not befall the others that came with it."""
        try:
            self._take(reply, delivery)
        except Exception as error:  # noqa: BLE001  # whatever it is, it must not be silent
            self._strand(delivery, error)

    def _take(self, reply: Reply, delivery: Delivery) -> None:
        namespace, saga, _, step, phase, *_ = reply
        if not self.tokens.fits(reply.token, namespace, saga, step, reply.round, phase):
            self._refuse(f"its token does not fit {step!r:.60} of the saga {saga.hex()}: forged, or its key is lost")
            self._done(delivery)
            return
        live = self._worker.lives.get(saga)
        if live is None or live.misses():
            self._mail(reply, delivery)
            return
        message = mailbox.told_by(reply, live)
        if message is None:
            self._count(refused=1)
            self._done(delivery)
        else:
            self._tell(saga, message, delivery)

    async def drain(self) -> None:
        """Wait until what was taken is on its way out."""
        tasks = [task for task in (self._sending, self._learning) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._acks:
            await asyncio.wait(self._acks)

    def _reply(self, delivery: Delivery) -> Reply | None:
        """The reply that came, if it is one, and ours by what it says."""
        try:
            if delivery.message is None:
                raise MessageRefused(delivery.flaw)
            reply = reply_of(delivery.message)
        except MessageRefused as error:
            self._refuse(f"what came is no reply: {error}")
            return None
        if reply.namespace != self._worker.namespace:
            self._refuse(f"it is for the namespace {reply.namespace!r:.60}")
            return None
        return reply

    async def _learn(self) -> None:
        """Another worker may have made tokens with a key that is newer than this one's beginning."""
        try:
            while self._strange:
                try:
                    self.tokens = Tokens(await self._worker.store.token_keys())
                except StoreError as error:
                    _log.warning("replies wait for the store: %s", error)
                    await asyncio.sleep(PAUSE_SECONDS)
                    continue
                strange, self._strange = self._strange, []
                for delivery in strange:
                    reply = self._reply(delivery)
                    if reply is not None:
                        self._take_one(reply, delivery)
                if self._mails and self._sending is None:
                    self._sending = asyncio.get_running_loop().create_task(self._send(), name="amends-reply-mails")
                await asyncio.sleep(PAUSE_SECONDS)  # whoever makes keys up does not have the store asked all the time
        finally:
            self._learning = None

    def _refuse(self, why: str) -> None:
        self._count(refused=1)
        _log.warning("a reply is refused: %s", why)

    def _tell(self, saga: bytes, message: Told, delivery: Delivery) -> None:
        live = self._worker.lives[saga]

        def written(fate: Fate) -> None:
            if fate is Fate.WRITTEN:
                fault.point("reply.written")
                self._done(delivery)
            else:
                self._again(delivery)

        try:
            if not live.tell(message, told=written):
                self._done(delivery)
            self._count(taken=1)
        except Exception as error:  # noqa: BLE001  # what befalls one saga must not befall the others
            self._worker.broke(live, error)
            self._again(delivery)

    def _mail(self, reply: Reply, delivery: Delivery) -> None:
        body = mailbox.reply_body(reply, self._worker.settings.payload_bytes)
        mail = NewMail(reply.key, _mail_id(delivery, body), "reply", body)
        self._mails.append((sealed(mail, self._worker.seals), delivery))

    async def _send(self) -> None:
        """Write mails, as many at once as have come."""
        size = MAIL_BATCH
        try:
            while self._mails:
                batch = self._mails[:size]
                try:
                    rows = await self._worker.store.send([mail for mail, _ in batch])
                except StoreError as error:
                    _log.warning("replies wait for the store: %s", error)
                    await asyncio.sleep(PAUSE_SECONDS)
                    continue
                except Exception as error:  # noqa: BLE001  # one that cannot be written must not hold up the others
                    if len(batch) == 1:
                        self._strand(self._mails.pop(0)[1], error)
                    size = 1
                    continue
                size = MAIL_BATCH if len(self._mails) == len(batch) else size
                del self._mails[: len(batch)]
                homeless = sum(row is None for row in rows)
                self._count(mailed=len(batch) - homeless, homeless=homeless)
                self._worker.store.hint([], work=True)
                self._worker.ownership.wake()
                for _, delivery in batch:
                    self._done(delivery)
        finally:
            self._sending = None

    def _strand(self, delivery: Delivery, error: Exception) -> None:
        """A bug in amends met a reply: it is kept aside, and its command is sent again in time."""
        self._count(refused=1)
        _log.error("a reply cannot be taken: this is a bug in amends", exc_info=error)
        self._keep(asyncio.get_running_loop().create_task(delivery.bury(f"{type(error).__name__}: {describe(error)}")))

    def _done(self, delivery: Delivery) -> None:
        self._keep(asyncio.get_running_loop().create_task(delivery.ack()))

    def _again(self, delivery: Delivery) -> None:
        self._keep(asyncio.get_running_loop().create_task(delivery.retry(AGAIN_SECONDS)))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._acks.add(task)
        task.add_done_callback(self._acks.discard)

    def _count(self, *, taken: int = 0, mailed: int = 0, refused: int = 0, homeless: int = 0) -> None:
        now = self.counts
        self.counts = Counts(now.taken + taken, now.mailed + mailed, now.refused + refused, now.homeless + homeless)


def _mail_id(delivery: Delivery, body: bytes) -> str:
    """The same for the same reply that comes again. Ids are a foreign service's own: two replies that have one and
    say different things are two."""
    message = delivery.message
    source, id_ = ("", "") if message is None else (message.source, message.id)
    return f"reply {blake2b(f'{source} {id_} '.encode() + body, digest_size=16).hexdigest()}"
