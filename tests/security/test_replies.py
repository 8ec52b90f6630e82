"""F64, F65, F66, X7: a reply moves a saga only with the token of the very command, and nothing else that it says is
believed where the store knows better.

`tests/run/test_remote_steps.py` and the chaos of services have forged and replayed replies in whole systems.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asked import Stock, answer, asking, placed
from engine import Order, database, until, virtually

from amends import Completed
from amends.decide.events import Phase
from amends.decide.wire import Command
from amends.run.remote import rotate
from amends.run.session import Session
from amends.run.tokens import MAC_BYTES, Tokens
from amends.store.base import TOKEN_KEYS_KEPT, TokenKey

SAGA = bytes(range(16))
PLACE: tuple[str, bytes, str, int, Phase] = ("default", SAGA, "pay", 1, Phase.ACTION)
KEYS = [TokenKey(12, "b", b"y" * 32), TokenKey(2, "a", b"x" * 32)]


def test_a_token_fits_in_no_place_but_its_own() -> None:
    tokens = Tokens(KEYS)
    token = tokens.make(*PLACE)
    others: list[tuple[str, bytes, str, int, Phase]] = [
        ("other", SAGA, "pay", 1, Phase.ACTION),
        ("default", bytes(16), "pay", 1, Phase.ACTION),
        ("default", SAGA, "pay2", 1, Phase.ACTION),
        ("default", SAGA, "pay", 2, Phase.ACTION),
        ("default", SAGA, "pay", 11, Phase.ACTION),
        ("default", SAGA, "pay", 1, Phase.UNDO),
        ("default\n", SAGA, "pay", 1, Phase.ACTION),
        ("", SAGA, "", 1, Phase.ACTION),
    ]

    assert tokens.fits(token, *PLACE)
    assert not any(tokens.fits(token, *other) for other in others)
    assert len({tokens.make(*place) for place in [PLACE, *others]}) == len(others) + 1


def test_a_token_with_any_bit_turned_or_any_part_gone_fits_nowhere() -> None:
    tokens = Tokens(KEYS)
    token = tokens.make(*PLACE)
    places = [(at, bit) for at in range(len(token)) for bit in range(7)]
    turned = [token[:at] + chr(ord(token[at]) ^ (1 << bit)) + token[at + 1 :] for at, bit in places]
    parts = [token[:end] for end in range(len(token))] + [token[start:] for start in range(1, len(token))]
    spelt = [
        f"0{token}",
        f" {token}",
        f"{token} ",
        f"{token}\n",
        token.upper(),
        f"{token}.{token}",
        token.replace(".", ".."),
    ]
    wide = token.replace("1", "\N{FULLWIDTH DIGIT ONE}")

    assert len(token) == len("12.") + 2 * MAC_BYTES
    assert not any(tokens.fits(wrong, *PLACE) for wrong in [*turned, *parts, *spelt, wide, "", ".", "12.", "\ud800"])


def test_a_token_of_another_key_does_not_fit_even_if_it_says_so() -> None:
    old, tokens = Tokens(KEYS[1:]).make(*PLACE), Tokens(KEYS)

    assert tokens.fits(old, *PLACE), "until its key is gone"
    assert not tokens.fits(old.replace("2.", "12.", 1), *PLACE)
    assert not Tokens(KEYS[:1]).fits(old, *PLACE)


def refused(orchestrator: Any) -> int:
    """How many replies were refused."""
    session: Session = orchestrator.session
    assert session.worker is not None
    return int(session.worker._remote.counts.refused)


def test_a_reply_with_a_key_that_was_rotated_away_moves_nothing() -> None:
    """One that was leaked is of no use any more after `amends db rotate-token-key` as often as keys are kept."""
    kept: list[Command] = []

    async def main() -> Any:
        db = database()
        async with Stock(kept.append) as stock, asking(on=db) as old:
            run = asyncio.create_task(old.run(placed, Order(100), id="before"))
            await until(lambda: len(kept) == 1)
            for _ in range(TOKEN_KEYS_KEPT):
                await rotate(old.session.store, "default", await old.session.store.token_keys())
            run.cancel()
        async with Stock(kept.append) as stock, asking(on=db) as new:
            await until(lambda: len(kept) == 2)
            await stock.reply(answer(kept[0]), kept[0].reply_to)
            await until(lambda: refused(new) == 1)
            await stock.reply(answer(kept[1]), kept[1].reply_to)
            return await new.handle(placed, "before").outcome(), kept[0].token != kept[1].token

    assert virtually(main()) == (Completed(7), True)


@pytest.mark.parametrize("stays", [True, False], ids=["in memory", "released"])
def test_what_a_reply_says_of_its_saga_s_id_finds_no_other_saga(stays: bool) -> None:
    """`amendskey` is for people: with the token of one saga it opens no other, which stays as it is."""
    kept: list[Command] = []

    async def main() -> Any:
        async with Stock(kept.append) as stock, asking(on=database()) as orchestrator:
            runs = [asyncio.create_task(orchestrator.run(placed, Order(100), id=key)) for key in ("one", "two")]
            await until(lambda: len(kept) == 2)
            first, second = sorted(kept[:2], key=lambda command: command.key)
            if not stays:
                await asyncio.sleep(8)
            before = await orchestrator.session.store.load("two")
            await stock.reply(answer(first, key="two"), first.reply_to)
            await asyncio.sleep(1)
            same = await orchestrator.session.store.load("two")
            assert before is not None
            assert same is not None
            moved = not runs[1].done() and before.rows == same.rows
            await stock.reply(answer(first), first.reply_to)
            await stock.reply(answer(second), second.reply_to)
            return moved, await asyncio.gather(*runs)

    assert virtually(main()) == (True, [Completed(7), Completed(7)])
