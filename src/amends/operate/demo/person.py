"""The operator of the demo: looks at a parked saga, at the services' books, and acts.

Guarantees: acts through operations only, as `amends retry` and `amends compensate` do.
Must not: change a saga's rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from amends.errors import AmendsError
from amends.operate.demo.ledger import written_down
from amends.operate.demo.system import Run, renew_credentials
from amends.operate.demo.watch import View
from amends.operate.operations import Operations

ACTOR = "operator"
Say = Callable[[str, str], None]


async def mend(operations: Operations, run: Run, view: View, say: Say, *, seconds: float) -> None:
    """Mend what a parked saga waits for. seconds: what it takes a person to see it."""
    name = view.order.id
    say(f"{name} is parked, for a person: {view.notes[0]}", "person")
    await asyncio.sleep(seconds)
    saga = await operations.show(name)
    stuck = [step.step for step in saga.unsettled if (step.undo or step.action) in ("stuck", "unknown")]
    try:
        if "confirm_order" in stuck and written_down(run.directory, name) != "confirmed":
            reason = "not confirmed in the books"
            await operations.compensate(name, actor=ACTOR, reason=reason)
            say(f'operator: amends compensate {name} --reason "{reason}"', "person")
            return
        if "ship" in stuck:
            renew_credentials(run.directory, view.order.courier)
            say(f"operator renews the credentials for the courier {view.order.courier}", "person")
            await asyncio.sleep(seconds / 2)
        for step in stuck:
            reason = "credentials renewed" if step == "ship" else "looked into"
            await operations.retry(name, step, actor=ACTOR, reason=reason)
            say(f'operator: amends retry {name} {step} --reason "{reason}"', "person")
    except AmendsError as error:
        say(f"operator: that was not to be: {error}", "bad")
