"""The committer, where a lock of somebody else's holds a saga up: alone, in order, and told once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from amends.run.committer import Committer
from amends.store.base import Fate, Head, NewSaga, Retired, Write


class Locked:
    """A store in which some keys and sagas are locked by somebody. It notes what is asked of each line."""

    def __init__(self) -> None:
        self.locked: set[str | bytes] = set()
        self.main: list[list[Write]] = []
        self.aside: list[list[Write]] = []
        self.retired = False

    async def commit(self, worker: int | None, writes: Sequence[Write]) -> list[Fate]:
        """As a store does, with what is locked given back."""
        self.main.append(list(writes))
        return await self._fates(writes)

    async def commit_aside(self, worker: int | None, writes: Sequence[Write]) -> list[Fate]:
        """The same."""
        self.aside.append(list(writes))
        return await self._fates(writes)

    async def _fates(self, writes: Sequence[Write]) -> list[Fate]:
        await asyncio.sleep(0.001)
        if self.retired:
            raise Retired("retired")
        held = {write.saga for write in writes if write.saga in self.locked or _key(write) in self.locked}
        return [Fate.HELD if write.saga in held else Fate.WRITTEN for write in writes]


def _key(write: Write) -> str | None:
    return None if write.new is None else write.new.key


def start(number: int, key: str) -> Write:
    """The first row of a saga."""
    return Write(bytes([number]), 0, number, b"[]", NewSaga(key, 1, b"", 0.0), Head("running", 1, None))


def following(number: int, seq: int) -> Write:
    """A further row of it."""
    return Write(bytes([number]), seq, 1000 * number + seq, b"[]")


class Played:
    """A committer on such a store, and what it tells."""

    def __init__(self) -> None:
        self.store = Locked()
        self.told: list[tuple[int, Fate]] = []
        self.retired = 0
        store: Any = self.store
        self.committer = Committer(store, 1, 100, retired=self._retired, broken=_broken)

    def submit(self, *writes: Write) -> None:
        """Have all written."""
        for write in writes:
            self.committer.submit(write, self._told_of(write))

    def ops(self, line: list[list[Write]]) -> list[int]:
        """The operation numbers that a line was asked for."""
        return [write.op for batch in line for write in batch]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition."""
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.001)

    def _told_of(self, write: Write) -> Callable[[Fate], None]:
        return lambda fate: self.told.append((write.op, fate))

    def _retired(self) -> None:
        self.retired += 1
        self.committer.close()


def _broken(error: BaseException) -> None:
    raise error


def test_what_follows_on_a_held_decision_waits_with_it_and_is_written_in_order() -> None:
    async def main() -> None:
        played = Played()
        one = bytes([1])
        played.store.locked = {one}
        played.submit(following(1, 1), following(2, 1))
        await played.until(lambda: (2001, Fate.WRITTEN) in played.told)
        played.submit(following(1, 2), following(2, 2), following(1, 3))
        await played.until(lambda: (2002, Fate.WRITTEN) in played.told and len(played.store.aside) > 2)
        assert all(op < 1000 or op >= 2000 for op, _ in played.told)
        assert played.ops(played.store.main) == [1001, 2001, 2002]

        played.store.locked = set()
        await played.committer.drain()
        assert [op for op, _ in played.told if op < 2000] == [1001, 1002, 1003]
        assert {fate for _, fate in played.told} == {Fate.WRITTEN}
        played.submit(following(1, 4))
        await played.committer.drain()
        assert played.ops(played.store.main)[-1] == 1004, "it goes with the others again"

    asyncio.run(main())


def test_another_start_with_a_key_that_is_held_holds_up_no_batch() -> None:
    async def main() -> None:
        played = Played()
        played.store.locked = {"K"}
        played.submit(start(1, "K"), start(2, "other"))
        await played.until(lambda: (2, Fate.WRITTEN) in played.told)
        for number in range(3, 10):
            played.submit(start(number, "K"))
            played.submit(start(number + 100, f"n{number}"))
        await played.until(lambda: len(played.told) == 8)
        assert [op for op in played.ops(played.store.main) if op < 100] == [1, 2]

        played.store.locked = set()
        await played.committer.drain()
        assert sorted(op for op, _ in played.told) == [*range(1, 10), *range(103, 110)]
        played.submit(start(50, "K"))
        await played.committer.drain()
        assert played.ops(played.store.main)[-1] == 50

    asyncio.run(main())


@pytest.mark.parametrize("by", ["close", "retirement"])
def test_everything_that_is_held_is_told_that_it_is_lost_once_when_the_committer_ends(by: str) -> None:
    async def main() -> None:
        played = Played()
        played.store.locked = {"K", bytes([2])}
        played.submit(start(1, "K"), following(2, 1))
        await played.until(lambda: len(played.store.aside) > 1)
        played.submit(following(2, 2))
        if by == "close":
            played.committer.close()
        else:
            played.store.retired = True
            await played.until(lambda: played.retired > 0)
        played.submit(following(3, 1))
        await asyncio.sleep(0.05)  # nothing more is told
        assert sorted(op for op, _ in played.told) == [1, 2001, 2002, 3001]
        assert {fate for _, fate in played.told} == {Fate.LOST}
        assert played.retired == (by == "retirement")
        await played.committer.drain()

    asyncio.run(main())


def test_a_drain_that_is_cancelled_leaves_what_is_held_to_the_next() -> None:
    async def main() -> None:
        played = Played()
        played.store.locked = {"K"}
        played.submit(start(1, "K"))
        await played.until(lambda: bool(played.store.aside))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await played.committer.drain()
        assert not played.told
        played.store.locked = set()
        await played.committer.drain()
        assert played.told == [(1, Fate.WRITTEN)]

    asyncio.run(main())
