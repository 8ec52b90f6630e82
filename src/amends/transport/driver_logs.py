"""What the drivers of brokers log, kept out of a service's log: a traceback for each connection that is lost, each
time that connecting fails, in each process, where the transport says in one line that the broker is away.

Only what a driver logs on behalf of a transport of ours is kept out: its tasks are told by their context. Whoever uses
the same driver beside amends, or sets a level on the driver's logger or logs at DEBUG, reads all of it.

Guarantees: what is not ours passes; a listener's `receive` runs in the context of who listened.
Must not: set levels, add handlers, or keep out errors that asyncio found.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar

from amends.transport.base import Delivery, Receive

T = TypeVar("T")
_ours: ContextVar[bool] = ContextVar("amends_driver", default=False)


class _NotOurs(logging.Filter):
    """Lets through what no transport of ours is behind, and what somebody asked for."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not _ours.get() or _asked_for(logging.getLogger(record.name))


class _NoWriting(logging.Filter):
    """Of asyncio: that it writes to a connection that is lost."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (_ours.get() and record.levelno == logging.WARNING)


_not_ours, _no_writing = _NotOurs(), _NoWriting()


def keep_out(driver: str) -> None:
    """Keep out what this driver, a package that is imported, logs for us. May be called again."""
    logging.getLogger("asyncio").addFilter(_no_writing)
    for name in (driver, *list(logging.root.manager.loggerDict)):
        if name == driver or name.startswith(f"{driver}."):
            logging.getLogger(name).addFilter(_not_ours)  # a filter holds for one logger, not for those below it


@contextmanager
def driving() -> Iterator[None]:
    """What the driver does meanwhile, and the tasks that it begins, are ours."""
    token = _ours.set(True)
    try:
        yield
    finally:
        _ours.reset(token)


def driving_task(work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
    """A task of ours, which drives."""
    context = copy_context()
    context.run(_ours.set, True)
    return asyncio.get_running_loop().create_task(work, name=name, context=context)


def as_caller(receive: Receive) -> Receive:
    """A listener's `receive`, to be called by whatever task of ours or of a driver's: it runs as for who listened."""
    context: Context = copy_context()

    def received(deliveries: Sequence[Delivery]) -> None:
        context.copy().run(receive, deliveries)

    return received


def _asked_for(logger: logging.Logger) -> bool:
    """Whether somebody set a level for a driver, or wants everything."""
    if logger.isEnabledFor(logging.DEBUG):
        return True
    at = logger
    while (above := at.parent) is not None:  # not the root, whose level is for everybody
        if at.level != logging.NOTSET:
            return True
        at = above
    return False
