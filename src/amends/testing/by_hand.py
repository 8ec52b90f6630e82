"""A context made by hand, for calling a step or a compensation as the plain function it is.

Guarantees: the same arguments give the same keys; a compensation's `action_key` is the `key`
of its action.
Must not: need an orchestrator, a store or a loop.
"""

from __future__ import annotations

import hashlib
from typing import Any

from amends.decide.events import Phase
from amends.define.context import Context, StillAttempt
from amends.define.step import Step
from amends.errors import DefinitionError

NAMESPACE = "test"


def context(
    step: Step[..., Any, Any],
    /,
    *,
    saga_id: str = "saga-1",
    compensating: bool = False,
    item: int | None = None,
    attempt: int = 1,
    round: int = 1,
) -> Context:
    """The context of one attempt of a step: `await reserve(order, shop, context(reserve))`.

    compensating: for the step's compensation; its `action_key` is the `key` that the action has
    in a context with the same saga_id, item and round. item: the place in the list, for a step
    that stands in a `for_each`. attempt: keys do not depend on it. round: keys do.

    Raises DefinitionError for what is no step, and for a compensation of a step that has none.
    """
    _check(step)
    if compensating and step.body.undo is None:
        raise DefinitionError(f"context({step!r}, compensating=True): the step has no compensation")
    address = step.stored_name if item is None else f"{step.stored_name}[{item}]"
    phase = Phase.UNDO if compensating else Phase.ACTION
    internal_id = hashlib.blake2b(saga_id.encode(), digest_size=16).digest()
    return Context(NAMESPACE, saga_id, internal_id, address, phase, attempt, round, 1, None, StillAttempt())


def _check(given: object) -> None:
    if not isinstance(given, Step):
        name = getattr(given, "__name__", repr(given)[:80])
        raise DefinitionError(
            f"context({name}): a step is expected; for its compensation write context(the_step, compensating=True)"
        )
