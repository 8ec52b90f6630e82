"""The rules of remote steps, proved over all interleavings before the participant was written.

`docs/internals/barrier.md` says what the model is, what it has found, and what it does not say.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterator
from functools import cache

import barrier_model_mutants as mutants
import pytest
from barrier_model import Model, Participant, Report, Turn, explore
from barrier_model_core import LAST, Core, remote
from barrier_model_saga import OneStep, Sent
from barrier_model_scopes import BAG, LARGE, ONE, SMALL, Setting

from amends.decide.events import ACTION, Phase

SETTINGS = LARGE if os.environ.get("AMENDS_BARRIER") == "large" else SMALL


@cache
def seen(name: str) -> Report:
    """What is seen in one of the settings; it is a value."""
    return SETTINGS[name].explored()


@pytest.mark.parametrize("name", SETTINGS)
def test_no_interleaving_breaks_a_promise_and_every_saga_comes_to_rest(
    name: str, record_property: Callable[[str, object], None]
) -> None:
    report = seen(name)
    record_property("worlds", report.worlds)

    assert report.path == (), "\n".join(report.path)
    assert report.worlds >= SETTINGS[name].least, f"the model has lost most of its worlds and proves nothing: {report}"


@pytest.mark.parametrize(
    ("name", "statuses"),
    [
        ("a step", {"completed", "compensated", "parked"}),
        ("rounds", {"completed", "compensated", "parked"}),
        ("rounds after the pivot", {"completed", "parked"}),
        ("the core, two steps", {"completed", "compensated", "parked"}),
        ("the core, rounds", {"completed", "parked"}),
    ],
)
def test_every_end_is_really_reached(name: str, statuses: set[str]) -> None:
    assert set(seen(name).ends) == statuses


@pytest.mark.parametrize("name", ["a network that drains", "the core, a network that drains"])
def test_once_nothing_is_on_its_way_the_saga_has_ended_or_is_parked(name: str) -> None:
    report = seen(name)

    assert report.path == (), "\n".join(report.path)
    assert report.quiet >= 15, "hardly any history comes to an end"


def in_settings(*names: str) -> list[Setting]:
    """Some of the settings that the tests explore."""
    return [SMALL[name] for name in names]


STEP, CORE = in_settings("a step", "the core, people")
PEOPLE, LATER, HASTE = in_settings("rounds", "rounds after the pivot", "people in haste")
LOST, CORE_LOST = in_settings("the inbox is lost", "the core, the inbox is lost")
HORIZON = SMALL["the core, a horizon"]


@pytest.mark.parametrize(
    ("participant", "setting", "wrong"),
    [
        (mutants.ROW_PER_PHASE, STEP, "an action is committed after its compensation"),
        (mutants.ROW_PER_PHASE, CORE, "an action is committed after its compensation"),
        (mutants.NO_TOMBSTONE, STEP, "stands, and its sender was told that none does"),
        (mutants.NO_TOMBSTONE, CORE, "stands, and its sender was told that none does"),
        (mutants.UNDOES_NOTHING, STEP, "an undo runs without what its action gave"),
        (mutants.UNDOES_NOTHING, CORE, "an undo runs without what its action gave"),
        (mutants.ACTS_AGAIN, STEP, "two effects of step 0, round 1"),
        (mutants.ACTS_AGAIN, CORE, "two effects of step 0, round 1"),
        (mutants.UNDOES_AGAIN, STEP, "an effect is undone twice"),
        (mutants.UNDOES_AGAIN, CORE, "an effect is undone twice"),
        (mutants.FORGETS_REJECTIONS, STEP, "stands, and its sender was told that none does"),
        (mutants.FORGETS_REJECTIONS, CORE, "stands, and its sender was told that none does"),
        (mutants.FORGETS_WHAT_WAS_UNDONE, STEP, "an action is answered as before, though it was undone"),
        (mutants.ACTS_ON_WHAT_IS_OLD, STEP, "stands, and its sender was told that none does"),
        (mutants.ACTS_ON_WHAT_IS_OLD, HORIZON, "stands, and its sender was told that none does"),
        (mutants.BLIND_TO_HIGHER_ROUNDS, PEOPLE, "an action begins in a round that a later one has replaced"),
        (mutants.BLIND_TO_LOWER_ROUNDS, HASTE, "two rounds of step 0 stand"),
        (mutants.BURIES_NOTHING, HASTE, "two rounds of step 0 stand"),
        (mutants.BURIES_NOTHING, PEOPLE, "an action is committed in a round after one of a later round"),
        (mutants.DEAF_TO_THE_OPERATOR, LATER, "a round is held up by one that nobody has to settle"),
        (mutants.NOTHING_IS_MISSING, LOST, "the saga is compensated and says that step 0, round 1 does not stand"),
        (mutants.NOTHING_IS_MISSING, CORE_LOST, "the saga is compensated and says that step 0, round 1 does not stand"),
    ],
)
def test_with_a_wrong_barrier_the_model_finds_the_history_that_goes_wrong(
    participant: Participant, setting: Setting, wrong: str
) -> None:
    path = setting.explored(participant).path

    assert path, "nothing goes wrong, so the model does not need this rule"
    assert path[-1].endswith(wrong), "\n".join(path)


def test_the_history_that_is_found_is_the_shortest() -> None:
    path = STEP.explored(mutants.ROW_PER_PHASE).path

    assert path == (
        "a handler begins: the action of step 0, round 1",
        "no reply came in time",
        "the saga turns back",
        "is answered 'void': the undo of step 0, round 1, unknown",
        "is answered 'succeeded': the action of step 0, round 1",
        "an action is committed after its compensation",
    )


def test_the_orchestrator_opens_no_round_before_the_last_is_settled_so_the_barrier_need_not_look() -> None:
    """Two guards for one danger, on purpose: `earlier open` is for a sender that makes a mistake."""
    assert PEOPLE.explored(mutants.BLIND_TO_LOWER_ROUNDS).path == ()
    assert LATER.explored(mutants.BLIND_TO_LOWER_ROUNDS).path == ()


# The model watches the sender, too


class Hasty(OneStep):
    """Takes silence for a no."""

    def _failed(self, it: Sent, phase: Phase) -> Sent:
        return it._replace(action="rejected", status="compensated") if phase is ACTION else super()._failed(it, phase)


class Patient(OneStep):
    """Waits for a reply however long it takes."""

    def turns(self, saga: Hashable) -> Iterator[Turn]:
        return (turn for turn in super().turns(saga) if turn.what != "no reply came in time")


class Endless(OneStep):
    """Asks again as often as it takes."""

    def _failed(self, it: Sent, phase: Phase) -> Sent:
        return super()._failed(it._replace(left=it.left + 1), phase)


@pytest.mark.parametrize(
    ("sender", "wrong"),
    [
        (Hasty, "the saga is compensated and says that step 0, round 1 does not stand"),
        (Patient, "the saga is running, and nothing will ever move it"),
        (Endless, "this may go on for ever"),
    ],
)
def test_a_wrong_sender_is_found_out(sender: type[OneStep], wrong: str) -> None:
    path = explore(Model(sender(acts=0, rounds=1), BAG._replace(failures=False))).path

    assert path, "nothing goes wrong"
    assert path[-1] == wrong, "\n".join(path)


# An inbox that is lost


@pytest.mark.parametrize("loss", ["rows", "all"])
@pytest.mark.parametrize("orchestrator", [OneStep(acts=0, rounds=1), Core(remote("a"), LAST)], ids=["design", "core"])
def test_a_loss_is_never_hidden_but_where_the_action_was_handled_again(orchestrator: OneStep | Core, loss: str) -> None:
    """That is the one way in which a database that was lost whole, effects and all, can deceive."""
    excuses = frozenset({"late"} if loss == "all" else {"late", "guessed"})
    scope = ONE._replace(loss=loss, failures=False, excuses=excuses)

    assert explore(Model(orchestrator, scope)).path == ()


def test_an_action_that_is_handled_after_the_loss_may_outlive_its_compensation() -> None:
    scope = ONE._replace(loss="rows", failures=False, excuses=frozenset({"guessed"}))

    path = explore(Model(OneStep(acts=0, rounds=1), scope)).path

    assert "the inbox is lost" in path
    assert path[-1] == "the saga is compensated and says that step 0, round 1 does not stand"


def test_an_effect_whose_reply_never_came_and_whose_row_is_lost_is_taken_for_none() -> None:
    scope = ONE._replace(loss="rows", failures=False, excuses=frozenset({"late"}))

    path = explore(Model(OneStep(acts=0, rounds=1), scope)).path

    assert path[-2:] == (
        "arrives: the reply 'void' to the undo of step 0, round 1",
        "the saga is compensated and says that step 0, round 1 does not stand",
    )
