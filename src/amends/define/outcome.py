"""How a saga ends, as the caller sees it.

Guarantees: an outcome is a value; nothing is raised for a business no unless `unwrap` is called.
Must not: say "compensated" when an undo failed, or hide what a person settled by hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Never, TypeVar

from amends.errors import SagaCompensated, SagaParked

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Completed(Generic[T_co]):
    """Every step on the path is done. `closed`: those that a person settled by hand."""

    result: T_co
    closed: tuple[str, ...] = ()

    def unwrap(self) -> T_co:
        """The result."""
        return self.result


@dataclass(frozen=True, slots=True)
class Compensated:
    """Everything that was done is undone.

    reason: why, for people. cause: rejected, unknown, deadline, cancelled or operator.
    step: the step that said no, if one did. closed: steps that a person settled by hand.
    """

    reason: str
    cause: str = ""
    step: str = ""
    closed: tuple[str, ...] = ()

    def unwrap(self) -> Never:
        """Raises SagaCompensated."""
        raise SagaCompensated(f"the saga was undone: {self.reason}")


@dataclass(frozen=True, slots=True)
class Unsettled:
    """One step that a person must look at: what is known of its action and of its undo."""

    step: str
    action: str
    undo: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Parked:
    """The saga is open and waits for a person.

    reason: why. unsettled: exactly what stands, or may stand. not_reached: steps that never
    started. closed: steps that a person settled by hand.
    """

    reason: str
    unsettled: tuple[Unsettled, ...] = ()
    not_reached: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()

    def unwrap(self) -> Never:
        """Raises SagaParked."""
        raise SagaParked(f"the saga is parked: {self.reason}")


@dataclass(frozen=True, slots=True)
class Rejected:
    """In the list of a `for_each(…, on_reject="collect")`: the item that said no, and why."""

    reason: str
