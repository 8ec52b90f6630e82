"""What one may have done to a choreographed saga, said at its home, and done by whoever has it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from travels import Ground, Order, Town, ground_of, hurry, place_order

from amends import Compensated, Completed, Park, Settings
from amends.errors import Changed, NotAnswered, Refused, TooLate, UnknownSaga
from amends.operate.homes import HomeOperations, home_operations
from amends.operate.values import Trouble
from amends.run.wanted import Word


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long."""
    hurry(monkeypatch)


@pytest.fixture(params=["sqlite", "postgres"])
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Ground:
    """Either database."""
    return ground_of(request, tmp_path)


SHIP = b'{"order":"o-1","reservation":"r-other"}'


class Broken:
    """What does not work at the moment."""

    def __init__(self, *what: str) -> None:
        self.what = set(what)

    def says(self, what: str, order: str) -> None:
        """Park where it is broken."""
        if what in self.what:
            raise Park(f"{what} is broken")


def parked(ground: Ground, broken: Broken, cents: int, act: Callable[[Any], Any]) -> tuple[Word, object, Town]:
    """Have a saga park, and something done; what is said, what becomes of it, and where."""
    town = Town(ground, broken.says)

    async def main() -> tuple[Word, object]:
        app = town.apps["orders"]
        async with town.open():
            town.start(Order("o-1", cents))
            await town.until(lambda: town.stand("o-1") == "parked")
            broken.what.clear()
            return await act(app), await app.outcome(place_order, "o-1", timeout=30.0)

    word, outcome = asyncio.run(main())
    return word, outcome, town


def test_a_stuck_step_is_retried_where_it_is(ground: Ground) -> None:
    word, outcome, town = parked(ground, Broken("ship"), 100, lambda app: app.retry("o-1", "ship", reason="a lorry"))

    assert word == ("accepted", "inventory has the saga")
    assert outcome == Completed("parcel of r-o-1")
    assert town.done("inventory") == [("reserve", "o-1"), ("ship", "o-1")]


def test_everything_that_is_stuck_is_tried_again_by_unpark(ground: Ground) -> None:
    _, outcome, town = parked(ground, Broken("release"), 5000, lambda app: app.unpark("o-1"))

    assert isinstance(outcome, Compensated)
    assert town.done("inventory") == [("reserve", "o-1"), ("release", "o-1")]


def test_a_stuck_undo_is_skipped_and_stays_as_it_is(ground: Ground) -> None:
    _, outcome, town = parked(
        ground, Broken("release"), 5000, lambda app: app.skip("o-1", "reserve", reason="it is lost", actor="ada")
    )

    assert isinstance(outcome, Compensated)
    assert town.done("inventory") == [("reserve", "o-1")]


def test_what_was_done_by_hand_has_the_result_that_was_said(ground: Ground) -> None:
    def act(app: Any) -> Any:
        return app.resolve("o-1", "ship", reason="sent by hand", result=b'"by bicycle"')

    word, outcome, town = parked(ground, Broken("ship"), 100, act)

    assert word.word == "accepted"
    assert outcome == Completed("by bicycle", closed=("ship",))
    assert town.done("inventory") == [("reserve", "o-1")]


def test_a_pivot_in_doubt_is_counted_as_not_happened_by_compensate(ground: Ground) -> None:
    _, outcome, town = parked(ground, Broken("ship"), 100, lambda app: app.compensate("o-1", reason="no lorry"))

    assert isinstance(outcome, Compensated)
    assert town.done("payment") == [("charge", "o-1"), ("refund", "o-1")]


def test_what_is_not_allowed_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    async def act(app: Any) -> Any:
        with pytest.raises(Refused, match="o-1: "):
            await app.skip("o-1", "no-such-step", reason="why not")
        with pytest.raises(Refused, match="no JSON"):
            await app.resolve("o-1", "ship", reason="why not", result=b"{")
        with pytest.raises(Refused, match="begins as what is sealed"):
            await app.resolve("o-1", "ship", reason="why not", result=rb'"\u0073ealed:a:QUJD"')
        with pytest.raises(Refused, match="the limit is 2000"):
            await app.unpark("o-1", reason="x" * 2001)
        with pytest.raises(UnknownSaga, match="has started no saga 'o-2'"):
            await app.unpark("o-2")
        return await app.unpark("o-1", reason="NUL \0")

    word, outcome, _ = parked(Ground(tmp_path), Broken("ship"), 100, act)

    assert word.word == "accepted"
    assert outcome == Completed("parcel of r-o-1")


def test_what_nobody_answers_is_kept_and_done_by_who_comes(tmp_path: Path) -> None:
    town = Town(Ground(tmp_path), settings=Settings(answer_seconds=0.2))
    later = Town(Ground(tmp_path))

    async def main() -> object:
        async with town.open("orders"):
            town.start(Order("o-1", 100))
            with pytest.raises(NotAnswered, match="the cancel is kept at its home, orders"):
                await town.apps["orders"].cancel("o-1", reason="changed my mind")
        async with later.open():
            return await later.apps["orders"].outcome(place_order, "o-1", timeout=30.0)

    assert isinstance(asyncio.run(main()), Compensated)
    assert later.done("payment") == []


def test_from_another_process_the_database_of_the_home_is_all_that_is_needed(ground: Ground) -> None:
    """As a client: the participant that it is given is not entered."""
    broken = Broken("ship")
    town, beside = Town(ground, broken.says), Town(ground)

    async def main(people: HomeOperations) -> None:
        async with town.open():
            for number in range(3):
                town.start(Order(f"o-{number}", 5000 if number else 100))
            await town.until(lambda: town.stand("o-0") == "parked")
            await town.until(lambda: town.stand("o-1") == town.stand("o-2") == "ended")

            first = await people.find(limit=2)
            rest = await people.find(limit=2, before=first.sagas[-1].id)
            back = await people.find(statuses=["compensated"], sagas=["place-order"])
            stuck = await people.stuck()
            stalled = await people.stuck(troubles=[Trouble.STALLED])
            view = await people.show("o-0")
            broken.what.clear()
            answer = await people.retry("o-0", "ship", actor="ada", reason="a lorry")
            await town.until(lambda: town.stand("o-0") == "ended")
            history = await people.history("o-0")
            with pytest.raises(TooLate):
                await people.cancel("o-0", actor="ada", reason="no")

        assert sorted(line.id for page in (first, rest) for line in page.sagas) == ["o-0", "o-1", "o-2"]
        assert (first.more, rest.more) == (True, False)
        assert {line.id for line in back.sagas} == {"o-1", "o-2"}
        assert [(line.saga.id, line.trouble) for line in stuck.lines] == [("o-0", Trouble.PARKED)]
        assert stalled.lines == ()
        assert (view.line.status, view.line.home) == ("parked", "orders")
        assert view.line.holder == "inventory, where it is parked"
        assert "retry" in {act.verb for act in view.acts}
        assert (answer.verb, answer.step, answer.detail) == ("retry", "ship", "inventory has the saga")
        assert any(line.actor == "ada" and line.reason == "a lorry" for line in history)

    async def beside_it() -> None:
        async with home_operations(beside.apps["orders"]) as people:
            await main(people)

    with ground.connected("orders"):  # its file is there
        pass

    async def made() -> None:
        async with town.open("orders"):
            return

    asyncio.run(made())
    asyncio.run(beside_it())


def test_an_act_at_home_is_for_one_version_and_counts_once_under_an_id(ground: Ground) -> None:
    broken = Broken("ship")
    town = Town(ground, broken.says)

    async def main() -> None:
        async with town.open(), home_operations(town.apps["orders"]) as people:
            town.start(Order("o-1", 100))
            await town.until(lambda: town.stand("o-1") == "parked")
            seen = (await people.show("o-1")).line.version

            told = await people.assign("o-1", "ada", actor="bob", reason="knows the lorry", message="m-1")
            assert await people.assign("o-1", "ada", actor="bob", reason="knows the lorry", message="m-1") == told
            with pytest.raises(Refused, match="belongs to something else that was asked before"):
                await people.assign("o-1", "eve", actor="bob", message="m-1")
            await people.note("o-1", "the lorry comes at nine", actor="ada", if_version=seen)
            await people.retry("o-1", "ship", actor="ada", reason="now?", if_version=seen)
            await town.until(lambda: town.stand("o-1") == "parked" and len(town.state("o-1").note) > 0)
            with pytest.raises(Changed, match=f"you looked at {seen}; look again"):
                await people.unpark("o-1", actor="ada", if_version=seen)
            await town.until(lambda: town.stand("o-1") == "parked")
            line, view = (await people.find()).sagas[0], await people.show("o-1")

        assert (line.assigned, line.note) == ("ada", "the lorry comes at nine")
        assert view.line.version == line.version > seen
        assert [one.actor for one in view.history if one.event in ("assigned", "noted")] == ["bob", "ada"]
        assert town.done("inventory") == [("reserve", "o-1")]

    asyncio.run(main())


def test_the_command_of_a_stuck_step_is_changed_from_its_home(ground: Ground) -> None:
    broken = Broken("ship")
    town = Town(ground, broken.says)

    async def main() -> object:
        async with town.open(), home_operations(town.apps["orders"]) as people:
            town.start(Order("o-1", 100))
            await town.until(lambda: town.stand("o-1") == "parked")
            broken.what.clear()
            with pytest.raises(Refused, match="does not fit Ship"):
                await people.retry("o-1", "ship", actor="ada", arguments=b'{"order":7}')
            seen = await people.preview("o-1", "retry", "ship", arguments=SHIP)
            assert (seen.accepted, [effect.contract for effect in seen.effects]) == (True, ["inventory.ship-goods"])

            await people.retry("o-1", "ship", actor="ada", reason="another shelf", arguments=SHIP)

            return await town.apps["orders"].outcome(place_order, "o-1", timeout=30.0)

    assert asyncio.run(main()) == Completed("parcel of r-other")


def test_a_service_that_does_not_know_the_plan_is_named_at_home(tmp_path: Path) -> None:
    town = Town(Ground(tmp_path), knows={"payment": []})

    async def main() -> None:
        async with town.open():
            town.start(Order("o-1", 100))
            await town.until(lambda: town.stand("o-1") == "unknown-plan")
            async with home_operations(town.apps["orders"]) as people:
                view, stuck = await people.show("o-1"), await people.stuck()

        assert view.line.status == "running"
        assert [act.verb for act in view.acts] == ["cancel"]
        assert view.line.holder == "payment, which does not know its definition yet"
        assert [(line.trouble, line.why) for line in stuck.lines] == [
            (Trouble.STALLED, "payment does not know this version of its definition yet, and keeps it")
        ]

    asyncio.run(main())
