"""The hub: tells those who observe of what happens.

Guarantees: an observer that raises is logged once and told nothing more; what it does never changes an outcome. That
goes for a `CancelledError`, too: nobody cancels what waits for nothing, so it is of a future that it asked.
Where nobody observes, no event is made: whoever would tell asks `on` first.
Must not: wait for anybody.
"""

from __future__ import annotations

import logging
from asyncio import CancelledError
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, cast

from amends.decide.wire import NO_TRACE
from amends.errors import DefinitionError
from amends.observe.events import CommandSent, Event, HopSent

Observer = Callable[[Event], object]
_log = logging.getLogger("amends.observe")


class Carrier(Protocol):
    """An observer that has something travel with messages."""

    def carried(self, event: CommandSent | HopSent) -> Mapping[str, str]:
        """The W3C trace context of a message that is about to go out: `traceparent`, and perhaps `tracestate`."""
        ...


class Hub:
    """Of one orchestrator or participant. on: whether anybody is told."""

    __slots__ = ("_carriers", "_observers", "on")

    def __init__(self, observers: Sequence[Observer] = ()) -> None:
        self._observers: tuple[Observer, ...] = tuple(observers)
        self._carriers: tuple[Carrier, ...] = tuple(
            cast("Carrier", one) for one in observers if callable(getattr(one, "carried", None))
        )
        self.on: bool = bool(self._observers)

    def tell(self, event: Event) -> None:
        """Tell everybody, one after the other."""
        for observer in self._observers:
            try:
                observer(event)
            except (Exception, CancelledError):  # noqa: BLE001  # whoever only looks on must not change what happens
                self._cut(observer)

    def carried(self, event: CommandSent | HopSent) -> Mapping[str, str]:
        """What is to travel with a message; of several who have something, the first."""
        for carrier in self._carriers:
            try:
                found = carrier.carried(event)
            except (Exception, CancelledError):  # noqa: BLE001  # likewise
                self._cut(carrier)
            else:
                if found:
                    return found
        return NO_TRACE

    def _cut(self, one: object) -> None:
        _log.exception("the observer %r has failed, and is told nothing more; nothing else changes", one)
        self._observers = tuple(each for each in self._observers if each is not one)
        self._carriers = tuple(each for each in self._carriers if each is not one)
        self.on = bool(self._observers)


OFF = Hub()


def check_observers(observers: Sequence[object], where: str) -> tuple[Observer, ...]:
    """What was given as `observers=`. Raises DefinitionError."""
    for one in observers:
        if not callable(one):
            raise DefinitionError(f"{where}(observers=…): a function of an event is expected, not {one!r:.80}")
    return cast("tuple[Observer, ...]", tuple(observers))
