"""What may have taken its process down: who counts as dead, and who does not, on PostgreSQL and on SQLite."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from participant_scene import POSTGRES_TX, SQLITE_TX, Place, Stock, until

from amends.errors import StoreUnavailable
from amends.run import inbox_careful, lives
from amends.run.inbox_careful import DEATHS_MAX, PARKED_SECONDS, Care, Careful, Held, Poison
from amends.run.inbox_upkeep import Upkeep
from amends.run.participant_database import home_of, transactions_on
from amends.run.transactions import Transactions
from amends.run.transactions_sqlite import SqliteTransactions


@pytest.fixture(params=["postgres", "sqlite"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Either database."""
    if request.param == "postgres":
        return Place("postgres", request.getfixturevalue("postgres_url"), POSTGRES_TX)
    return Place("sqlite", f"sqlite:///{tmp_path}/stock.db", SQLITE_TX)


@asynccontextmanager
async def opened(place: Place) -> AsyncGenerator[Transactions, None]:
    """Its inbox."""
    home = home_of(place.url, Stock(place).app._built.handlers)
    assert home is not None
    transactions = transactions_on(home, 4, migrate=True)
    await transactions.open()
    try:
        yield transactions
    finally:
        await transactions.close()


def running(place: Place, test: Callable[[Transactions], Awaitable[None]]) -> None:
    """Run a test on its inbox."""

    async def main() -> None:
        async with opened(place) as transactions:
            await test(transactions)

    asyncio.run(main())


def care(again: bool = True, **changes: Any) -> Care:
    """Something that is to be done."""
    return Care(("it",), again, changes.pop("timeout", 0.0), **changes)


def of_a_dead_process(**changes: Any) -> Care:
    """Something that was to be done by a process that has died."""
    made = care(**changes)
    child = subprocess.Popen([sys.executable, "-c", ""])
    began = lives._stat(child.pid)[1] or "token"
    child.wait()
    here, _, _, mark = made.who.split(" ")
    made.who = f"{here} {child.pid} {began} {mark}"
    return made


def elsewhere(**changes: Any) -> Care:
    """Something that is to be done by a process of another machine."""
    made = care(**changes)
    made.who = f"far-away/boot/pid:[1] {made.who.split(' ', 1)[1]}"
    return made


async def begin(transactions: Transactions, somebody: Care) -> None:
    """They begin it, and nobody hears of them again."""
    careful = Careful(transactions)
    if not somebody.again:
        assert await careful._first.of(somebody.note)
    else:
        seen = await careful._look(somebody)
        assert await transactions.ask("take_carefully", somebody.what, somebody.who, *seen)


async def done(transactions: Transactions, somebody: Care) -> str:
    """What becomes of it where it is to be done."""
    try:
        async with Careful(transactions).done(somebody) as alone:
            return "alone" if alone else "beside others"
    except (Held, Poison) as error:
        return type(error).__name__


def deaths(place: Place) -> list[Any]:
    """What the database says."""
    return place.sql("SELECT deaths FROM amends.inbox_death")


def test_nobody_alive_counts_however_many_are_at_it_and_however_often(place: Place) -> None:
    async def test(transactions: Transactions) -> None:
        for again in (True, False):
            async with Careful(transactions).done(care(again)) as alone:
                assert alone is again
                replicas = [care() for _ in range(2 * DEATHS_MAX)]
                for _ in range(3):
                    assert {await done(transactions, one) for one in replicas} == {"Held"}
        assert [await done(transactions, one) for one in replicas] == ["alone"] * len(replicas)

    running(place, test)
    assert deaths(place) == []


def test_too_many_deaths_make_it_poison_and_one_less_does_not(place: Place) -> None:
    async def test(transactions: Transactions) -> None:
        for number in range(DEATHS_MAX):
            await begin(transactions, of_a_dead_process())
            if number < DEATHS_MAX - 1:
                assert deaths(place) == [(number,)]
        assert await done(transactions, care()) == "Poison"

    running(place, test)


def test_what_came_to_an_end_has_no_past(place: Place) -> None:
    async def test(transactions: Transactions) -> None:
        for _ in range(2 * DEATHS_MAX):
            await begin(transactions, of_a_dead_process())
            assert await done(transactions, care()) == "alone"

    running(place, test)
    assert deaths(place) == []


def test_what_is_left_to_others_is_no_death_and_forgets_none(place: Place) -> None:
    async def leave(transactions: Transactions, again: bool) -> None:
        with pytest.raises(ConnectionError):
            async with Careful(transactions).done(care(again)):
                raise ConnectionError

    async def test(transactions: Transactions) -> None:
        for again in (False, True, True):
            await leave(transactions, again)
        for number in range(1, DEATHS_MAX):
            await begin(transactions, of_a_dead_process())
            await leave(transactions, again=True)
            assert deaths(place) == [(number,)]
        await begin(transactions, of_a_dead_process())
        assert await done(transactions, care()) == "Poison"

    running(place, test)


def test_a_death_beside_others_accuses_nobody_and_what_was_in_hand_is_done_alone_then(place: Place) -> None:
    async def test(transactions: Transactions) -> None:
        await begin(transactions, of_a_dead_process(again=False))
        assert deaths(place) == [(-1,)]
        for _ in range(DEATHS_MAX):
            await begin(transactions, of_a_dead_process())
        assert deaths(place) == [(DEATHS_MAX - 1,)]
        assert await done(transactions, care(again=False)) == "Poison"

    running(place, test)


def test_what_is_poison_stays_so_for_what_was_asked_before_and_begins_anew_for_who_asks_again(place: Place) -> None:
    async def test(transactions: Transactions) -> None:
        before = time.time() - 60
        for _ in range(DEATHS_MAX):
            await begin(transactions, of_a_dead_process(asked_at=before))
        for again in (True, True, False):
            assert await done(transactions, care(again, asked_at=before)) == "Poison"

        soon, later = time.time() + PARKED_SECONDS / 2, time.time() + PARKED_SECONDS * 2
        assert await done(transactions, care(asked_at=soon)) == "Poison"
        for _ in range(DEATHS_MAX):
            await begin(transactions, of_a_dead_process(asked_at=later))
            assert await done(transactions, care(asked_at=before)) == "Poison"  # and does not disturb who is at it
        assert deaths(place) == [(DEATHS_MAX - 1,)]
        assert await done(transactions, care(asked_at=later)) == "Poison"
        assert await done(transactions, care(asked_at=later + 3600)) == "alone"

    running(place, test)
    assert deaths(place) == []


def test_what_two_find_poisonous_at_once_is_parked_once(place: Place) -> None:
    async def test(transactions: Transactions) -> None:
        for _ in range(DEATHS_MAX):
            await begin(transactions, of_a_dead_process())
        assert [await done(transactions, care(asked_at=time.time() - 60)) for _ in range(2)] == ["Poison"] * 2
        first = place.sql("SELECT parked FROM amends.inbox_death")
        await transactions.ask("park_carefully", care().what, "somebody who is not at it any more")
        assert place.sql("SELECT parked FROM amends.inbox_death") == first

    running(place, test)


def test_somebody_elsewhere_who_gives_signs_is_waited_for_and_who_does_not_counts(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(transactions: Transactions) -> None:
        away, theirs, waiting = elsewhere(), Careful(transactions), care()
        await begin(transactions, away)
        theirs._notes.add(away.note)
        for _ in range(5):
            clock[0] += inbox_careful.SILENT_SECONDS
            assert await done(transactions, waiting) == "Held"
            await asyncio.sleep(0.002)  # a clock of milliseconds moves on
            await theirs.sign()

        looks = 0
        while await done(transactions, waiting) == "Held":
            clock[0] += 1.0
            looks += 1
            assert looks < 100
        assert inbox_careful.SILENT_SECONDS < looks < inbox_careful.SILENT_SECONDS + 5

    clock = [0.0]
    monkeypatch.setattr(Care, "is_silent", _by(clock, Care.is_silent))
    running(place, test)


def test_who_could_not_look_has_seen_no_silence(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(transactions: Transactions) -> None:
        waiting = care()
        await begin(transactions, elsewhere())
        for _ in range(5):  # the database was away for an hour each time, for everybody
            assert await done(transactions, waiting) == "Held"
            clock[0] += 3600.0

    clock = [0.0]
    monkeypatch.setattr(Care, "is_silent", _by(clock, Care.is_silent))
    running(place, test)
    assert deaths(place) == [(0,)]


def _by(clock: list[float], fn: Callable[[Care, object, float], bool]) -> Callable[[Care, object, float], bool]:
    """By a clock that the test moves."""
    return lambda self, sign, now: fn(self, sign, clock[0])


def test_the_silent_are_taken_for_dead_only_where_nobody_can_see_them(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def frozen(pid: int) -> Care:
        made = care()
        here, _, _, mark = made.who.split(" ")
        made.who = f"{here} {pid} {lives._stat(pid)[1] or 'token'} {mark}"
        return made

    async def test(transactions: Transactions) -> None:
        for _ in range(DEATHS_MAX + 1):
            await begin(transactions, frozen(child.pid))
        assert deaths(place) == [(0,)]
        for _ in range(DEATHS_MAX):
            await begin(transactions, elsewhere())
        assert await done(transactions, care()) == "Poison"

    monkeypatch.setattr(Care, "is_silent", lambda *_: True)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        child.send_signal(signal.SIGSTOP)
        try:
            running(place, test)
        finally:
            child.kill()


@pytest.mark.parametrize("first", [True, False])
def test_who_was_quicker_has_it(place: Place, first: bool) -> None:
    async def test(transactions: Transactions) -> None:
        if not first:
            await begin(transactions, of_a_dead_process())
        slow = care()
        seen = await Careful(transactions)._look(slow)
        await begin(transactions, care())
        assert not await transactions.ask("take_carefully", slow.what, slow.who, *seen)

    running(place, test)


def test_who_gives_a_sign_at_the_last_moment_keeps_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(transactions: Transactions) -> None:
        away, theirs, slow = elsewhere(), Careful(transactions), care()
        await begin(transactions, away)
        seen = await Careful(transactions)._look(slow)
        theirs._notes.add(away.note)
        await asyncio.sleep(0.002)  # a clock of milliseconds moves on
        await theirs.sign()
        assert not await transactions.ask("take_carefully", slow.what, slow.who, *seen)

    monkeypatch.setattr(Care, "is_silent", lambda *_: True)
    running(place, test)
    assert deaths(place) == [(0,)]


@pytest.mark.parametrize("again", [True, False])
def test_a_begin_whose_answer_was_lost_is_found_again_and_counts_for_nothing(place: Place, again: bool) -> None:
    async def test(transactions: Transactions) -> None:
        careful = Careful(_Lossy(transactions, "take_carefully" if again else "begin_first"))
        for _ in range(2 * DEATHS_MAX):
            one = care(again)
            with pytest.raises(StoreUnavailable):
                await _do(careful, one)
            assert len(deaths(place)) == 1
            await _do(careful, one)
            assert deaths(place) == []

    running(place, test)


def test_what_could_not_be_struck_out_is_with_the_next_sign_of_life(place: Place) -> None:
    async def test(transactions: Transactions) -> None:
        begun, ended = (Careful(_Lossy(transactions, name, does=does)) for name, does in _LOST.items())
        with pytest.raises(StoreUnavailable):
            await _do(begun, Care(("one",), again=True, timeout=0.0))
        await _do(ended, Care(("another",), again=True, timeout=0.0))
        assert deaths(place) == [(0,), (0,)]

        await begun.sign()
        await ended.sign()
        assert begun._unstruck == ended._unstruck == set()

    running(place, test)
    assert deaths(place) == []


_LOST = {"take_carefully": True, "end_carefully": False}


class _Lossy(SqliteTransactions):
    """The answer to every other statement of a kind is lost; does: after it was done."""

    def __init__(self, transactions: Transactions, name: str, *, does: bool = True) -> None:
        self._transactions = transactions
        self._name = name
        self._does = does
        self._asked = 0

    async def ask(self, name: str, *values: object) -> Any:
        self._asked += name == self._name
        loses = name == self._name and self._asked % 2 == 1
        rows = await self._transactions.ask(name, *values) if self._does or not loses else []
        if loses:
            raise StoreUnavailable("the connection is gone")
        return rows


async def _do(careful: Careful, one: Care) -> None:
    async with careful.done(one):
        pass


def test_signs_of_life_are_given_while_somebody_is_at_something(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(transactions: Transactions) -> None:
        careful = Careful(transactions)
        signs = asyncio.ensure_future(careful.run())
        async with careful.done(care()):
            first = place.sql("SELECT at FROM amends.inbox_death")
            await until(lambda: place.sql("SELECT at FROM amends.inbox_death") > first, "a sign is given")
        signs.cancel()

    monkeypatch.setattr(inbox_careful, "SIGN_SECONDS", 0.01)
    running(place, test)


def test_upkeep_forgets_what_nobody_has_been_at_for_the_horizon(place: Place) -> None:
    async def test(transactions: Transactions) -> None:
        upkeep = Upkeep(transactions, "inventory", 60.0, 60.0)
        await begin(transactions, of_a_dead_process())
        assert await upkeep.clean() == 0
        place.sql("UPDATE amends.inbox_death SET at = at - 100")
        assert await upkeep.clean() == 1

    running(place, test)
    assert deaths(place) == []
