"""What a step may know about the attempt it runs in.

Guarantees: `key` is the same in every attempt of one round, and no other action or
compensation anywhere has it.
Must not: give access to the store or to another saga.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from amends.decide.chain import Chain
from amends.decide.events import Phase


def step_key(namespace: str, saga: bytes, address: str, round_: int, phase: Phase) -> str:
    """The idempotency key of one half of a step: 32 hex digits."""
    text = f"{namespace}\n{saga.hex()}\n{address}\n{round_}\n{phase}"
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


class Attempt(Protocol):
    """What the shell tells a context while the attempt runs."""

    cancelled: bool

    def heartbeat(self) -> None:
        """Start the attempt's timeout anew."""
        ...


@dataclass(slots=True)
class StillAttempt:
    """An attempt that nobody stops: the one of a context made by hand."""

    cancelled: bool = False
    heartbeats: int = 0

    def heartbeat(self) -> None:
        self.heartbeats += 1


@dataclass(slots=True, eq=False)
class Context:
    """The attempt that a step runs in.

    namespace, saga_id: whose saga, and its id. step: the stored name. address: where in the
    saga, `name[3]` for an item. attempt: 1 for the first of this round. round: 1 unless a
    person opened another. epoch: how often the saga changed its worker. deadline: the saga's,
    an instant in seconds since 1970, or None.
    """

    namespace: str
    saga_id: str
    internal_id: bytes
    address: str
    phase: Phase
    attempt: int
    round: int
    epoch: int
    deadline: float | None
    running: Attempt = field(repr=False)
    chain: Chain | None = field(default=None, repr=False)
    _keys: dict[Phase, str] = field(default_factory=dict[Phase, str], repr=False)

    @property
    def step(self) -> str:
        """The step's stored name."""
        return self.address.rpartition("/")[2].partition("[")[0]

    @property
    def key(self) -> str:
        """The idempotency key of this action or compensation: give it to whoever does the work.
        The same in every attempt, replay and takeover; a compensation's differs from its action's."""
        return self._key(self.phase)

    @property
    def action_key(self) -> str:
        """The key that the action used; in a compensation, what to undo."""
        return self._key(Phase.ACTION)

    @property
    def correlation(self) -> str:
        """What all events of one chain share, and with them the saga that tells some. Of a saga, its id."""
        return self.saga_id if self.chain is None else self.chain.correlation

    @property
    def causation(self) -> str:
        """In a handler of events: the id of the message that led to this one; empty of the first in its chain."""
        return "" if self.chain is None else self.chain.causation

    @property
    def cancelled(self) -> bool:
        """Whether the attempt was asked to stop. Code in a thread looks at it now and then."""
        return self.running.cancelled

    def heartbeat(self) -> None:
        """Say that the attempt is alive: its timeout starts anew. May be called from a thread."""
        self.running.heartbeat()

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger whose records carry the saga, the step and the attempt."""
        return _StepLog(
            logging.getLogger("amends.step"),
            {"saga_id": self.saga_id, "step": self.address, "phase": str(self.phase), "attempt": self.attempt},
        )

    def _key(self, phase: Phase) -> str:
        known = self._keys.get(phase)
        if known is None:
            known = step_key(self.namespace, self.internal_id, self.address, self.round, phase)
            self._keys[phase] = known
        return known


class _StepLog(logging.LoggerAdapter[logging.Logger]):
    """Puts the saga and step in front of the text, and the fields on the record."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        fields = dict(self.extra or {})
        kwargs["extra"] = {**fields, **(kwargs.get("extra") or {})}
        return f"[{fields['saga_id']} {fields['step']}] {msg}", kwargs
