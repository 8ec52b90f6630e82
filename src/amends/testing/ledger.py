"""The money checker: a ledger of yours against what your sagas say of themselves.

A ledger is a table that your steps or services write in the transaction of each effect: which saga, which step,
whether it was done or undone, how many cents moved. Nothing in it has to be unique; an effect that is there twice is
to be there twice.

    troubles = check(entries(rows), asyncio.run(sagas_in("postgresql://…")))

Guarantees: a pure function of the ledger and the sagas; whatever does not fit is told with its saga.
Must not: take a saga's word where the ledger has one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncGenerator, Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from amends.decide.plan import EachNode, Plan, StepNode, item_address, walk
from amends.decide.state import EFFECT_POSSIBLE, ENDED, Action, State, Status, StepState, Undo
from amends.operate.operations import Operations, operations

PAGE = 500
DONE, UNDONE = "do", "undo"


class Entry(NamedTuple):
    """One line of a ledger. op: do or undo. step: the step's address, `ctx.address`. cents: what moved; an undo moves
    it back, so the two add up to nothing. key: of the effect, where the ledger has it."""

    saga: str
    step: str
    op: str
    cents: int = 0
    key: str = ""


class Said(NamedTuple):
    """What a saga says of itself. must: the steps whose effect stands. may: those of which it is not known, such as
    the unsettled ones of a parked saga. again: those that a person had done in another round."""

    saga: str
    status: str
    must: frozenset[str] = frozenset()
    may: frozenset[str] = frozenset()
    again: frozenset[str] = frozenset()


class Trouble(NamedTuple):
    """Something that does not fit."""

    saga: str
    what: str


def entries(rows: Iterable[Sequence[object]]) -> list[Entry]:
    """A ledger's rows as entries: saga, step, op, and if there are any cents and key, in the order written."""
    found = []
    for saga, step, op, *rest in rows:
        cents = int(str(rest[0])) if rest else 0
        found.append(Entry(str(saga), str(step), str(op), cents, str(rest[1]) if len(rest) > 1 else ""))
    return found


def check(
    ledger: Iterable[Entry], sagas: Iterable[Said], *, steps: Collection[str] | None = None, moving: bool = False
) -> list[Trouble]:
    """All that does not fit; empty where everything does.

    steps: those that write into this ledger; without them, those that are found in it. moving: sagas may still be on
    their way; of those that are, only what has happened twice is told.
    """
    lines: dict[str, dict[str, list[Entry]]] = defaultdict(lambda: defaultdict(list))
    for entry in ledger:
        lines[entry.saga][entry.step].append(entry)
    stems = {_stem(step) for of_saga in lines.values() for step in of_saga} if steps is None else set(steps)
    known = {said.saga: said for said in sagas}
    troubles = [Trouble(saga, "it is in the ledger, and there is no such saga") for saga in lines if saga not in known]
    for said in known.values():
        troubles += [Trouble(said.saga, what) for what in _of_saga(said, lines.get(said.saga, {}), stems, moving)]
    return troubles


async def sagas_in(database: str, *, namespace: str = "default") -> list[Said]:
    """What all sagas of a database say. Raises StoreError."""
    async with operations(database, namespace=namespace) as people:
        return [said async for said in _said(people)]


def said_of(saga: str, plan: Plan, state: State) -> Said:
    """What one saga says."""
    must, may, again = set[str](), set[str](), set[str]()
    for address, step in _effects(plan, state):
        if step.round > 1:
            again.add(address)
        if step.action.status is Action.SUCCEEDED and step.undo is None:
            must.add(address)
        elif _unsure(step):
            may.add(address)
    return Said(saga, str(state.status), frozenset(must), frozenset(may), frozenset(again))


async def _said(people: Operations) -> AsyncGenerator[Said, None]:
    before: str | None = None
    while True:
        page = await people.find(before=before, limit=PAGE)
        for line in page.sagas:
            plan, state = await people.flow(line.id)
            yield said_of(line.id, plan, state)
        if not page.more:
            return
        before = page.sagas[-1].id


def _of_saga(said: Said, lines: dict[str, list[Entry]], stems: Collection[str], moving: bool) -> Iterator[str]:
    rests = said.status in ENDED or said.status == Status.PARKED
    standing: set[str] = set()
    for step, of_step in lines.items():
        yield from _in_order(step, of_step, once=step not in said.again)
        if of_step[-1].op == DONE:
            standing.add(step)
        elif sum(entry.cents for entry in of_step):
            yield f"{step} is undone, and {sum(entry.cents for entry in of_step)} of its cents are not back"
    if not rests:
        if not moving:
            yield f"it has not ended: {said.status}"
        return
    for step in sorted(said.must):
        if _stem(step) in stems and step not in standing:
            yield f"it is {said.status}, and {step} is not in the ledger as done"
    for step in sorted(standing - said.must - said.may):
        yield f"it is {said.status}, and {step} stands in the ledger as done"


def _in_order(step: str, of_step: list[Entry], *, once: bool) -> Iterator[str]:
    """Done before undone, and each once; in another round once more."""
    stands, was_undone = False, False
    for entry in of_step:
        if entry.op not in (DONE, UNDONE):
            yield f"{step}: {entry.op!r} is neither {DONE!r} nor {UNDONE!r}"
        elif entry.op == DONE and stands:
            yield f"{step} is done twice"
        elif entry.op == DONE and was_undone and once:
            yield f"{step} is done after it was undone"
        elif entry.op == UNDONE and not stands:
            yield f"{step} is undone {'twice' if was_undone else 'and was never done'}"
        stands = entry.op == DONE
        was_undone = was_undone or entry.op == UNDONE


def _effects(plan: Plan, state: State) -> Iterator[tuple[str, StepState]]:
    """Every step that changes something, items one by one."""
    for node in walk(plan.root):
        if isinstance(node, StepNode) and not node.readonly:
            yield node.address, state.step(node.address)
        elif isinstance(node, EachNode) and not node.step.readonly and node.address in state.groups:
            for index in range(len(state.groups[node.address].items)):
                address = item_address(node.address, index)
                yield address, state.step(address)


def _unsure(step: StepState) -> bool:
    if Action.CLOSED is step.action.status or (step.undo is not None and step.undo.status is Undo.CLOSED):
        return True
    settled = step.undo is not None and step.undo.status in (Undo.COMPENSATED, Undo.VOID)
    return step.action.status in EFFECT_POSSIBLE and not settled


def _stem(step: str) -> str:
    return step.partition("[")[0]
