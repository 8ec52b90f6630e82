"""Ids and operation numbers: unique in every thread and in every forked child."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest

from amends.run.chance import Chance, id_text


@pytest.fixture(autouse=True)
def _hurried() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize("draw", [lambda chance: chance.uuid7(1.0), Chance.operation], ids=["id", "operation"])
def test_no_two_threads_draw_the_same(draw: Callable[[Chance], object]) -> None:
    chance = Chance()

    def draw_some(_: int) -> list[object]:
        return [draw(chance) for _ in range(5_000)]

    with ThreadPoolExecutor(8) as pool:
        drawn = [value for values in pool.map(draw_some, range(8)) for value in values]

    assert len(set(drawn)) == len(drawn)


def test_a_forked_child_draws_other_ids_than_its_parent() -> None:
    chance = Chance()
    chance.uuid7(1.0)
    end, other = os.pipe()

    child = os.fork()
    if child == 0:
        os.write(other, chance.uuid7(1.0))
        os._exit(0)
    os.waitpid(child, 0)

    assert os.read(end, 16) != chance.uuid7(1.0)
    os.close(end)
    os.close(other)


def test_a_seeded_source_gives_the_same_again() -> None:
    first, second = Chance(Random(7)), Chance(Random(7))

    assert [first.uuid7(5.0), first.operation(), first.share()] == [
        second.uuid7(5.0),
        second.operation(),
        second.share(),
    ]


def test_ids_are_uuids_of_version_7_in_the_order_of_time() -> None:
    chance = Chance()

    texts = [id_text(chance.uuid7(1_700_000_000 + second)) for second in range(10)]

    assert texts == sorted(texts)
    assert all(text[14] == "7" and text[19] in "89ab" for text in texts)
