"""Everything at once: workers, lease, adoption, mailbox, network, services, barrier, a client, all faults.

`docs/internals/model.md` says what is modelled, what each guard is for, and what this does not say.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache

import pytest
from joined_model import LARGE, PIVOT, QUIET, SMALL
from joined_model_core import ORDER, SIBLINGS, TIMEOUT
from joined_model_net import KEEPS, LOCK, TOMBSTONE
from joined_model_search import Report, explore
from joined_model_system import Model
from joined_model_world import (
    AGAIN,
    DURABLE,
    END,
    GUARDS,
    LIVES,
    NEXT,
    OWN,
    RELEASE,
    RETIRE,
    SILENCE,
    TAKE,
    Scope,
    World,
)

SETTINGS = LARGE if os.environ.get("AMENDS_MODEL") == "large" else SMALL
CRASH, DOUBLE, DELAY = QUIET._replace(crashes=1), QUIET._replace(doubles=1), QUIET._replace(delays=1)
CANCEL = QUIET._replace(cancels=True)


@cache
def seen(name: str) -> Report:
    """What is seen in one of the settings; it is a value."""
    return SETTINGS[name].explored()


@pytest.mark.parametrize("name", SETTINGS)
def test_no_interleaving_breaks_a_promise_and_every_saga_can_end(
    name: str, record_property: Callable[[str, object], None]
) -> None:
    report = seen(name)
    record_property("worlds", report.worlds)

    assert report.path == (), "\n".join(report.path)
    assert report.worlds >= SETTINGS[name].least, f"the model has lost most of its worlds and proves nothing: {report}"


@pytest.mark.parametrize("name", SETTINGS)
def test_every_end_is_really_reached(name: str) -> None:
    ends = {"compensated, nobody cancels", "compensated, cancelled", "compensated, cancelled too late"}
    ends |= {"completed, nobody cancels", "completed, cancelled too late"}

    assert set(seen(name).ends) == ends


# Each guard is needed


@pytest.mark.parametrize(
    ("removed", "scope", "wrong"),
    [
        (RETIRE, CRASH, "a worker wrote that did not own the saga"),
        (LIVES, CRASH, "a worker wrote after it was retired"),
        (NEXT, CRASH, "a row was decided upon a history that is not the saga's"),
        (OWN, CRASH, "a worker took its own row for somebody else's"),
        (
            TAKE,
            CRASH._replace(cancels=True),
            "told that the cancel came too late, and the saga went back because of it",
        ),
        (DURABLE, CRASH, "the action of a was done, and nothing on disk says that it was to be"),
        (RELEASE, CRASH, "a worker wrote that did not own the saga"),
        (END, CANCEL, "the client was told that the saga is cancelled, and it is completed"),
        (LOCK, DELAY, "a has its effect twice"),
        (LOCK, DOUBLE, "a has its effect twice"),
        (TOMBSTONE, DELAY, "the saga is compensating and says that the effect of b does not stand"),
        (KEEPS, DOUBLE, "a has its effect twice"),
        (TIMEOUT, DELAY, "the saga is compensated and says that the effect of a does not stand"),
        (SIBLINGS, QUIET, "the saga is compensating and says that the effect of b does not stand"),
        (ORDER, QUIET, "a is undone before what came after it"),
    ],
)
def test_without_a_guard_the_model_finds_the_history_that_goes_wrong(removed: str, scope: Scope, wrong: str) -> None:
    path = explore(Model(scope, GUARDS - {removed})).path

    assert path, f"nothing goes wrong without {removed!r}, so the model does not need it"
    assert path[-1].endswith(wrong), "\n".join(path)


def test_what_was_lost_with_a_worker_goes_out_again_by_two_ways_and_one_is_enough() -> None:
    """Two guards for one danger, on purpose: a mistake in one of them loses nothing."""
    assert explore(Model(CRASH, GUARDS - {AGAIN})).path == ()
    assert explore(Model(CRASH, GUARDS - {SILENCE})).path == ()

    path = explore(Model(CRASH, GUARDS - {AGAIN, SILENCE})).path

    assert path[-1] == "from here there is no good end"


class Indulgent(Model):
    """Does not mind who writes, as long as all is right that follows."""

    def violation(self, world: World) -> str:
        return super().violation(world._replace(wrong="") if world.wrong.startswith("a worker wrote") else world)


@pytest.mark.parametrize("removed", [{LIVES}, {RETIRE}, {LIVES, RETIRE}])
def test_whoever_writes_the_sequence_alone_keeps_every_history_right(removed: set[str]) -> None:
    """Two guards for one danger, once more."""
    report = explore(Indulgent(CRASH, GUARDS - removed))

    assert report.path == (), "\n".join(report.path)


def test_the_history_that_is_found_is_the_shortest() -> None:
    path = explore(Model(DELAY, GUARDS - {TIMEOUT})).path

    assert path == (
        "a worker claims the saga",
        "a worker begins",
        "no reply to the action of a came in time, but it is on its way",
        "the action of a is done",
        "the saga is compensated and says that the effect of a does not stand",
    )


@pytest.mark.parametrize(("removed", "scope"), [(RELEASE, CRASH), (TOMBSTONE, DELAY), (END, CANCEL)])
def test_no_shorter_history_goes_wrong_in_whatever_order_they_are_tried(removed: str, scope: Scope) -> None:
    model = Model(scope, GUARDS - {removed})
    length = len(explore(model).path) - 1  # the last line says what is wrong

    assert not goes_wrong_within(model, length - 1)
    assert goes_wrong_within(model, length)


def goes_wrong_within(model: Model, length: int) -> bool:
    """Whether some history of so many moves is bad: the deepest first, the last move first."""
    left: dict[World, int] = {}
    todo = [(model.first(), length)]
    while todo:
        world, moves = todo.pop()
        if model.violation(world):
            return True
        if moves > left.get(world, -1):
            left[world] = moves
            if moves:
                todo += [(move.world, moves - 1) for move in model.moves(world)]
    return False


# What is taken together cannot be told apart


COMPARED = {
    "a cancel": CANCEL,
    "a crash": CRASH,
    "a duplicate and a cancel": DOUBLE._replace(cancels=True),
    "a delay": DELAY,
    "a crash and a cancel around the pivot": PIVOT._replace(crashes=1, doubles=0, delays=0),
}
MORE = {
    "a crash and a cancel": CRASH._replace(cancels=True),
    "a crash and a duplicate": CRASH._replace(doubles=1),
    "a delay and a cancel": DELAY._replace(cancels=True),
    "a crash and a delay around the pivot": PIVOT._replace(crashes=1, doubles=0, cancels=False),
}


@pytest.mark.parametrize("name", COMPARED | MORE if SETTINGS is LARGE else COMPARED)
def test_taking_moves_together_hides_nothing_that_can_be_seen(name: str) -> None:
    scope = (COMPARED | MORE)[name]
    apart, together = Model(scope._replace(whole=True)), Model(scope)
    seen_apart: set[object] = set()
    seen_together: set[object] = set()

    found = explore(apart, lambda world: seen_apart.add(apart.told(world)))
    fewer = explore(together, lambda world: seen_together.add(together.told(world)))

    assert found.path == ()
    assert fewer.worlds < found.worlds / 5
    assert seen_together == seen_apart
    assert set(fewer.ends) == set(found.ends)


@pytest.mark.parametrize("scope", [DELAY, DOUBLE._replace(cancels=True)], ids=["a delay", "a duplicate and a cancel"])
def test_a_message_that_comes_to_nothing_comes_to_nothing_ever_after(scope: Scope) -> None:
    """That is why it may be left out."""
    model = Model(scope._replace(whole=True))
    kept = 0

    def look(world: World) -> None:
        nonlocal kept
        for number in model.letters.present(world.net):
            if model.comes_to_nothing(world.state, world.slots, number):
                for _, _, after in model.moves(world):
                    kept += 1
                    assert model.comes_to_nothing(after.state, after.slots, number)

    explore(model, look)

    assert kept > 500
