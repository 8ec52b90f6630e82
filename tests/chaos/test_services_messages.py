"""What befalls messages between an orchestrator and its services, on every broker; afterwards the money is counted.

Each test plays a dozen orders over an unreliable network, sees to it that what it is about has really happened, and
holds ledgers, calls and clients' history against what the sagas say.
"""

from __future__ import annotations

import pytest
from services_scene import Shop, on_transports, orders, play
from services_shop import REPLY_SECONDS, buy, hasty

from amends.testing.unreliable import MessageRates

SOME = 12


@on_transports
def test_every_message_twice(shop: Shop) -> None:
    rates = MessageRates(duplicated=1.0, redelivered=1.0)
    found = play(shop, orders(SOME), sends=rates, answers=MessageRates(duplicated=1.0, redelivered=1.0))

    assert found.troubles == []
    assert found.statuses == {"completed": SOME // 2, "compensated": SOME // 2}
    assert found.counts["commands delivered again"] >= SOME * 2
    assert found.counts["replies delivered again"] >= SOME * 2
    assert found.counts["repeated"] >= SOME * 2


@on_transports
def test_a_buffer_that_shuffles(shop: Shop) -> None:
    def rates() -> MessageRates:
        return MessageRates(held=0.7, held_max=8, held_seconds=0.1, duplicated=0.3)

    found = play(shop, orders(SOME), sends=rates(), answers=rates())

    assert found.troubles == []
    assert found.statuses == {"completed": SOME // 2, "compensated": SOME // 2}
    assert found.counts["held"] >= SOME * 3


@on_transports
def test_lost_commands_and_replies_are_asked_for_again(shop: Shop) -> None:
    lossy = MessageRates(replies_lost=0.25)
    found = play(shop, orders(SOME), sends=MessageRates(commands_lost=0.1), answers=lossy)

    assert found.troubles == []
    assert found.statuses == {"completed": SOME // 2, "compensated": SOME // 2}
    assert found.counts["replies_lost"] > 0
    assert found.counts["repeated"] > 0


@on_transports
def test_the_first_reply_of_every_command_is_lost(shop: Shop) -> None:
    found = play(shop, orders(6), answers=MessageRates(first_replies_lost=1.0))

    assert found.troubles == []
    assert found.statuses == {"completed": 3, "compensated": 3}
    assert found.counts["first_replies_lost"] >= found.effects
    assert found.counts["repeated"] >= found.effects


@on_transports
def test_replies_that_come_after_their_timeout(shop: Shop) -> None:
    late = MessageRates(replies_late=1.0, late_seconds=1.4 * REPLY_SECONDS)
    found = play(shop, orders(8, sagas=(hasty, buy)), answers=late)

    assert found.troubles == []
    assert found.counts["replies_late"] >= 16
    assert found.counts["repeated"] > 0


@on_transports
def test_an_action_that_comes_after_its_compensation(shop: Shop) -> None:
    held = MessageRates(actions_behind_undo=0.4, behind_seconds=5.0)
    found = play(shop, orders(10, "good", sagas=(hasty,)), sends=held)

    assert found.troubles == []
    assert found.counts["actions_behind_undo"] > 0
    assert found.statuses["compensated"] > 0


@on_transports
def test_acks_and_confirms_that_are_lost(shop: Shop) -> None:
    def rates() -> MessageRates:
        return MessageRates(acks_lost=0.4, confirms_lost=0.2, away=0.1)

    found = play(shop, orders(SOME), sends=rates(), answers=rates())

    assert found.troubles == []
    assert found.statuses == {"completed": SOME // 2, "compensated": SOME // 2}
    assert found.counts["acks_lost"] > SOME
    assert found.counts["confirms_lost"] > 0
    assert found.counts["repeated"] > 0


@on_transports
def test_forged_replies_are_refused_and_replayed_ones_move_nothing(shop: Shop) -> None:
    found = play(shop, orders(SOME), answers=MessageRates(forged=1.0, replayed=0.5))

    assert found.troubles == []
    assert found.statuses == {"completed": SOME // 2, "compensated": SOME // 2}
    assert found.counts["forged"] >= SOME * 2
    assert found.counts["replayed"] > 0
    assert found.counts["replies refused"] >= SOME


@on_transports
def test_garbage_giants_and_commands_that_nobody_knows_are_put_aside(shop: Shop) -> None:
    def rates() -> MessageRates:
        return MessageRates(garbage=0.5, unknown=0.3, huge=0.3, huge_bytes=20_000_000)

    found = play(shop, orders(SOME), sends=rates(), answers=rates())

    assert found.troubles == []
    assert found.statuses == {"completed": SOME // 2, "compensated": SOME // 2}
    assert found.counts["garbage"] > 0
    assert found.counts["refused"] > 0
    assert found.counts["parked"] >= found.counts["unknown"] > 0
    assert found.counts["huge, refused by the broker"] > 0


@on_transports
def test_handlers_that_fail_are_slow_and_say_no_after_they_have_written(shop: Shop) -> None:
    found = play(shop, orders(8, "flaky", "slow charge", "sold out", "declined"))

    assert found.troubles == []
    assert found.statuses == {"completed": 4, "compensated": 4}
    assert len(found.evidence.calls) > found.effects


@pytest.mark.parametrize("shop", ["local"], indirect=True)
def test_all_of_it_together(shop: Shop) -> None:
    """Without a broker; `test_services_chaos.py` does it with each, and with deaths."""

    def rates() -> MessageRates:
        return MessageRates(
            duplicated=0.2, redelivered=0.2, held=0.3, held_seconds=0.1, commands_lost=0.05, replies_lost=0.05,
            first_replies_lost=0.1, replies_late=0.05, late_seconds=1.5 * REPLY_SECONDS, acks_lost=0.1,
            confirms_lost=0.1, away=0.05, replayed=0.1, forged=0.2, garbage=0.1, unknown=0.05,
            actions_behind_undo=0.1, behind_seconds=4.0,
        )  # fmt: skip

    wanted = orders(24, "good", "declined", "flaky", "returned", "slow", sagas=(buy, hasty))
    found = play(shop, wanted, sends=rates(), answers=rates())

    assert found.troubles == []
    assert found.statuses["completed"] > 0
    assert found.statuses["compensated"] > 0
