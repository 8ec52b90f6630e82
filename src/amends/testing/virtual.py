"""A virtual clock for asyncio: time passes when nothing else happens, and costs nothing.

The loop is asyncio's own; only its clock and its waiting are replaced. When no callback is
ready, time jumps to the next timer.

Guarantees: with the same callbacks the same order; an hour of sleep takes no time.
Must not: wait for sockets or threads. Code that needs them does not belong under a virtual clock.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from random import Random
from typing import Any, TypeVar

T = TypeVar("T")
START = 1_700_000_000.0  # the instant at which virtual time begins

RESOLUTION_SECONDS = 1e-6  # coarser than a float is after a century; else a timer that is due is never ready


class Stalled(AssertionError):
    """Nothing is ready and no timer is set: what is waited for will never happen."""


class _Selector(selectors.BaseSelector):
    """Waits for nothing; tells the loop how long it would have waited."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._keys: dict[int, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        number = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        key = selectors.SelectorKey(fileobj, number, events, data)
        self._keys[number] = key
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        number = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        return self._keys.pop(number)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._loop.idle(timeout)
        return []

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop with its own time.

    shuffle: a seeded source; callbacks that are ready together then run in its order, so that
    one seed is one interleaving.
    """

    def __init__(self, shuffle: Random | None = None) -> None:
        self._virtual = 0.0
        self._shuffle = shuffle
        super().__init__(_Selector(self))
        self._clock_resolution = RESOLUTION_SECONDS

    def time(self) -> float:
        return self._virtual

    def now(self) -> float:
        """The virtual instant, in seconds since 1970."""
        return START + self._virtual

    def idle(self, timeout: float | None) -> None:
        """Nothing is ready for `timeout` seconds; None is for ever."""
        ready: Any = self._ready  # type: ignore[attr-defined]  # asyncio's queue of callbacks
        if timeout is None and not ready:
            raise Stalled("nothing is ready and no timer is set: what is waited for will never happen")
        if timeout:
            self._virtual += timeout
        elif self._shuffle is not None and len(ready) > 1:
            callbacks = list(ready)
            self._shuffle.shuffle(callbacks)
            ready.clear()
            ready.extend(callbacks)


class Inline:
    """Runs sync functions at once, on the loop: under a virtual clock there are no threads."""

    def submit(self, fn: Callable[[], Any]) -> Future[Any]:
        """The result of a function, in a future that is done."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn())
        except BaseException as error:  # noqa: BLE001  # handed to whoever waits
            future.set_exception(error)
        return future


def run_virtually(main: Coroutine[Any, Any, T], shuffle: Random | None = None) -> T:
    """Run a coroutine under a virtual clock of its own."""
    loop = VirtualLoop(shuffle)
    try:
        return loop.run_until_complete(main)
    finally:
        close(loop)


def close(loop: VirtualLoop) -> None:
    """Cancel what is left on a loop and close it."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
