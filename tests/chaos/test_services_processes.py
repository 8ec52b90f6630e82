"""What befalls the processes of services, on every broker: killed at each side of a commit, stopped, poisoned, old.

The orchestrator and two of the services are in this process, the inventory is one of its own, which suffers.
"""

from __future__ import annotations

import asyncio
import signal
from collections import Counter

import pytest
from services_scene import PATIENCE_SECONDS, Found, Scene, Shop, at_work, on_brokers, orders
from services_shop import HANDLER_SECONDS, POISON_MOOD, REPLY_SECONDS, Order, buy

OTHERS = ("payment", "delivery")
UNDER_WAY = 24  # sagas: enough to be always at one, and not more than a small machine can do


# Two deaths in a row each: a command that is in hand at three is held for what takes processes down.
AROUND_THE_COMMIT, AROUND_THE_REPLY = ("tx.before:2", "tx.after:2"), ("send.before:2", "reply.after:2")


@on_brokers
@pytest.mark.parametrize("points", [AROUND_THE_COMMIT, AROUND_THE_REPLY], ids=["commit", "reply"])
def test_a_service_that_is_killed_before_and_after_its_commit_or_its_reply(shop: Shop, points: tuple[str, ...]) -> None:
    """One life after the other, each to its point: whoever comes next goes on."""

    async def main() -> tuple[Found, list[int | None]]:
        async with at_work(shop, here=OTHERS) as scene:
            child, codes = await scene.child("inventory_app", AMENDS_FAULT=points[0]), []
            for number, point in enumerate((*points[1:], "")):
                scene.begin(orders(4), f"{number}-")
                await scene.until(lambda: not child.alive, "it is dead")
                codes.append(child.end())
                child.start(**({"AMENDS_FAULT": point} if point else {}))
            await scene.all_ended()
            return await scene.found(), codes

    found, codes = asyncio.run(main())

    assert found.troubles == []
    assert codes == [-signal.SIGKILL] * len(points)
    assert found.statuses == {"completed": 4, "compensated": 4}


@on_brokers
def test_a_service_that_sleeps_past_its_claim_while_another_does_its_work(shop: Shop) -> None:
    """It is stopped in the middle of handlers; its commands go to another process; and then it wakes up."""

    async def main() -> tuple[Found, bool, int]:
        async with at_work(shop, here=("inventory", *OTHERS)) as scene:
            child = await scene.child("inventory_app")
            begun = 0
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not _called_in(scene, child.pid):  # a group may take its time to give it a share
                    if sum(not task.done() for task in scene.running) < UNDER_WAY:
                        scene.begin(orders(8, "slow reserve"), f"{begun}-")
                        begun += 8
                    await asyncio.sleep(REPLY_SECONDS)
            child.send(signal.SIGSTOP)
            await asyncio.sleep(HANDLER_SECONDS + 2.0)
            child.send(signal.SIGCONT)
            await scene.all_ended()
            scene.begin(orders(20), "later-")
            await scene.all_ended()
            return await scene.found(), child.alive, begun

    found, alive, begun = asyncio.run(main())

    assert found.troubles == []
    assert alive
    assert found.statuses == {"completed": 10 + begun, "compensated": 10}


def _called_in(scene: Scene, pid: int) -> int:
    return sum(path.stat().st_size for path in scene.shop.books.glob(f"calls-{pid}.jsonl"))


@on_brokers
def test_a_message_that_kills_whoever_handles_it_is_parked_and_the_others_go_on(shop: Shop) -> None:
    async def main() -> tuple[Found, int]:
        async with at_work(shop, here=OTHERS) as scene:
            child = await scene.child("inventory_app")
            scene.begin([(buy, Order(7, POISON_MOOD)), *orders(6)])
            overseer = asyncio.create_task(_oversee(scene))
            await scene.all_ended()
            overseer.cancel()
            return await scene.found(may_park=("0-poison",)), child.lives

    found, lives = asyncio.run(main())

    assert found.troubles == []
    assert found.statuses == {"completed": 3, "compensated": 3, "parked": 1}
    assert "process" in found.reason(f"0-{POISON_MOOD}")
    deaths = Counter(call["pid"] for call in found.evidence.calls if call["mood"] == POISON_MOOD)
    assert 2 <= len(deaths) <= 5
    assert lives == len(deaths) + 1


async def _oversee(scene: Scene) -> None:
    """Start who is not there, as a supervisor does."""
    while True:
        for child in scene.children:
            if not child.alive:
                child.start()
        await asyncio.sleep(0.05)
