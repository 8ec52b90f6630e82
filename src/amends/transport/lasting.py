"""A duty that lasts as long as its transport: what nobody foresaw is said, and the duty begun again.

A task that ends on an error says so to nobody, and its process goes on, healthy to look at, with one hand less: its
consumer keeps its share of a queue and reads nothing of it. Drivers raise more than they document, and cancel what
somebody else waits for.

Guarantees: only its own end, and whoever cancels its task, ends a duty.
Must not: know what went wrong; what is foreseen the duty sees to by itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

PAUSE_FIRST_SECONDS = 0.05
PAUSE_LAST_SECONDS = 2.0


async def lasting(duty: Callable[[], Awaitable[None]], what: str, log: logging.Logger) -> None:
    """Do a duty until it comes back by itself; it can be begun anew at any time. what: as a log says it."""
    pause = PAUSE_FIRST_SECONDS
    while True:
        try:
            await duty()
        except asyncio.CancelledError:
            if _is_cancelled():
                raise
            log.exception("%s: what it waited for was cancelled by a driver; it is begun again", what)
        except Exception:  # whatever it is, nobody else does this
            log.exception("%s: this is a bug in amends, or in a driver; it is begun again", what)
        else:
            return
        await asyncio.sleep(pause)
        pause = min(pause * 2, PAUSE_LAST_SECONDS)


def _is_cancelled() -> bool:
    """Whether somebody has cancelled this task, and not only what it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
