"""Careful running: a saga whose workers died is not run beside others.

Guarantees: one attempt at a time per worker; a durable "begun" before it, its outcome durable
before the next. One that does not stop when asked holds up the others no longer.
Must not: judge which sagas run so; the core does.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from amends import fault
from amends.decide import messages as m
from amends.decide.messages import Message
from amends.decide.state import in_flight
from amends.run.observing import attempted
from amends.store.base import Fate

if TYPE_CHECKING:
    from amends.run.attempt import Attempt
    from amends.run.live import Live
    from amends.run.shell import Shell


async def alone(live: Live, attempt: Attempt) -> None:
    """Make one attempt with nothing beside it."""
    shell, wanted = live.shell, (attempt.address, attempt.phase)
    await shell.alone.acquire()
    attempt.alone = True
    try:
        if live.dropped or shell.draining or live.state is None or wanted not in in_flight(live.state):
            live.running.pop(wanted, None)
            shell.attempt_over()
            return
        await _told(live, m.Begin(*wanted))
        message = await attempted(live, attempt)
        fault.point("attempt.after")
        if live.heard(attempt, message):
            await _told(live, message)
    finally:
        let_others(shell, attempt)


def let_others(shell: Shell, attempt: Attempt) -> None:
    """Let go of the right to run alone, if the attempt has it."""
    if attempt.alone:
        attempt.alone = False
        shell.alone.release()


async def _told(live: Live, message: Message) -> None:
    """Let a message have its effect, and wait until that is written. Raises CancelledError where the saga leaves the
    memory first."""
    heard: asyncio.Future[None] = live.shell.loop.create_future()
    if live.tell(message, told=lambda fate: _hear(heard, live, fate)):
        await heard


def _hear(heard: asyncio.Future[None], live: Live, fate: Fate) -> None:
    """Somebody waited for a decision to be written."""
    if heard.done():
        return
    if live.dropped or fate is not Fate.WRITTEN:
        heard.cancel()
    else:
        heard.set_result(None)
