"""What the demo sees of the sagas: read through operations, as any client can.

Guarantees: shows what is on disk, nothing else; reads an ended saga once.
Must not: write.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from amends.errors import UnknownSaga
from amends.operate.demo.sagas import Order
from amends.operate.operations import Operations
from amends.operate.values import Line, SagaView, StepLine

# The steps of the order saga, and what the table calls them.
STEPS = {
    "open_order": "open",
    "reserve_stock": "stock",
    "charge_card": "card",
    "confirm_order": "pivot",
    "ship": "ship",
}
ENDED = ("completed", "compensated")


@dataclass(frozen=True)
class View:
    """One order as its saga tells it.

    steps: a status per step, of its undo where there is one, else of its action; "undo running"
    and "undo waiting" while that is open. forward, back: whether an action, or an undo, is on
    its way. worker: the one that has it. taken_up: how often another took it up. notes: what
    happened to it, the most telling first.
    """

    order: Order
    status: str
    steps: tuple[str, ...]
    forward: bool = False
    back: bool = False
    worker: int | None = None
    taken_up: int = 0
    mended: bool = False
    notes: tuple[str, ...] = ()

    @property
    def ended(self) -> bool:
        """Whether its saga is over."""
        return self.status in ENDED


class Watch:
    """All orders that were placed, as they stood at the last look."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations
        self.views: dict[str, View] = {}

    def placed(self, order: Order) -> None:
        """One more to watch."""
        self.views[order.id] = View(order, "running", ("pending",) * len(STEPS))

    async def look(self) -> list[View]:
        """Look again; gives those that changed."""
        changed: list[View] = []
        for view in [view for view in self.views.values() if not view.ended]:
            found = view_of(view.order, await self._operations.show(view.order.id))
            if found != view:
                self.views[view.order.id] = found
                changed.append(found)
        return changed

    async def history(self, order: str) -> tuple[Line, ...]:
        """The history of one saga."""
        return await self._operations.history(order)

    async def timeline(self, order: str) -> list[str]:
        """The history of one saga as lines: when, in which worker, what."""
        try:
            lines = await self._operations.history(order)
        except UnknownSaga:
            return []
        return [f"{line.at - lines[0].at:7.2f} s  worker {line.worker}  {line.text}" for line in lines]


def view_of(order: Order, saga: SagaView) -> View:
    """What a saga shows."""
    steps = {step.address: step for step in saga.steps}
    adopted = sum(line.event == "adopted" for line in saga.history)
    return View(
        order,
        saga.line.status,
        tuple(_word(steps[address]) for address in STEPS),
        forward=any(step.status == "running" and not step.undo for step in saga.steps),
        back=any(step.undo == "running" for step in saga.steps),
        worker=saga.line.worker,
        taken_up=adopted,
        mended=any(line.event == "operated" for line in saga.history),
        notes=tuple(_notes(saga, adopted)),
    )


def _word(step: StepLine) -> str:
    return f"undo {step.undo}" if step.undo in ("running", "waiting") else step.status


def _notes(saga: SagaView, taken_up: int) -> Iterable[str]:
    if saga.line.status == "parked":
        yield _plainly(saga.line.reason.partition(": ")[2])
    if taken_up:
        yield "killed, taken up" if taken_up == 1 else f"killed {taken_up} times, taken up"
    if any(line.event == "operated" for line in saga.history):
        yield "mended by a person"
    turned = [line for line in saga.history if line.event == "turned_back"]
    if turned:
        yield _plainly(turned[-1].reason)
    takeovers = {line.at for line in saga.history if line.event == "adopted"}
    failed = [line for line in saga.history if line.event == "failed" and line.at not in takeovers]
    if failed and not turned:
        yield f"{_plainly(failed[-1].reason)}, retried"


def _plainly(reason: str) -> str:
    """A reason in few words: without the name of its exception."""
    name, _, text = reason.partition(": ")
    return (text if text and name.isidentifier() else reason).replace("it took longer than", "no answer in")
