"""Retry, Reject, Park: what a step says about being tried again.

Guarantees: a policy is checked when it is written.
Must not: compute delays; the core does (`decide/policy.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from math import isfinite
from typing import cast

from amends.decide.policy import ACTION_POLICY, Policy
from amends.errors import DefinitionError

Duration = timedelta | float


class Reject(Exception):
    """A definite business no: nothing was done, nothing will be, and no retry helps.

    Raise it in a step; before the point of no return the saga goes back. The text is the
    reason that people read.
    """


class Park(Exception):
    """This is for a person: wrong credentials, a configuration that is missing. Raise it in a
    step; the step is not tried again until somebody says so."""


class RetryAfter(Exception):
    """Try again after `seconds`. Built by `Retry.after`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"try again after {seconds:g} s")
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class Retry:
    """How a step, or a compensation, is tried again.

    attempts: how many tries in all; None is without end. After the pivot there is no end.
    first_delay, cap: the delay after the first failed try, and the longest delay (seconds or
        timedelta). factor: what the delay is multiplied by each time.
    jitter: the share of each delay, 0 to 1, that is taken off at random.
    only: try again only after these exceptions. never: not after these; the outcome is then
        unknown at once.
    """

    attempts: int | None = ACTION_POLICY.attempts
    first_delay: Duration = ACTION_POLICY.first_delay
    factor: float = ACTION_POLICY.factor
    cap: Duration = ACTION_POLICY.cap
    jitter: float = ACTION_POLICY.jitter
    only: tuple[type[Exception], ...] = (Exception,)
    never: tuple[type[Exception], ...] = ()

    def __post_init__(self) -> None:
        """Raises DefinitionError for a policy that makes no sense."""
        if self.attempts is not None and not (is_whole(self.attempts) and self.attempts >= 1):
            raise DefinitionError(f"Retry(attempts={self.attempts!r}): a whole number from 1 on, or None for no end")
        if not (_is_number(self.factor) and isfinite(self.factor) and self.factor >= 1):
            raise DefinitionError(f"Retry(factor={self.factor!r}): a number from 1 on")
        if not (_is_number(self.jitter) and 0 <= self.jitter <= 1):
            raise DefinitionError(f"Retry(jitter={self.jitter!r}): a number from 0 to 1")
        first, cap = seconds(self.first_delay, "Retry(first_delay=…)"), seconds(self.cap, "Retry(cap=…)")
        if first > cap:
            raise DefinitionError(
                f"Retry(first_delay={first:g}, cap={cap:g}): the first delay is longer than the longest; give a cap of "
                f"{first:g} s or more"
            )
        for name, kinds in (("only", self.only), ("never", self.never)):
            if not is_exceptions(kinds):
                raise DefinitionError(f"Retry({name}={kinds!r}): a tuple of exception classes, such as (TimeoutError,)")

    @staticmethod
    def after(delay: Duration, /) -> Exception:
        """The exception to raise for "try again, but not before": `raise Retry.after(30)`."""
        return RetryAfter(seconds(delay, "Retry.after(…)"))

    def allows(self, error: Exception) -> bool:
        """Whether another try after this exception makes sense."""
        return isinstance(error, self.only) and not isinstance(error, self.never)

    def policy(self) -> Policy:
        """The arithmetic part, as the plan stores it."""
        return Policy(
            self.attempts,
            seconds(self.first_delay, "Retry(first_delay=…)"),
            self.factor,
            seconds(self.cap, "Retry(cap=…)"),
            self.jitter,
        )


def is_exceptions(kinds: object) -> bool:
    """Whether something is a tuple of exception classes."""
    return isinstance(kinds, tuple) and all(
        isinstance(kind, type) and issubclass(kind, Exception) for kind in cast("tuple[object, ...]", kinds)
    )


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_whole(value: object) -> bool:
    """Whether something is a whole number; True and False are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def seconds(duration: object, what: str) -> float:
    """A duration in seconds. Raises DefinitionError for one that is no finite time from now on."""
    if isinstance(duration, timedelta):
        value = duration.total_seconds()
    elif isinstance(duration, (int, float)) and not isinstance(duration, bool):
        value = float(duration)
    else:
        raise DefinitionError(f"{what}: seconds or a timedelta is expected, not {type(duration).__name__}")
    if not isfinite(value) or value < 0:
        raise DefinitionError(f"{what}: a finite time of 0 or more is expected, not {duration}")
    return value
