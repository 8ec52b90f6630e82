"""Commands of one handler that wait at the same time are done in one transaction.

While a batch is on its way the next gathers; nobody waits for company, so a lone command is a batch of one and goes
the ordinary way.

Guarantees: what a batch cannot do, each command does by itself.
Must not: take two commands of the same step; those wait for each other before they come here.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from amends.decide.events import Phase
from amends.decide.messages import Message
from amends.decide.wire import Command
from amends.define.handlers import Handled, Handler
from amends.run.inbox import CommandTry
from amends.run.transactions import Transactions

if TYPE_CHECKING:
    from amends.run.participant_work import Work

AT_ONCE = 2  # transactions of one handler: one runs its functions while the other begins or commits
_log = logging.getLogger("amends.inbox")


class _Waiting(NamedTuple):
    it: CommandTry
    told: asyncio.Future[Message | None]


class Batches:
    """Of one handler."""

    def __init__(self, work: Work, transactions: Transactions, size: int) -> None:
        self._work = work
        self._transactions = transactions
        self._size = size
        self._waiting: deque[_Waiting] = deque()
        self._running: set[asyncio.Task[None]] = set()

    async def done(self, handled: Handled, handler: Handler, command: Command) -> tuple[CommandTry, Message | None]:
        """What became of a command in a batch; None where it is to be done by itself."""
        it = CommandTry(self._work, handled, handler, command)
        told: asyncio.Future[Message | None] = self._work.loop.create_future()
        self._waiting.append(_Waiting(it, told))
        self._go()
        return it, await told

    def _go(self) -> None:
        if self._waiting and len(self._running) < AT_ONCE:
            task = self._work.loop.create_task(self._run(), name="amends-batch")
            self._running.add(task)
            task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._go()

    async def _run(self) -> None:
        await asyncio.sleep(0)  # what came with this one goes with it
        batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._size))]
        self._go()
        messages: list[Message | None] = [None] * len(batch)
        try:
            if len(batch) > 1 and not self._work.leaving.is_set():
                self._work.at_work.update(one.it.handling for one in batch)
                messages = await self._transactions.batch([one.it for one in batch])
        except Exception:  # noqa: BLE001  # logged; each is done by itself, where it is seen what is wrong
            _log.exception("a batch could not be done: this is a bug in amends")
        finally:
            self._work.at_work.difference_update(one.it.handling for one in batch)
            for one, message in zip(batch, messages, strict=True):
                if not one.told.done():
                    one.told.set_result(message)


def fits(handler: Handler, command: Command, *, around: Any) -> bool:
    """Whether a command may go in a batch: the first time of an action, with nothing around it that would have to be
    entered while the others run."""
    return handler.batch > 1 and command.phase is Phase.ACTION and command.round == 1 and not around
