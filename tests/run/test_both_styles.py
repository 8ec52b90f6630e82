"""One definition, two styles: what holds of a saga holds whoever conducts it, or nobody."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from both_styles import STYLES, Play
from travels import Ground, Order, Says, Town, charge, ground_of, hurry, reserve, ship

from amends import Park, Reject, Retry, Saga, pivot
from amends.decide.state import Action, Status, Undo

Story = Callable[[Play], Coroutine[Any, Any, Any]]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long."""
    hurry(monkeypatch)


@pytest.fixture(params=STYLES)
def style(request: pytest.FixtureRequest) -> type[Play]:
    """Either."""
    return STYLES[request.param]


@pytest.fixture(params=["sqlite", "postgres"])
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Ground:
    """Either database."""
    return ground_of(request, tmp_path)


def told(style: type[Play], town: Town, story: Story) -> Any:
    """A story with everybody at work."""

    async def main() -> Any:
        play = style(town)
        async with play.open():
            return await story(play)

    return asyncio.run(main())


def failing(what: str, error: Callable[[], Exception], times: int = 1_000_000) -> Says:
    """One part fails so often."""
    left = Counter({what: times})

    def says(said: str, order: str) -> None:
        if said == what and left[what] > 0:
            left[what] -= 1
            raise error()

    return says


ORDER = Order("o-1", 100)
DONE = {"inventory": [("reserve", "o-1"), ("ship", "o-1")], "payment": [("charge", "o-1")]}
UNDONE = {"inventory": [("reserve", "o-1"), ("release", "o-1")], "payment": []}
ALL_UNDONE = {"inventory": [("reserve", "o-1"), ("release", "o-1")], "payment": [("charge", "o-1"), ("refund", "o-1")]}


def done(town: Town) -> dict[str, list[tuple[str, str]]]:
    """What the services have done."""
    return {name: town.done(name) for name in ("inventory", "payment")}


async def run_to_its_end(play: Play) -> Any:
    """Start one, and wait."""
    await play.start(ORDER)
    return await play.ends("o-1")


async def run_to_rest(play: Play) -> Any:
    """Start one, and wait until it rests."""
    await play.start(ORDER)
    return await play.rests("o-1")


def test_it_completes(style: type[Play], ground: Ground) -> None:
    town = Town(ground)

    state = told(style, town, run_to_its_end)

    assert state.status is Status.COMPLETED
    assert state.step("ship").result == b'"parcel of r-o-1"'
    assert done(town) == DONE


def test_a_no_before_the_pivot_undoes_what_was_done(style: type[Play], ground: Ground) -> None:
    town = Town(ground, failing("charge", lambda: Reject("too dear")))

    state = told(style, town, run_to_its_end)

    assert state.status is Status.COMPENSATED
    assert state.step("charge").action.status is Action.REJECTED
    assert "too dear" in state.step("charge").action.reason
    assert done(town) == UNDONE


def test_a_no_of_the_pivot_undoes_all_in_reverse(style: type[Play], ground: Ground) -> None:
    town = Town(ground, failing("ship", lambda: Reject("no lorry")))

    state = told(style, town, run_to_its_end)

    assert state.status is Status.COMPENSATED
    assert done(town) == ALL_UNDONE


@pytest.mark.parametrize("what", ["reserve", "charge", "ship"])
def test_what_fails_is_tried_again(style: type[Play], ground: Ground, what: str) -> None:
    town = Town(ground, failing(what, lambda: ValueError("flaky"), times=2))

    state = told(style, town, run_to_its_end)

    assert state.status is Status.COMPLETED
    assert state.step(what).action.attempts == 3
    assert done(town) == DONE


def test_what_fails_for_good_before_the_pivot_is_undone(style: type[Play], ground: Ground) -> None:
    town = Town(ground, failing("charge", lambda: ValueError("broken")))

    state = told(style, town, run_to_its_end)

    assert state.status is Status.COMPENSATED
    assert state.step("charge").action.status is Action.UNKNOWN
    assert done(town) == UNDONE


def test_a_pivot_that_fails_for_good_is_for_a_person(style: type[Play], ground: Ground) -> None:
    town = Town(ground, failing("ship", lambda: ValueError("broken"), times=3))

    async def story(play: Play) -> Any:
        parked = await run_to_rest(play)
        return parked, await play.act("o-1", "retry", "ship"), await play.ends("o-1")

    parked, answer, state = told(style, town, story)

    assert parked.status is Status.PARKED
    assert answer == "accepted"
    assert state.status is Status.COMPLETED
    assert done(town) == DONE


def test_a_compensation_that_fails_for_good_parks_and_goes_on_when_a_person_says(
    style: type[Play], ground: Ground
) -> None:
    town = Town(ground, failing("charge", lambda: Reject("too dear")))
    locked, before = [True], town.says

    def says(what: str, order: str) -> None:
        before(what, order)
        if what == "release" and locked[0]:
            raise Park("the shelf is locked")

    town.says = says

    async def story(play: Play) -> Any:
        parked = await run_to_rest(play)
        refused = await play.act("o-1", "retry", "ship")
        locked[0] = False
        return parked, refused, await play.act("o-1", "retry", "reserve"), await play.ends("o-1")

    parked, refused, answer, state = told(style, town, story)

    assert "the shelf is locked" in parked.parked
    assert (refused, answer) == ("refused", "accepted")
    assert state.status is Status.COMPENSATED
    assert done(town) == UNDONE


def test_a_person_resolves_what_is_stuck(style: type[Play], ground: Ground) -> None:
    town = Town(ground, failing("reserve", lambda: Park("look at this")))

    async def story(play: Play) -> Any:
        parked = await run_to_rest(play)
        wrong = await play.act("o-1", "resolve", "reserve", b'{"number":1}')
        right = await play.act("o-1", "resolve", "reserve", b'{"id":"r-by-hand"}')
        return parked, wrong, right, await play.ends("o-1")

    parked, wrong, right, state = told(style, town, story)

    assert parked.status is Status.PARKED
    assert (wrong, right) == ("refused", "accepted")
    assert state.status is Status.COMPLETED
    assert state.step("ship").result == b'"parcel of r-by-hand"'


def test_a_person_has_a_parked_saga_go_back(style: type[Play], ground: Ground) -> None:
    town = Town(ground, failing("charge", lambda: Park("look at this")))

    async def story(play: Play) -> Any:
        await run_to_rest(play)
        return await play.act("o-1", "compensate"), await play.ends("o-1")

    answer, state = told(style, town, story)

    assert answer == "accepted"
    assert state.status is Status.COMPENSATED
    assert done(town) == UNDONE


def test_a_cancel_before_the_pivot_undoes(style: type[Play], ground: Ground) -> None:
    town = Town(ground, failing("charge", lambda: Park("wait for ada")))

    async def story(play: Play) -> Any:
        await run_to_rest(play)
        return await play.act("o-1", "cancel"), await play.ends("o-1")

    answer, state = told(style, town, story)

    assert answer == "accepted"
    assert state.turned is not None
    assert state.turned.cause == "cancelled"
    assert done(town) == UNDONE


def test_a_cancel_after_the_end_is_too_late(style: type[Play], ground: Ground) -> None:
    town = Town(ground)

    async def story(play: Play) -> Any:
        await run_to_its_end(play)
        return await play.act("o-1", "cancel")

    assert told(style, town, story) == "too late"
    assert done(town) == DONE


def test_a_deadline_before_the_pivot_undoes(style: type[Play], ground: Ground) -> None:
    hasty = Saga("hasty", reserve, charge, pivot(ship), input=Order, output=ship, deadline=2.0)
    town = Town(ground, failing("charge", lambda: Retry.after(2.5)), saga=hasty)

    state = told(style, town, run_to_its_end)

    assert state.status is Status.COMPENSATED
    assert done(town) == UNDONE


def test_a_compensation_that_fails_at_first_is_tried_again_and_undone_once(style: type[Play], ground: Ground) -> None:
    town = Town(ground, failing("ship", lambda: Reject("no lorry")))
    ship_says, refund = town.says, failing("refund", lambda: Retry.after(0.05), times=2)

    def says(what: str, order: str) -> None:
        ship_says(what, order)
        refund(what, order)

    town.says = says

    state = told(style, town, run_to_its_end)

    undo = state.step("charge").undo
    assert undo.status is Undo.COMPENSATED
    assert undo.attempts == 3
    assert done(town) == ALL_UNDONE
