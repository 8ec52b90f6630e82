"""What a function may know about its attempt.

Guarantees: the context says what is on disk.
Must not: give a function a way to change its saga.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from amends.decide.events import Phase
from amends.define.context import Context

if TYPE_CHECKING:
    from amends.run.attempt import Attempt
    from amends.run.live import Live


def briefed(live: Live, attempt: Attempt) -> Context:
    """The context of an attempt."""
    step = live.known(attempt.address)
    track = step.action if attempt.phase is Phase.ACTION or step.undo is None else step.undo
    return Context(
        live.shell.namespace,
        live.key,
        live.id,
        attempt.address,
        attempt.phase,
        track.attempts,
        step.round,
        live.epoch,
        live.deadline,
        attempt,
    )
