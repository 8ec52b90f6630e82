"""What is wrong with how a saga is decided, and with how it is run."""

from __future__ import annotations

from typing import Any

import pytest
from wrong_engine import wrong

import mutants
from amends.decide import compensate
from amends.decide import events as e
from amends.decide.draft import Draft
from amends.decide.events import Phase
from amends.decide.policy import Policy
from amends.decide.state import Action
from amends.run import live, plans

Patch = pytest.MonkeyPatch
SIMULATION = "tests/testing/test_simulate.py::test_every_law_holds_for_a_slice_of_seeds[1000000]"


@wrong(4, "P4", SIMULATION, "was called before that attempt was written")
def a_step_begins_before_its_decision_is_written(patch: Patch) -> None:
    """A step begins before the decision that issues it, and with it the intent to undo it, is on disk."""
    mutants.an_attempt_starts_before_it_is_written(patch)


@wrong(
    4,
    "P4",
    "tests/run/test_remote_steps.py::test_a_command_leaves_only_once_its_decision_is_on_disk",
    "assert ([Command(",
)
def a_command_leaves_before_its_decision_is_written(patch: Patch) -> None:
    """A command leaves for its service before the decision that issues it is on disk."""
    start, write, begin = live.Live.start, live.Live._write, live.Live.begin
    gone: set[tuple[bytes, str, Phase, int]] = set()

    def send(self: live.Live, decision: Any) -> None:
        for event in decision.events:
            if isinstance(event, e.Sent):
                self.begin(event.address, event.phase)

    def start_and_send(self: live.Live, *given: Any) -> None:
        decision = self._first
        start(self, *given)
        send(self, decision)

    def write_and_send(self: live.Live, decision: Any, *more: Any) -> None:
        write(self, decision, *more)
        send(self, decision)

    def begin_once(self: live.Live, address: str, phase: Phase) -> None:
        command = (self.id, address, phase, self.known(address).track(phase).attempts)
        if command not in gone:
            begin(self, address, phase)
            if self.program.plan.step(address).remote:
                gone.add(command)

    patch.setattr(live.Live, "start", start_and_send)
    patch.setattr(live.Live, "_write", write_and_send)
    patch.setattr(live.Live, "begin", begin_once)


@wrong(
    5,
    "P3",
    "tests/run/test_settle.py::test_a_timeout_asks_async_code_to_stop_and_the_next_attempt_waits_for_its_return",
    "cause='rejected'",
)
def a_timeout_means_that_it_failed(patch: Patch) -> None:
    """An attempt that was stopped by its timeout counts as a definite no, so that nothing is undone."""
    mutants.a_timeout_is_taken_for_a_rejection(patch)


@wrong(10, "P1", SIMULATION.partition("[")[0], "its head says compensated, its journal completed")
def a_cancel_overwrites_completed(patch: Patch) -> None:
    """A cancel that comes after the end turns `completed` into `compensated`."""
    mutants.a_cancel_overwrites_the_end(patch)


@wrong(
    11,
    "P2, P3",
    "tests/decide/test_settle.py::test_a_sibling_that_waits_for_its_next_attempt_is_unknown_when_the_saga_goes_back",
    "assert set() == {'b'}",
)
def only_finished_siblings_are_undone(patch: Patch) -> None:
    """Going back undoes the branches that have finished, and forgets those of which nothing is known."""
    honest = compensate._undo

    def undo(draft: Draft, node: Any, address: str) -> bool:
        step = draft.state.steps.get(address)
        if step is not None and step.undo is None and step.action.status is not Action.SUCCEEDED:
            return True
        return honest(draft, node, address)

    patch.setattr(compensate, "_undo", undo)


@wrong(
    12,
    "P1",
    "tests/decide/test_going_back.py::test_these_make_a_compensation_stuck_at_once[parks]",
    "is <Undo.STUCK",
)
def a_failed_undo_is_reported_as_compensated(patch: Patch) -> None:
    """An undo that failed to the end counts as done."""
    mutants.a_failed_undo_counts_as_done(patch)


@wrong(
    17,
    "P7",
    "tests/run/test_mixed_versions.py::test_a_form_that_stays_registered_just_as_it_was_runs_its_own_sagas_and_the_new_one_is_started[old]",
    "is ('old' == 'new'",
)
def the_pinned_version_is_ignored(patch: Patch) -> None:
    """A saga runs on whatever this worker has under its name, whether that fits or not."""

    def program_for(self: plans.Plans, number: int, state: Any) -> tuple[Any, str]:
        row = self._rows[number]
        if row.name not in self._registry.names:
            return None, "no such saga"
        return self._registry.named(row.name).program, ""

    patch.setattr(plans.Plans, "program_for", program_for)


@wrong(19, "P1", "tests/decide/test_policy.py::test_delays_double_by_default", "assert [0.2, 0.2, 0.4, 0.8, 1.6]")
def the_pause_between_attempts_has_no_cap(patch: Patch) -> None:
    """Each pause is a multiple of the one before, however long that becomes."""

    def delay(self: Policy, attempts_made: int, share: float = 0.0) -> float:
        return self.first_delay * self.factor ** min(max(attempts_made - 1, 0), 300) * (1.0 - self.jitter * share)

    patch.setattr(Policy, "delay", delay)
