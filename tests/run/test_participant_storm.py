"""Many commands, each many times, in any order, to several processes' worth of participants at once: the sums hold.

Of each step an action has one effect at most, its compensation too, and none comes after the other's end.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from participant_scene import POSTGRES_TX, SQLITE_TX, Place, Stock, action, at_work, undo

from amends import Context, Park, Reject, Retry
from amends.decide.wire import Command, Word

SAGAS = 30
SEEDS = (1, 2, 3)


@pytest.fixture(params=["postgres", "sqlite"])
def stock(request: pytest.FixtureRequest, tmp_path: Path) -> Stock:
    """A service on either database."""
    if request.param == "postgres":
        return Stock(Place("postgres", request.getfixturevalue("postgres_url"), POSTGRES_TX))
    return Stock(Place("sqlite", f"sqlite:///{tmp_path}/stock.db", SQLITE_TX))


def commands(chance: random.Random) -> list[Command]:
    """Every saga's commands, several times each, shuffled; some sagas are never undone, some only undone."""
    made: list[Command] = []
    for number in range(SAGAS):
        saga = bytes([number + 1]) * 16
        data = f'{{"sku":"{number}"}}'.encode()
        for round_ in range(1, chance.choice([1, 1, 1, 2]) + 1):
            one = action(data, saga=saga, key=str(number), round=round_, closed=0)
            back = undo(saga=saga, key=str(number), round=round_, known=chance.random() < 0.3)
            made += [one] * chance.randint(0, 4) + [back] * chance.choice([0, 1, 3])
    chance.shuffle(made)
    return made


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_comes_and_however_often_each_step_has_one_effect_and_none_after_its_undo(
    stock: Stock, seed: int
) -> None:
    chance = random.Random(seed)

    async def trouble(what: str, ctx: Context) -> None:
        await asyncio.sleep(chance.random() * 0.01)
        drawn = chance.random()
        if drawn < 0.15:
            raise chance.choice([ValueError("flaky"), Retry.after(1), Park("ask"), Reject("no"), TimeoutError()])

    stock.before = trouble
    apps = [stock.participant(batch=batch) for batch in (1, 20, 20)]
    sent = commands(chance)
    replies: dict[tuple[str, Any, int], list[tuple[Word, bytes]]] = defaultdict(list)

    async def main() -> None:
        async with AsyncExitStack() as stack:
            for app in apps[1:]:
                await stack.enter_async_context(app)
                await app.session.listening()
            peer = await stack.enter_async_context(at_work(stock, apps[0]))
            await peer.send(*sent)
            for _ in sent:
                reply = await peer.reply()
                replies[reply.key, reply.phase, reply.round].append((reply.word, reply.data))

    asyncio.run(main())

    moved: dict[str, list[int]] = defaultdict(list)
    for sku, many in stock.place.moved:
        moved[sku].append(many)
    rows = {(int.from_bytes(_id(row[0])[:1], "big") - 1, row[1]): row[2:] for row in _rows(stock.place)}
    for number in range(SAGAS):
        effects = moved[str(number)]
        assert set(effects) <= {1, -1}
        assert effects in ([], [1], [1, -1], [1, -1, 1], [1, -1, 1, -1]), (number, effects)  # a round after a round
        done = [
            compensated for (saga, _), (kept, compensated) in rows.items() if saga == number and kept == "succeeded"
        ]
        assert sum(effects) == len(done) - sum(done), (number, effects, rows)  # the rows say what is there
    for (_, phase, _), told in replies.items():
        kinds = {word for word, _ in told} - {Word.FAILED, Word.FENCED, Word.EARLIER_OPEN}
        assert len(kinds) <= 2, (phase, told)
        assert not {Word.SUCCEEDED, Word.REJECTED} <= kinds
        assert len({data for word, data in told if word is Word.SUCCEEDED}) <= 1


def _rows(place: Place) -> list[tuple[Any, int, str, bool]]:
    found = place.sql("SELECT saga, round, action, compensated FROM amends.inbox")
    return [(row[0], row[1], row[2], bool(row[3])) for row in found]


def _id(saga: Any) -> bytes:
    return saga if isinstance(saga, bytes) else bytes(saga.bytes)
