"""When to try again: the retry arithmetic, without a clock and without randomness.

Guarantees: a delay is never negative, never above its cap, and depends on its arguments only.
Must not: sleep, read a clock or draw a random number; the jitter's share is an argument.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Policy:
    """How often and how far apart an action or a compensation is tried.

    attempts: how many tries in all; `None` is without end.
    first_delay, cap: seconds before the second try, and the longest delay.
    factor: what each delay is multiplied by to give the next.
    jitter: the share of a delay, 0 to 1, that may be taken off, so that sagas which failed
        together do not come back together.
    """

    attempts: int | None = 5
    first_delay: float = 0.2
    factor: float = 2.0
    cap: float = 30.0
    jitter: float = 0.5

    def allows(self, attempts_made: int) -> bool:
        """Whether one more try is left after this many."""
        return self.attempts is None or attempts_made < self.attempts

    def delay(self, attempts_made: int, share: float = 0.0) -> float:
        """Seconds to wait after `attempts_made` failed tries, with `share` (0 to 1) of the
        jitter taken off."""
        try:
            full = min(self.first_delay * self.factor ** max(attempts_made - 1, 0), self.cap)
        except OverflowError:  # after a thousand tries or so; but no factor makes a delay out of none
            full = self.cap if self.first_delay else 0.0
        return full * (1.0 - self.jitter * share)


ACTION_POLICY = Policy()
UNDO_POLICY = Policy(attempts=30, cap=300.0)  # about an hour and a half: an undo is worth waiting for
