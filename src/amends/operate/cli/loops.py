"""The event loop of a verb that runs sagas: uvloop's where it is installed.

Guarantees: a verb behaves the same on either loop.
Must not: be used by verbs that only read; they start sooner without it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from importlib import import_module
from importlib.util import find_spec
from typing import Any, TypeVar

T = TypeVar("T")
Factory = Callable[[], asyncio.AbstractEventLoop]


def run_on_loop(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end."""
    try:
        with asyncio.Runner(loop_factory=factory()) as runner:
            return runner.run(main)
    finally:
        main.close()  # where there was no loop for it; else it has ended and this does nothing


def factory() -> Factory | None:
    """What makes the loop; None for asyncio's own."""
    if find_spec("uvloop") is None:
        return None
    made: Factory = import_module("uvloop").new_event_loop
    return made
