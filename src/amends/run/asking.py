"""Asking something of a saga: signals, cancels and operators' acts, through its mailbox.

Guarantees: what was sent is kept until it is answered; what is said to be answered is what
happened, in the saga's own history.
Must not: touch a saga, not even one in this process's own memory.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from amends.decide.watching import watched_of
from amends.define.nodes import Signal
from amends.define.values import codec_for
from amends.errors import Changed, LimitExceeded, NotAnswered, Refused, StoreError, TooLate, UnknownSaga, ValueRefused
from amends.run import mailbox
from amends.run.chance import id_text
from amends.run.config import Config
from amends.run.crew import crew_of
from amends.run.plans import Plans
from amends.run.sealed_mail import is_repeated, sealed
from amends.run.sealing import Seals
from amends.run.settings import ID_CHARACTERS_MAX
from amends.run.waiting import Waiting
from amends.store.base import MailRow, NewMail, Store

if TYPE_CHECKING:
    from amends.run.worker import Worker

WHY_SECONDS = 1.0  # for finding out why nobody answered


class Asking:
    """The half of a session that asks."""

    config: Config
    store: Store
    plans: Plans
    waiting: Waiting
    worker: Worker | None
    seals: Seals | None

    @abstractmethod
    async def _patiently(self, read: Callable[[], Any]) -> Any:
        """Read, however long the store is away."""

    async def signal(self, key: str, signal: Signal[Any], value: Any, message: str | None) -> None:
        """Send a value to a wait, and hear what became of it."""
        await self.ask(self.signal_mail(key, signal, value, message))

    def signal_mail(self, key: str, signal: Signal[Any], value: Any, message: str | None) -> NewMail:
        """The mail of a signal. Raises ValueRefused or LimitExceeded."""
        codec = codec_for(signal.type, f"the signal {signal.stored_name}")
        size = self.config.settings.payload_bytes
        payload, _ = codec.admit(value, f"the value of the signal {signal.stored_name}", size)
        body = mailbox.write(name=signal.stored_name, value=payload)
        return sealed(NewMail(key, self.message_id(message), "signal", body), self.seals)

    async def cancel(self, key: str, *, reason: str, actor: str) -> None:
        """Have a saga go back."""
        await self.ask(mailbox.act_mail(key, self.message_id(), mailbox.Wish("cancel", "", actor, reason)))

    async def act(self, key: str, verb: str, address: str, *, actor: str, reason: str, result: bytes | None) -> None:
        """An operator's act on a step, or on the saga."""
        await self.ask(mailbox.act_mail(key, self.message_id(), mailbox.Wish(verb, address, actor, reason, result)))

    async def ask(
        self, mail: NewMail, *, seconds: float | None = None, before: Callable[[], Awaitable[None]] | None = None
    ) -> str:
        """Put a mail into the mailbox and wait for the answer; gives what was said with it. before: awaited before each
        try to send it; what it raises is raised, and then it is not sent any more.

        Raises UnknownSaga, Refused, TooLate, and NotAnswered after `seconds`, else `Settings.answer_seconds`.
        """
        await self.check_run_here(mail.key)
        mail = sealed(mail, self.seals)

        async def send() -> MailRow | None:
            if before is not None:
                await before()
            return (await self.store.send([mail]))[0]

        sent = await self._patiently(send)
        if sent is None:
            raise UnknownSaga(f"there is no saga with the id {mail.key!r} in this namespace")
        self.store.hint([], work=True)
        if self.worker is not None:
            self.worker.ownership.wake()
        if seconds is None:
            seconds = self.config.settings.answer_seconds
        try:
            async with asyncio.timeout(seconds):
                answered: MailRow = await self.waiting.until(mail.key, partial(self._answered, mail))
        except TimeoutError:
            raise NotAnswered(
                f"no worker has answered for {mail.key!r} within {seconds:g} s; the {mail.kind} is kept and will be "
                f"answered when one does. {await self._why_not(mail.key)}"
            ) from None
        if not is_repeated(mail, answered, self.seals):
            raise Refused(
                f"{mail.key}: the id {mail.message!r} belongs to something else that was asked before, and counts "
                "once; ask this under another"
            )
        if answered.answer == "changed":
            raise Changed(f"{mail.key}: {answered.detail}")
        if answered.answer == "refused":
            raise Refused(f"{mail.key}: {answered.detail}")
        if answered.answer == "too late":
            raise TooLate(f"{mail.key}: {answered.detail}")
        return answered.detail or ""

    async def check_run_here(self, key: str) -> None:
        """See that there may be an answer. Raises Refused of a saga that is only watched here."""
        if not any(watched_of(row.fingerprint) for row in self.plans.rows.values()):
            return
        head = await self._patiently(lambda: self.store.head(key))
        row = None if head is None else self.plans.rows.get(head.plan)
        watched = None if row is None else watched_of(row.fingerprint)
        if watched is not None and watched.is_flow:
            raise Refused(f"{key}: it is what was told of a flow of events: nobody runs it or can act on it")
        if watched is not None:
            raise Refused(
                f"{key}: it is choreographed, and this is only what a watcher has heard of it. Act at its home, the "
                f"service {watched.home}: the same command with --app=MODULE:NAME, its participant, or in its code the "
                f"participant's method of that name, such as `await app.cancel({key!r}, reason=…)`"
            )

    async def _why_not(self, key: str) -> str:
        """What is known of why nobody answers: told in time, or not at all."""
        with suppress(TimeoutError, StoreError):
            async with asyncio.timeout(WHY_SECONDS):
                await self.plans.refresh(self.store)
                head, crew = await self.store.head(key), await crew_of(self.store, self.plans.rows)
                if head is not None and head.stalled:
                    return f"The saga is stalled: {head.stalled}. A worker with a fitting definition goes on with it"
                if head is not None and (why := crew.nobody(head)):
                    return f"Nobody runs the saga: {why}. See `amends doctor`"
        return "A worker that runs it is alive, and may be busy. See `amends show` and `amends doctor`"

    async def _answered(self, mail: NewMail) -> MailRow | None:
        row: MailRow | None = await self._patiently(lambda: self.store.sent(mail.key, mail.message))
        return row if row is not None and row.answer is not None else None

    def message_id(self, given: str | None = None) -> str:
        """The id of a mail: the sender's own, or a new one. Raises ValueRefused or LimitExceeded."""
        return id_text(self.config.chance.uuid7(self.store.now())) if given is None else check_id(given)


def check_id(key: str) -> str:
    """A user's id, fit to be a key. Raises ValueRefused or LimitExceeded."""
    if not isinstance(key, str) or not key or not key.isprintable():
        raise ValueRefused(f"id={key!r:.80}: a text of printable characters is expected")
    if key in (".", ".."):  # in an address a browser takes them for directories, however they are quoted
        raise ValueRefused(f"id={key!r}: another text is expected; nothing could link to this one")
    if len(key) > ID_CHARACTERS_MAX:
        raise LimitExceeded(f"id: {len(key)} characters, the limit is {ID_CHARACTERS_MAX}")
    return key
