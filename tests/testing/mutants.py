"""Wrong engines, one wrong thing each: what the simulation is there to catch.

Each is put in place with monkeypatch, in the test alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from amends.decide import compensate, decide, evolve, forward, mail, outcome, policy
from amends.decide import events as e
from amends.decide import messages as m
from amends.decide.draft import Draft
from amends.decide.events import Phase
from amends.decide.plan import SequenceNode
from amends.decide.state import Action, Status
from amends.define import context
from amends.define.outcome import Completed
from amends.errors import StoreUnavailable
from amends.run import attempt, committer, live, outcomes, ownership
from amends.store.base import Fate, NewMail, WorkerInfo, WorkerRow, Write
from amends.store.memory import MemoryDatabase, MemoryStore

Patch = pytest.MonkeyPatch
MUTANTS: list[Callable[[Patch], None]] = []


def mutant(put: Callable[[Patch], None]) -> Callable[[Patch], None]:
    """One more of them."""
    MUTANTS.append(put)
    return put


@mutant
def a_timeout_is_taken_for_a_rejection(patch: Patch) -> None:
    honest = attempt.failure

    def failure(the_attempt: Any, error: BaseException, runner: Any, **more: Any) -> Any:
        if isinstance(error, asyncio.CancelledError) and not the_attempt.stopping:
            return m.No(the_attempt.address, the_attempt.phase, "timed out", sure=True)
        return honest(the_attempt, error, runner, **more)

    patch.setattr(attempt, "failure", failure)


@mutant
def an_unknown_step_is_not_undone(patch: Patch) -> None:
    from amends.decide import state

    sure = frozenset({Action.SUCCEEDED, Action.STUCK})
    patch.setattr(state, "EFFECT_POSSIBLE", sure)
    patch.setattr(compensate, "EFFECT_POSSIBLE", sure)


@mutant
def a_decision_is_written_though_the_saga_has_moved(patch: Patch) -> None:
    honest = MemoryDatabase.write

    def write(self: MemoryDatabase, given: Write, lost: set[bytes]) -> Fate:
        return honest(self, given._replace(seq=len(self.journal.get(given.saga, []))), lost)

    patch.setattr(MemoryDatabase, "write", write)


@mutant
def a_retired_worker_may_write(patch: Patch) -> None:
    def alive(self: MemoryStore, worker: int) -> WorkerRow:
        return self._db.workers[worker]

    patch.setattr(MemoryStore, "_alive", alive)


@mutant
def a_saga_is_taken_over_before_its_worker_is_retired(patch: Patch) -> None:
    async def retire_expired(self: MemoryStore, worker: int) -> list[int]:
        db = self._db
        owners = {saga.owner for saga in db.sagas.values() if saga.owner is not None}
        return sorted(owner for owner in owners if owner != worker and db.workers[owner].expires_at < db.clock())

    async def adopt(self: MemoryStore, worker: int, gone: int, limit: int) -> Any:
        owned = [saga for saga in self._db.sagas.values() if saga.owner == gone]
        return [self._own(saga, worker) for saga in owned[:limit]]

    patch.setattr(MemoryStore, "retire_expired", retire_expired)
    patch.setattr(MemoryStore, "adopt", adopt)


@mutant
def undos_run_in_the_order_of_the_plan(patch: Patch) -> None:
    honest = compensate.retreat

    def retreat(the_draft: Draft, node: Any) -> bool:
        if isinstance(node, SequenceNode):
            return all(retreat(the_draft, child) for child in node.nodes)
        return honest(the_draft, node)

    patch.setattr(compensate, "retreat", retreat)
    patch.setattr(decide, "retreat", retreat)


@mutant
def a_failed_undo_counts_as_done(patch: Patch) -> None:
    honest = outcome.take_failure

    def take_failure(the_draft: Draft, message: m.Failure, **more: Any) -> None:
        if message.phase is Phase.UNDO and outcome._open(the_draft, message.address, Phase.UNDO):
            the_draft.emit(e.Undone(message.address))
        else:
            honest(the_draft, message, **more)

    patch.setattr(outcome, "take_failure", take_failure)
    patch.setattr(decide, "take_failure", take_failure)


@mutant
def an_attempt_starts_before_it_is_written(patch: Patch) -> None:
    honest = live.Live._write

    def write(self: live.Live, decision: Any, *more: Any) -> None:
        honest(self, decision, *more)
        for event in decision.events:
            if isinstance(event, e.Issued):
                self.begin(event.address, event.phase)

    patch.setattr(live.Live, "_write", write)


@mutant
def a_cancel_turns_a_saga_that_has_passed_its_pivot(patch: Patch) -> None:
    def take_cancel(the_draft: Draft, message: m.Cancel) -> None:
        if the_draft.state.turned is None:
            forward.turn_back(the_draft, e.Cause.CANCELLED, "", message.reason)
        the_draft.accept(message.mail)

    patch.setattr(evolve, "_check_side", lambda *_: None)
    patch.setattr(mail, "take_cancel", take_cancel)


@mutant
def a_cancel_overwrites_the_end(patch: Patch) -> None:
    honest = MemoryDatabase.send

    def send(self: MemoryDatabase, mail: NewMail) -> Any:
        saga = self.keys.get(mail.key)
        if mail.kind == "cancel" and saga is not None and self.sagas[saga].status == "completed":
            self.sagas[saga] = self.sagas[saga]._replace(status="compensated")
        return honest(self, mail)

    patch.setattr(MemoryDatabase, "send", send)


@mutant
def a_cancel_is_accepted_and_forgotten(patch: Patch) -> None:
    def take_cancel(the_draft: Draft, message: m.Cancel) -> None:
        the_draft.accept(message.mail)

    patch.setattr(mail, "take_cancel", take_cancel)


@mutant
def a_signal_is_accepted_and_forgotten(patch: Patch) -> None:
    def take_signal_mail(the_draft: Draft, message: m.Signal) -> None:
        the_draft.accept(message.mail)

    patch.setattr(mail, "take_signal_mail", take_signal_mail)


@mutant
def an_operators_act_is_accepted_and_forgotten(patch: Patch) -> None:
    def take_operate(the_draft: Draft, message: m.Operate) -> None:
        the_draft.accept(message.mail)

    patch.setattr(mail, "take_operate", take_operate)


@mutant
def a_start_is_acknowledged_before_it_is_written(patch: Patch) -> None:
    async def write(self: committer.Committer, writes: list[Write]) -> list[Fate]:
        try:
            return await self._store.commit(self._worker, writes)
        except StoreUnavailable:
            return [Fate.WRITTEN for _ in writes]

    patch.setattr(committer.Committer, "_write", write)


@mutant
def a_key_depends_on_the_attempt(patch: Patch) -> None:
    def key(self: context.Context) -> str:
        return f"{self.saga_id} {self.address} {self.phase} {self.round} {self.attempt}"

    patch.setattr(context.Context, "key", property(key))


@mutant
def a_parked_saga_hides_what_is_unsettled(patch: Patch) -> None:
    honest = compensate.unsettled
    patch.setattr(outcomes, "unsettled", lambda plan, state: honest(plan, state)[:-1])


@mutant
def a_parked_saga_lists_what_is_settled(patch: Patch) -> None:
    honest = compensate.unsettled

    def unsettled(plan: Any, state: Any) -> Any:
        done = (address for address, step in state.steps.items() if step.undo is not None or state.passed)
        found = tuple(compensate.Unsettled(address, Action.SUCCEEDED, None, "") for address in done)
        return honest(plan, state) + found

    patch.setattr(outcomes, "unsettled", unsettled)


@mutant
def a_worker_that_came_back_counts_as_dead(patch: Patch) -> None:
    patch.setattr(ownership, "_not_died", lambda live, gone, fates: frozenset())


@mutant
def a_worker_that_died_does_not_count(patch: Patch) -> None:
    patch.setattr(ownership, "_not_died", lambda live, gone, fates: frozenset(fates))


@mutant
def a_step_begins_before_the_one_before_it_is_done(patch: Patch) -> None:
    honest = forward.advance

    def advance(the_draft: Draft, node: Any) -> bool:
        if isinstance(node, SequenceNode):
            done = [advance(the_draft, child) for child in node.nodes]
            return all(done)
        return honest(the_draft, node)

    patch.setattr(forward, "advance", advance)
    patch.setattr(decide, "advance", advance)


@mutant
def undos_begin_while_actions_are_in_flight(patch: Patch) -> None:
    honest = decide._move

    def move(the_draft: Draft) -> None:
        running, the_draft.state.running = the_draft.state.running, 0
        if the_draft.state.status is not Status.COMPENSATING:
            the_draft.state.running = running
        honest(the_draft)

    patch.setattr(decide, "_move", move)


@mutant
def a_rejection_after_an_unresolved_attempt_is_believed(patch: Patch) -> None:
    honest = outcome.take_no

    def take_no(the_draft: Draft, message: m.No) -> None:
        honest(the_draft, message._replace(sure=True))

    patch.setattr(decide, "take_no", take_no)


@mutant
def a_timer_is_forgotten_when_its_saga_leaves_the_memory(patch: Patch) -> None:
    honest = MemoryDatabase.write

    def write(self: MemoryDatabase, given: Write, lost: set[bytes]) -> Fate:
        if given.head is not None and given.head.owner is None and given.new is None:
            given = given._replace(head=given.head._replace(wake_at=None))
        return honest(self, given, lost)

    patch.setattr(MemoryDatabase, "write", write)


@mutant
def a_waiter_is_told_of_an_end_that_is_not_one(patch: Patch) -> None:
    honest = outcomes.outcome_of

    def outcome_of(program: Any, state: Any) -> Any:
        return Completed(None) if state.status is Status.PARKED else honest(program, state)

    from amends.run import session

    patch.setattr(session, "outcome_of", outcome_of)


@mutant
def a_lost_registration_is_renewed(patch: Patch) -> None:
    async def renew(self: MemoryStore, worker: int, info: WorkerInfo) -> bool:
        row = self._db.workers[worker]
        self._db.workers[worker] = row._replace(expires_at=self._db.clock() + info.lease_seconds, retired_at=None)
        return True

    patch.setattr(MemoryStore, "renew", renew)


@mutant
def a_delay_between_attempts_is_not_kept(patch: Patch) -> None:
    patch.setattr(forward, "_due", lambda the_draft, due: True)


@mutant
def attempts_are_not_counted(patch: Patch) -> None:
    patch.setattr(policy.Policy, "allows", lambda self, attempts: True)


@mutant
def the_limit_of_items_is_not_kept(patch: Patch) -> None:
    honest = forward._each

    def each(the_draft: Draft, node: Any) -> bool:
        return honest(the_draft, replace(node, limit=1000))

    patch.setattr(forward, "_each", each)
