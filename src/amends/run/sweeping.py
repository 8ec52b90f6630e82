"""A duty that looks at the database now and then, for as long as the participant works.

Guarantees: whatever goes wrong in one look, the next one comes.
Must not: know what is looked for.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from amends.errors import StoreError


class Sweeper(Protocol):
    """What looks."""

    async def sweep(self) -> bool:
        """Look once; whether there may be more. Raises StoreError."""
        ...


async def sweeping(of: Sweeper, pause: Callable[[], Awaitable[object]], what: str, log: logging.Logger) -> None:
    """Sweep until cancelled, with a pause where there is no more. what: as a log names it."""
    while True:
        full = False
        try:
            full = await of.sweep()
        except StoreError as error:
            log.warning("%s cannot be looked at: %s", what, error)
        except Exception:  # whatever it is, all that waits for a sweep waits for this
            log.exception("%s cannot be looked at: this is a bug in amends", what)
        if not full:
            await pause()
