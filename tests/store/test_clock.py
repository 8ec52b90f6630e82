"""A clock that jumps: time goes on, in order, and nothing is due twice."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

from store_child import INFO, new_saga, number_of

from amends.store.base import Head
from amends.store.clock import Clock
from amends.store.sqlite import SqliteStore

DAY = 24 * 3600.0


class Hands:
    """A wall clock and a steady one, moved by hand."""

    def __init__(self) -> None:
        self.wall = 1_764_000_000.0
        self.steady = 50.0

    def clock(self) -> Clock:
        return Clock(lambda: self.wall, lambda: self.steady)

    def move(self, seconds: float, *, jump: float = 0.0) -> None:
        """Time passes; the wall clock is also set."""
        self.steady += seconds
        self.wall += seconds + jump


def test_time_passes_as_the_wall_clock_says() -> None:
    hands = Hands()
    clock = hands.clock()

    hands.move(10)

    assert clock.now() == hands.wall


def test_a_clock_set_back_does_not_take_time_back_and_does_not_stop_it() -> None:
    hands = Hands()
    clock = hands.clock()
    before = clock.now()

    hands.move(10, jump=-DAY)
    after = clock.now()
    hands.move(5)

    assert (after, clock.now()) == (before + 10, before + 15)


def test_a_clock_set_forward_is_followed() -> None:
    hands = Hands()
    clock = hands.clock()

    hands.move(10, jump=DAY)

    assert clock.now() == hands.wall


def test_a_clock_set_back_and_right_again_is_followed_again() -> None:
    hands = Hands()
    clock = hands.clock()
    hands.move(1, jump=-DAY)
    clock.now()

    hands.move(1, jump=DAY)

    assert clock.now() == hands.wall


def test_whatever_the_wall_clock_does_time_never_steps_back() -> None:
    hands = Hands()
    clock = hands.clock()
    read = [clock.now()]

    for jump in (0.0, DAY, -DAY, -0.001, 3 * DAY, -5 * DAY, 0.0, 0.5):
        for _ in range(3):
            hands.move(0.01, jump=jump)
            read.append(clock.now())

    assert read == sorted(read)
    assert read[-1] > read[0] + DAY


def test_a_thread_held_up_between_its_looks_at_the_two_clocks_gains_no_time() -> None:
    hands = Hands()
    held_up = 0.0

    def look(clock: str) -> float:
        found: float = getattr(hands, clock)
        hands.move(held_up)
        return found

    clock = Clock(lambda: look("wall"), lambda: look("steady"))
    held_up = 60.0
    clock.now()
    held_up = 0.0

    assert clock.now() == hands.wall


def test_looking_often_does_not_make_time_run_ahead() -> None:
    hands = Hands()
    clock = hands.clock()

    for _ in range(100_000):
        hands.steady += 0.0000009  # a step that no float near today can add exactly
        clock.now()
    hands.wall += 100_000 * 0.0000009

    assert abs(clock.now() - hands.wall) < 0.001


def due_order(path: Path, jump: float) -> list[bytes]:
    """What is claimed when the clock jumps while three sagas wait for 10, 20 and 30 s."""

    async def run() -> list[bytes]:
        hands = Hands()
        store = SqliteStore(path, "default", hands.clock())
        await store.open(work=True)
        plan = (await store.add_plans([("f", "order", "{}")]))[0]
        worker = await store.register(INFO)
        now = store.now()
        for index, seconds in ((1, 30.0), (2, 10.0), (3, 20.0)):
            write = new_saga(f"s{index}", number_of(index), due=now + seconds)
            await store.commit(None, [write._replace(head=Head("running", None, now + seconds))])
        claimed: list[bytes] = []
        hands.move(1, jump=jump)
        for _ in range(60):
            if (await store.peek()).due:
                claimed += [one.head.id for one in await store.claim(worker, [plan], 10)]
            hands.move(1)
        await store.close()
        return claimed

    return asyncio.run(run())


def test_timers_come_due_in_order_and_once_whichever_way_the_clock_jumps(tmp_path: Path) -> None:
    in_order = [number_of(2), number_of(3), number_of(1)]

    assert due_order(tmp_path / "forward.db", DAY) == in_order
    assert due_order(tmp_path / "back.db", -DAY) == in_order
    assert due_order(tmp_path / "still.db", 0.0) == in_order


def test_a_start_is_due_at_once_also_where_the_clock_was_set_back_and_the_worker_is_younger(tmp_path: Path) -> None:
    hands = Hands()

    async def run() -> list[str]:
        client = SqliteStore(tmp_path / "orders.db", "default", hands.clock())
        await client.open(work=False)
        (plan,) = await client.add_plans([("f", "order", "{}")])
        hands.move(1, jump=-DAY)
        worker = SqliteStore(tmp_path / "orders.db", "default", hands.clock())
        await worker.open(work=True)
        number = await worker.register(INFO)
        await client.commit(None, [new_saga("alone", number_of(1), due=client.now())])
        with closing(sqlite3.connect(tmp_path / "orders.db", isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            client.join(connection).add(new_saga("within", number_of(2), due=client.now()))
            connection.execute("COMMIT")
        claimed = await worker.claim(number, [plan], 10)
        await client.close()
        await worker.close()
        return sorted(one.head.key for one in claimed)

    assert asyncio.run(run()) == ["alone", "within"]


def test_doctor_says_that_the_clock_was_set_back(tmp_path: Path) -> None:
    hands = Hands()

    async def checked() -> list[tuple[str, str]]:
        store = SqliteStore(tmp_path / "orders.db", "default", hands.clock())
        await store.open(work=False)
        await store.add_plans([("f", "order", "{}")])
        await store.commit(None, [new_saga("one", number_of(1), due=store.now())])
        said = [(line.level, line.detail) for line in await store.check() if line.what == "clock"]
        hands.move(1, jump=-DAY)
        later = SqliteStore(tmp_path / "orders.db", "default", hands.clock())
        await later.open(work=False)
        said += [(line.level, line.detail) for line in await later.check() if line.what == "clock"]
        await store.close()
        await later.close()
        return said

    before, after = asyncio.run(checked())

    assert before[0] == "ok"
    assert after == (
        "warning",
        "it was set back: a saga was written 86399 s from now. What waits since then waits that much longer",
    )
