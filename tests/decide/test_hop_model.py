"""The choreographed hop: three services that share nothing, a home, all faults, every interleaving.

`docs/internals/model.md` says what is modelled, what each guard is for, and what this does not say.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache

import pytest
from hop_model import LARGE, SMALL
from hop_model_system import Model
from hop_model_world import (
    AGAIN,
    ASIDE,
    GUARDS,
    KEEPS,
    MET,
    MOVED,
    ONCE,
    REVIVES,
    SEEN,
    STUCK,
    TOLD,
    TRAVEL,
    WAITS,
    Scope,
)
from joined_model_search import Report, explore

SETTINGS = LARGE if os.environ.get("AMENDS_MODEL") == "large" else SMALL
DOUBLE, LOSS, TROUBLE = Scope(doubles=1), Scope(losses=1), Scope(troubles=1)
HOPELESS = "from here there is no good end"


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
    ends = {"compensated, nobody cancels", "completed, nobody cancels"}
    if SETTINGS[name].scope.cancels:
        ends |= {"compensated, cancelled", "compensated, cancelled too late", "completed, cancelled too late"}

    assert set(seen(name).ends) == ends


@pytest.mark.parametrize(
    ("removed", "scope", "wrong"),
    [
        ({MOVED}, DOUBLE, "the saga has two histories"),
        ({AGAIN}, LOSS, HOPELESS),
        ({REVIVES}, LOSS, HOPELESS),
        ({TOLD}, Scope(doubles=1, troubles=1), "the home forgets that the saga has ended"),
        (
            {MET},
            Scope(losses=1, cancels=True),
            "told that the cancel came too late, and the saga went back because of it",
        ),
        ({TRAVEL}, TROUBLE, "the operator was told 'refused', and it was done"),
        ({STUCK}, TROUBLE, "the saga is compensated, and the effect of a stands"),
        ({WAITS}, Scope(losses=1, troubles=1, delay=0.0), HOPELESS),
        ({KEEPS, MOVED}, DOUBLE, "a has its effect, or is undone, twice"),
        ({ASIDE, REVIVES}, Scope(unknown="b"), HOPELESS),
    ],
)
def test_without_a_guard_the_model_finds_the_history_that_goes_wrong(
    removed: set[str], scope: Scope, wrong: str
) -> None:
    path = explore(Model(scope, GUARDS - removed)).path

    assert path, f"nothing goes wrong without {removed}, so the model does not need it"
    assert path[-1].endswith(wrong), "\n".join(path)


@pytest.mark.parametrize(
    ("removed", "scope"),
    [
        ({KEEPS}, DOUBLE),
        ({KEEPS, ONCE}, DOUBLE),
        ({ONCE}, Scope(crashes=1, doubles=1)),
        ({ASIDE}, Scope(unknown="b")),
        ({SEEN}, Scope(crashes=1, cancels=True)),
        ({SEEN}, TROUBLE),
    ],
)
def test_where_there_are_two_guards_for_one_danger_one_is_enough(removed: set[str], scope: Scope) -> None:
    """On purpose: a mistake in one of them loses nothing."""
    report = explore(Model(scope, GUARDS - removed))

    assert report.path == (), "\n".join(report.path)


def test_the_history_that_is_found_is_the_shortest() -> None:
    path = explore(Model(DOUBLE, GUARDS - {MOVED})).path

    assert path == (
        "the action of a is done, and comes twice",
        "the action of b is rejected",
        "the undo of a is done",
        "the action of a is answered 'fenced'",
        "the saga has two histories",
    )
