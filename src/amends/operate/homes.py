"""Operations on the choreographed sagas that a service has started: at their home, in its own database.

The verbs and the values are those of `operations.py`. What is shown is what the home was told: the beginning, then how
a saga ended, or why it rests. An act is kept at home; the participants there send it after the baton.

Guarantees: an act is answered by the service that has the saga. It is accepted, or TooLate, Refused, Changed,
UnknownSaga or NotAnswered is raised.
Must not: talk to a broker, or write anything but an act.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Never

from amends.decide.baton import Saga, Stand
from amends.decide.compensate import closed_by_hand, not_reached
from amends.decide.plan import Plan
from amends.decide.state import State
from amends.define.program import Program
from amends.errors import DefinitionError, Refused, UnknownSaga
from amends.operate import history
from amends.operate.acting import Acting, Seen
from amends.operate.homes_finding import PAGE, RESTING, Found, HomeLooking
from amends.operate.homes_sight import HomeRow, line_of, mails_of, possible
from amends.operate.operations import LIST_LIMIT
from amends.operate.redact import Veil, log_reveal
from amends.operate.services import Keeping, declared, keeping_of, opened, republish_in, signs_of
from amends.operate.sight import open_steps, result_of, steps_of
from amends.operate.values import Finding, Line, OpenStep, SagaView, StuckLine, StuckPage, Trouble
from amends.run.asking import check_id
from amends.run.mailbox import Wish
from amends.run.participant import Participant
from amends.run.wanted import Word, accepted, keep, said_to, unanswered

LOOK_SECONDS = 0.1
ANSWER_SECONDS = 30.0


class HomeOperations(Acting, HomeLooking):
    """What one may ask of the sagas that a service has started. keeping: its database, open. seconds: how long an act
    waits for its answer."""

    def __init__(self, participant: Participant, keeping: Keeping, seconds: float) -> None:
        self.service: str = participant.service.name
        self.keeping = keeping
        self._participant = participant
        self._routes = participant.built.routes
        self._transactions = keeping.transactions
        self._seconds = seconds

    # Reading

    async def show(self, saga_id: str, *, reveal: bool = False, reader: str = "") -> SagaView:
        """All that its home knows of one saga; marked fields masked, unless they are to be revealed, which is logged.
        Raises UnknownSaga."""
        log_reveal(saga_id, reader, reveal=reveal)
        row = await self._row(saga_id, reveal=reveal)
        mails = mails_of(await self._marks(row))
        state, plan = row.state, row.plan
        return SagaView(
            line_of(row),
            plan,
            state,
            state.input,
            result_of(plan, state),
            steps_of(plan, state),
            history.lines(plan, row.rows, mails),
            tuple(OpenStep(u.step, str(u.action), str(u.undo or ""), u.reason) for u in open_steps(plan, state)),
            not_reached(plan, state) if not state.ended else (),
            closed_by_hand(state),
            possible(row),
            sum(mail.answer is None for mail in mails),
        )

    async def history(
        self, saga_id: str, *, after: int = 0, reveal: bool = False, reader: str = ""
    ) -> tuple[Line, ...]:
        """The history of one saga as its home was told it last, without its first `after` lines; as `show`. Raises
        UnknownSaga."""
        log_reveal(saga_id, reader, reveal=reveal)
        row = await self._row(saga_id, reveal=reveal)
        return history.lines(row.plan, row.rows, mails_of(await self._marks(row)))[after:]

    async def flow(self, saga_id: str) -> tuple[Plan, State]:
        """The plan that a saga runs on, and where it stands, as its home was told last. Raises UnknownSaga."""
        row = await self._row(saga_id)
        return row.plan, row.state

    async def stuck(self, *, limit: int = LIST_LIMIT, troubles: Collection[Trouble] = ()) -> StuckPage:
        """The sagas that wait for somebody: parked, or with a service that does not know their plan. troubles: only
        these kinds."""
        wanted = {stand: trouble for stand, trouble in RESTING.items() if not troubles or trouble in troubles}
        rows, more = await self._rows(set(wanted), (), None, limit)
        lines = [(line_of(row), wanted[row.stand]) for row in rows]
        found = [StuckLine(line, trouble, line.stalled or line.reason) for line, trouble in lines]
        return StuckPage(tuple(found), more)

    async def doctor(self) -> tuple[Finding, ...]:
        """How the service fares, as far as its code and its database say. Raises DefinitionError, StoreError."""
        return (*declared(self._participant), *signs_of(self.keeping, await self.sizes()))

    def plans(self) -> tuple[Plan, ...]:
        """The definitions that the service knows, by name; of one name the newest last."""
        return tuple(sorted((route.plan for route in self._routes.values()), key=lambda plan: plan.name))

    async def program(self, saga_id: str) -> Program | None:
        """The definition of a saga, where the code has it. Raises UnknownSaga."""
        row = await self._row(saga_id)
        return None if row.route is None else row.route.program

    # Acting

    async def republish(self, *, since_seconds: float) -> int:
        """Have the events that the service published in the last `since_seconds` published again by its participants;
        gives how many. Raises StoreError."""
        return await republish_in(self.keeping, since_seconds)

    async def _ask(self, saga_id: str, wish: Wish, message: str | None) -> str:
        if wish.verb == "signal":
            await self._row(saga_id)
            raise Refused(f"{saga_id}: it is choreographed, and a choreographed saga waits for no signal")
        kept = await keep(self._transactions, self.service, check_id(saga_id), wish, message=message, seconds=0.0)
        word = kept if isinstance(kept, Word) else None
        try:
            async with asyncio.timeout(self._seconds):
                while word is None and not isinstance(kept, Word):
                    word = await said_to(self._transactions, kept)
                    if word is None:
                        await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError:
            await self._unanswered(saga_id, wish.verb)
        assert word is not None  # noqa: S101  # else the time was over
        return accepted(saga_id, word).detail

    async def _seen(self, saga_id: str) -> Seen:
        row = await self._row(saga_id)
        program = None if row.route is None else row.route.program
        as_of = "as its home was told last; it may have gone on since" if row.moves else ""
        return Seen(row.plan, row.state, len(row.rows), time.time(), program=program, as_of=as_of)

    async def _unanswered(self, saga_id: str, verb: str) -> Never:
        unanswered(saga_id, verb, self.service, self._seconds, (await self._row(saga_id)).holder)

    # Its database

    def _plans(self) -> Iterable[Plan]:
        return (route.plan for route in self._routes.values())

    def _check_names(self, names: Sequence[str]) -> None:
        known = sorted({name for name, _ in self._routes})
        for name in names:
            if name not in known:
                there = ", ".join(known)
                raise UnknownSaga(f"no saga that {self.service} knows is called {name!r}; there are: {there}")

    async def _rows(
        self, stands: Collection[str], plans: Sequence[str], before: str | None, limit: int = PAGE
    ) -> Found:
        wanted = {"service": self.service, "stands": sorted(stands), "plans": list(plans) or None, "before": before}
        name = "home_list" if Stand.ENDED in stands else "home_list_open"
        rows = await self._transactions.ask(name, json.dumps(wanted), limit + 1)
        made = tuple(self._made(str(row[6]), *row[:6]) for row in rows[:limit])
        return Found(made, len(rows) > limit)

    async def _row(self, saga_id: str, *, reveal: bool = False) -> HomeRow:
        place = json.dumps({"service": self.service, "key": check_id(saga_id)})
        rows = await self._transactions.ask("home_at", place)
        if not rows:
            raise UnknownSaga(f"the service {self.service} has started no saga {saga_id!r:.80}")
        return self._made(saga_id, *rows[0], reveal=reveal)

    def _made(
        self,
        key: str,
        id_: str,
        plan: str,
        fingerprint: str,
        stand: str,
        first: str,
        told: str,
        *,
        reveal: bool = False,
    ) -> HomeRow:
        saga = Saga(bytes.fromhex(id_), key, plan, fingerprint, self.service)
        veil = Veil((route.plan for (name, _), route in self._routes.items() if name == plan), reveal=reveal)
        return HomeRow(saga, stand, told.encode(), self._routes.get((plan, fingerprint)), veil)

    async def _marks(self, row: HomeRow) -> Sequence[Sequence[object]]:
        return await self._transactions.ask("home_marks", row.saga.id.hex(), self.service)


@asynccontextmanager
async def home_operations(
    participant: Participant, *, at: Keeping | None = None, answer_seconds: float | None = None
) -> AsyncGenerator[HomeOperations, None]:
    """Operations on the sagas that a participant has started, whether or not it is at work here. at: another database
    than the participant's own.

    answer_seconds: how long an act waits for its answer. Raises StoreError, DefinitionError.
    """
    if not participant.built.routes:
        raise DefinitionError(
            f"{participant!r} knows no choreographed sagas, and starts none: it is the home of none. Name the "
            "participant of the service that has started the saga, which was given it: Participant(…, sagas=[…])"
        )
    seconds = ANSWER_SECONDS if answer_seconds is None else answer_seconds
    keeping = keeping_of(participant) if at is None else at
    async with opened(keeping):
        yield HomeOperations(participant, keeping, seconds)
