"""What befalls brokers, each of a kind of its own: killed, wiped, paused, while sagas are under way.

Guarantees asked for: everything goes on by itself, and the money is where it should be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from services_scene import BROKERS, Found, Scene, Shop, at_work, orders
from services_shop import REPLY_SECONDS

from servers import need
from services.broker import Broker
from services.kafka import Kafka
from services.nats import Nats
from services.rabbitmq import Rabbitmq
from services.redis import Redis

KINDS: dict[str, type[Broker]] = {"kafka": Kafka, "rabbitmq": Rabbitmq, "nats": Nats, "redis": Redis}
# RabbitMQ writes down which quorum queues it has half a second after they were made. One that is killed before then
# brings a queue back that answers to nobody: docs/reference/transports.md.
SETTLED_SECONDS = {"rabbitmq": 1.5}
on_a_broker_of_its_own = pytest.mark.parametrize("broker", BROKERS, indirect=True, scope="module")
Harm = Callable[[Broker], None]


@pytest.fixture(scope="module")
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """A broker that may be harmed; one of each kind for all tests here."""
    kind = KINDS[request.param]
    need(kind.find)
    with kind() as made:
        yield made


@pytest.fixture
def harmed(broker: Broker, shop_databases: dict[str, str], tmp_path: Path) -> Shop:
    """A shop on it."""
    broker.start()
    return Shop(broker.name.lower(), broker.url, shop_databases, tmp_path)


def under_way(harmed: Shop, broker: Broker, harm: Harm, settled_seconds: float = 0.0) -> Found:
    """Harm the broker, whose queues are so old, while sagas are under way, and see everything end."""

    async def main() -> Found:
        async with at_work(harmed) as scene:
            await asyncio.sleep(settled_seconds)
            scene.begin(orders(20, "good", "declined", "slow", "returned"))
            await scene.until(lambda: _handled(scene) >= 10, "sagas are under way")
            open_before = sum(not task.done() for task in scene.running)
            await asyncio.to_thread(harm, broker)
            await scene.all_ended()
            scene.begin(orders(4), "later-")
            await scene.all_ended()
            assert open_before >= 5, "hardly a saga was under way"
            return await scene.found()

    return asyncio.run(main())


def _handled(scene: Scene) -> int:
    return sum(app.figures.handled for app in scene.apps.values())


@on_a_broker_of_its_own
def test_a_broker_that_is_killed_and_started_again(broker: Broker, harmed: Shop) -> None:
    def harm(broker: Broker) -> None:
        broker.kill()
        broker.start()

    found = under_way(harmed, broker, harm, SETTLED_SECONDS.get(harmed.kind, 0.0))

    assert found.troubles == []
    assert found.statuses == {"completed": 12, "compensated": 12}


@on_a_broker_of_its_own
def test_a_broker_that_has_lost_everything(broker: Broker, harmed: Shop) -> None:
    """What is unanswered is sent again, into queues that are made again."""

    def harm(broker: Broker) -> None:
        broker.kill()
        broker.wipe()
        broker.start()

    found = under_way(harmed, broker, harm)

    assert found.troubles == []
    assert found.statuses == {"completed": 12, "compensated": 12}


@on_a_broker_of_its_own
def test_a_broker_that_is_paused_for_longer_than_any_reply_is_waited_for(broker: Broker, harmed: Shop) -> None:
    def harm(broker: Broker) -> None:
        import time

        broker.pause()
        time.sleep(REPLY_SECONDS * 4)
        broker.resume()

    found = under_way(harmed, broker, harm)

    assert found.troubles == []
    assert found.statuses == {"completed": 12, "compensated": 12}
