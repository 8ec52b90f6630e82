"""Seeing sagas: heads, journals and plans of the store, as the values that operations give.

Guarantees: reads in single short statements; what it tells of one saga is of one moment.
Must not: write, or need the code that runs the sagas.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress

from amends.decide.compensate import Unsettled, closed_by_hand, not_reached, unsettled
from amends.decide.plan import EachNode, Node, PivotNode, Plan, StepNode, from_json, item_address, walk
from amends.decide.state import Action, State, Status, StepState
from amends.decide.watching import sketch, watched_of
from amends.errors import StoreDamaged, UnknownSaga
from amends.operate import history
from amends.operate.preview import acts
from amends.operate.redact import Veil, openable
from amends.operate.silence import awaited, silence
from amends.operate.values import Line, OpenStep, SagaLine, SagaView, StepLine
from amends.run import journal
from amends.run.crew import Crew, crew_of
from amends.run.session import Session, state_of
from amends.store.base import Loaded, SagaRow


class Sight:
    """What one session can see."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._plans: dict[int, Plan] = {}
        self.waits: dict[SagaRow, Sequence[str]] = {}  # for which signals: of the heads that were looked at last

    async def refresh(self) -> None:
        """Learn of plans that were registered meanwhile."""
        await self.session.plans.refresh(self.session.store)

    def name_of(self, number: int) -> str:
        """The definition that a plan is of."""
        return self.session.plans.name_of(number)

    def numbers(self, names: Sequence[str]) -> tuple[int, ...]:
        """The plans of some definitions. Raises UnknownSaga for a name that none has."""
        rows = self.session.plans.rows
        known = sorted({row.name for row in rows.values()})
        for name in names:
            if name not in known:
                raise UnknownSaga(
                    f"no saga in this database is called {name!r}; there are: {', '.join(known) or 'none'}"
                )
        return tuple(number for number, row in rows.items() if row.name in names)

    def plan_of(self, number: int) -> Plan:
        """A stored plan. Raises StoreDamaged where it is not there or cannot be read."""
        if number not in self._plans:
            row = self.session.plans.rows.get(number)
            if row is None:
                raise StoreDamaged(f"the plan number {number} is not in the database")
            try:
                self._plans[number] = from_json(row.body)
            except (KeyError, TypeError, ValueError) as error:
                raise StoreDamaged(
                    f"the plan of {row.name!r} cannot be read ({error}); was it written by a newer amends?"
                ) from None
        return self._plans[number]

    def plan_for(self, loaded: Loaded) -> Plan:
        """The plan of a saga; where its watcher does not know it, what its history tells of it."""
        row = self.session.plans.rows.get(loaded.head.plan)
        watched = None if row is None else watched_of(row.fingerprint)
        if row is None or watched is None or watched.known:
            return self.plan_of(loaded.head.plan)
        named = watched._replace(known=True).text
        for number, other in self.session.plans.rows.items():
            if other.fingerprint == named:
                return self.plan_of(number)
        return sketch(row.name, (event for raw in loaded.rows for event in journal.decode(raw).events))

    def plans_like(self, number: int) -> Iterator[Plan]:
        """The stored plans of the same name that can be read; none of what was only told."""
        name = self.name_of(number)
        for other, row in self.session.plans.rows.items():
            if row.name == name:
                with suppress(StoreDamaged):
                    yield self.plan_of(other)

    async def head(self, saga_id: str) -> SagaRow:
        """The head of a saga. Raises UnknownSaga."""
        found = await self.session.store.head(saga_id)
        if found is None:
            raise UnknownSaga(f"there is no saga with the id {saga_id!r} in this namespace")
        return found

    async def load(self, saga_id: str, *, reveal: bool = False) -> Loaded:
        """A saga with its journal; what is secret in its payloads is masked, unless it is to be revealed. Raises
        UnknownSaga."""
        loaded = await self.session.store.load(saga_id)
        if loaded is None:
            raise UnknownSaga(f"there is no saga with the id {saga_id!r} in this namespace")
        if loaded.head.plan not in self.session.plans.rows:
            await self.refresh()
        return self._shown(loaded, reveal=reveal)

    def _shown(self, loaded: Loaded, *, reveal: bool) -> Loaded:
        """A saga as a person is shown it. What was marked later, or in another version, is masked too."""
        veil = Veil(self.plans_like(loaded.head.plan), reveal=reveal)
        seal = None if self.session.seals is None else self.session.seals.saga(loaded.head.id)
        return loaded._replace(rows=tuple(veil.rows(openable(loaded.rows, seal))))

    async def flow(self, saga_id: str) -> tuple[Plan, State]:
        """The plan that a saga runs on, and where it stands."""
        loaded = await self.load(saga_id)
        return self.plan_for(loaded), state_of(loaded)

    async def history(self, saga_id: str, *, reveal: bool = False) -> tuple[Line, ...]:
        """What happened to a saga."""
        loaded = await self.load(saga_id, reveal=reveal)
        mails = await self.session.store.mail(loaded.head.id)
        return history.lines(self.plan_for(loaded), loaded.rows, mails)

    async def view(self, saga_id: str, *, reveal: bool = False) -> SagaView:
        """All that is known of a saga."""
        loaded = await self.load(saga_id, reveal=reveal)
        mails = await self.session.store.mail(loaded.head.id)
        plan, state = self.plan_for(loaded), state_of(loaded)
        crew = await self.crew()
        home = crew.home(loaded.head.plan)
        live = frozenset(row.id for row in crew.live)
        return SagaView(
            (await self.told(loaded.head, crew))._replace(version=len(loaded.rows)),
            plan,
            state,
            state.input,
            result_of(plan, state),
            steps_of(plan, state),
            history.lines(plan, loaded.rows, mails),
            tuple(OpenStep(u.step, str(u.action), str(u.undo or ""), u.reason) for u in open_steps(plan, state)),
            not_reached(plan, state) if not state.ended else (),
            closed_by_hand(state),
            () if home else acts(plan, state, self.session.store.now(), live),
            sum(mail.answer is None for mail in mails),
        )

    async def crew(self) -> Crew:
        """The workers, and what they run."""
        await self.refresh()
        return await crew_of(self.session.store, self.session.plans.rows)

    def line(self, row: SagaRow, crew: Crew) -> SagaLine:
        """A head as a line of a list."""
        return line_of(row, self.name_of(row.plan), crew.nobody(row), crew.home(row.plan))

    async def versioned(self, rows: Sequence[SagaRow]) -> list[tuple[SagaRow, int]]:
        """Sagas as they are now, each with a version that it had before: whoever acts on what they see here, and means
        that version, cannot mean one that they have not seen. Without those that are gone."""
        if not rows:
            return []
        store, names = self.session.store, [row.id for row in rows]
        lengths = await store.lengths(names)  # first: a version that is older than the head harms nobody
        heads = {row.id: row for row in await store.finder.heads(names)}
        return [(heads[name], length) for name, length in zip(names, lengths, strict=True) if name in heads]

    async def told(self, row: SagaRow, crew: Crew) -> SagaLine:
        """The same; of one that is silent, with who did not react."""
        line = self.line(row, crew)
        if not crew.silent(row):
            return line
        loaded = await self.session.store.load(row.key)
        return line if loaded is None else line._replace(silent=silence(self.plan_for(loaded), loaded))


def open_steps(plan: Plan, state: State) -> Sequence[Unsettled]:
    """The steps that are not settled, of a saga that has not ended well."""
    return () if state.ended or not (state.parked or state.turned) else unsettled(plan, state)


def result_of(plan: Plan, state: State) -> bytes | None:
    """The result of a completed saga, as it is stored; that of a `for_each` is its items' list."""
    if plan.output is None or state.status is not Status.COMPLETED:
        return None
    group = state.groups.get(plan.output)
    if group is None:
        return state.step(plan.output).result
    steps = (state.step(item_address(plan.output, index)) for index in range(len(group.items)))
    return b"[" + b",".join(_item_result(step) for step in steps) + b"]"


def _item_result(step: StepState) -> bytes:
    if step.action.status is Action.REJECTED:
        return json.dumps({"rejected": step.action.reason}).encode()
    return step.result or b"null"


def line_of(row: SagaRow, name: str, stranded: str, home: str = "") -> SagaLine:
    """A head as a line of a list. home: of one that is only watched here; its `wake_at` is when it falls silent."""
    return SagaLine(
        row.key,
        name,
        row.status,
        row.created_at,
        row.updated_at,
        row.wake_at if row.owner is None and row.status in ("running", "compensating") and not home else None,
        row.owner,
        row.reason or "",
        row.stuck or "",
        row.stalled or "",
        stranded,
        home,
        fingerprint=row.fingerprint or "",
        step=row.step or "",
        assigned=row.assigned or "",
        note=row.note or "",
    )


def steps_of(plan: Plan, state: State) -> tuple[StepLine, ...]:
    """Every node with an address, in flow order; of a `for_each` also the items that are not
    simply done."""
    found: list[StepLine] = []
    for node in walk(plan.root):
        address = getattr(node, "address", "")
        if not address or isinstance(node, PivotNode):
            continue
        place = str(getattr(node, "place", ""))
        items = items_of(node, state) if isinstance(node, EachNode) else ()
        found.append(_step(plan, state, address, place, items))
        if isinstance(node, EachNode) and node.address in state.groups:
            count = len(state.groups[node.address].items)
            each = (item_address(node.address, index) for index in range(count))
            found.extend(_step(plan, state, item, place, ()) for item in each if not plain(state, item))
    return tuple(found)


def plain(state: State, item: str) -> bool:
    """Whether there is nothing to say of an item."""
    step = state.step(item)
    return step.undo is None and step.action.status in (Action.PENDING, Action.SUCCEEDED)


def items_of(node: EachNode, state: State) -> tuple[tuple[str, int], ...]:
    """How many items of a `for_each` are in which status."""
    group = state.groups.get(node.address)
    if group is None:
        return ()
    steps = (state.step(item_address(node.address, index)) for index in range(len(group.items)))
    return tuple(sorted(Counter(str((step.undo or step.action).status) for step in steps).items()))


def command_of(node: Node | None) -> str:
    """The command that does a step, or the items of a `for_each`: `inventory.reserve-stock`; empty for a local one."""
    step = node.step if isinstance(node, EachNode) else node
    return step.command if isinstance(step, StepNode) else ""


def _step(plan: Plan, state: State, address: str, place: str, items: tuple[tuple[str, int], ...]) -> StepLine:
    step = state.step(address)
    action, undo = step.action, step.undo
    shown = action if undo is None else undo
    return StepLine(
        address,
        history.kind_of(plan, address),
        place,
        str(shown.status),
        str(action.status),
        "" if undo is None else str(undo.status),
        action.attempts,
        0 if undo is None else undo.attempts,
        step.round,
        awaited(shown.due),
        shown.reason,
        step.result,
        items,
        command_of(plan.node(address)),
    )
