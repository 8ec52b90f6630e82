"""The unreliable network does what it says and counts what it did; doing nothing it is a transport like any other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest

from amends.decide.baton import (
    Answered,
    Baton,
    Mark,
    Progress,
    Saga,
    Stand,
    Told,
    answer_message,
    baton_message,
    mark_message,
    progress_message,
    word_message,
)
from amends.decide.events import Phase
from amends.decide.wire import Command, Reply, Word, command_message, reply_message, reply_of
from amends.errors import DefinitionError, MessageRefused, TransportAway
from amends.message import Message
from amends.testing.transport_suite import Broker, TransportSuite
from amends.testing.unreliable import MessageRates, Unreliable
from amends.testing.virtual import run_virtually
from amends.transport.base import Delivery, Destination, Send
from amends.transport.local import LocalTransport
from amends.transport.names import commands_of, replies_of

T = TypeVar("T")
COMMANDS, REPLIES = commands_of("stock"), replies_of("shop")
ACTION, UNDO = Phase.ACTION, Phase.UNDO


class TestWithoutFaultsItIsATransportLikeAnyOther(TransportSuite):
    @pytest.fixture
    def broker(self) -> Broker:
        return Broker("local://", connect=Unreliable, survives=False, creates=False)


def command(number: int = 1, phase: Phase = ACTION, id_: str = "") -> Message:
    saga = number.to_bytes(16, "big")
    made = Command(
        "stock.reserve", "default", saga, f"order-{number}", "reserve", phase, b"{}", f"1.{number:032x}",
        REPLIES.name, time.time(),
    )  # fmt: skip
    return command_message(made, id_ or f"{phase}-{number}", "/shop")


def reply(number: int = 1, phase: Phase = ACTION) -> Message:
    saga, word = number.to_bytes(16, "big"), Word.SUCCEEDED if phase is ACTION else Word.COMPENSATED
    made = Reply("default", saga, f"order-{number}", "reserve", phase, word, f"1.{number:032x}", b"7")
    return reply_message(made, "stock.reserve", f"reply-{phase}-{number}", "/stock", time.time(), {})


@dataclass
class Scene:
    """A network, and somebody reliable on the other side of it."""

    rates: MessageRates
    seed: int = 1
    came: list[Delivery] = field(default_factory=list)
    heard: list[Delivery] = field(default_factory=list)
    acks: bool = True
    _tasks: list[asyncio.Future[None]] = field(default_factory=list)

    async def __aenter__(self) -> Scene:
        self.network, self.peer = Unreliable(LocalTransport(), seed=self.seed, rates=self.rates), LocalTransport()
        await self.network.open()
        await self.peer.open()
        for destination in (COMMANDS, REPLIES):
            await self.peer.listen(destination, "peer", self._came, in_flight=10_000)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.network.close()
        await self.peer.close()

    def _came(self, deliveries: Sequence[Delivery]) -> None:
        self.came += deliveries
        for delivery in deliveries:
            self._tasks.append(asyncio.ensure_future(delivery.ack()))

    async def send(self, *messages: Message, to: Destination = COMMANDS) -> list[Exception | None]:
        """Send over the network."""
        return await self.network.publish([Send(to, message) for message in messages])

    async def hear(self, to: Destination) -> None:
        """Listen over the network, to a queue that nobody else listens to."""

        def receive(deliveries: Sequence[Delivery]) -> None:
            self.heard.extend(deliveries)
            for delivery in deliveries:
                if self.acks:
                    self._tasks.append(asyncio.ensure_future(delivery.ack()))

        await self.network.listen(to, "us", receive, in_flight=10_000)

    @property
    def ids(self) -> list[str]:
        return [delivery.message.id for delivery in self.came if delivery.message]

    @property
    def sagas(self) -> list[int]:
        return [int(delivery.message.key, 16) for delivery in self.came if delivery.message]


def played(rates: MessageRates, play: Any, seed: int = 1) -> Scene:
    """Play on a scene, let an hour pass, and give the scene."""

    async def main() -> Scene:
        async with Scene(rates, seed) as scene:
            await play(scene)
            await asyncio.sleep(3600)
            return scene

    return virtually(main())


def virtually(main: Coroutine[Any, Any, T]) -> T:
    return run_virtually(main)


def test_every_message_comes_twice_the_second_time_as_one_of_its_own() -> None:
    async def play(scene: Scene) -> None:
        await scene.send(*(command(number) for number in range(1, 21)))

    scene = played(MessageRates(duplicated=1.0), play)

    assert sorted(scene.sagas) == sorted([*range(1, 21)] * 2)
    assert len(set(scene.ids)) == 40
    assert scene.network.counts["duplicated"] == 20


def test_an_event_that_comes_twice_keeps_its_id_and_none_is_lost_or_held() -> None:
    events = [
        Message(f"event-{n}", "stock.short", "/stock", key="k", attributes={"amendskind": "event"}) for n in range(9)
    ]
    rates = MessageRates(duplicated=1.0, commands_lost=1.0, replies_lost=1.0, held=1.0)
    scene = played(rates, lambda scene: scene.send(*events))

    assert sorted(scene.ids) == sorted([event.id for event in events] * 2)


def test_a_buffer_changes_the_order_and_loses_nothing() -> None:
    async def play(scene: Scene) -> None:
        await scene.send(*(command(number) for number in range(1, 51)))

    scene = played(MessageRates(held=1.0, held_max=20, held_seconds=0.5), play)

    assert sorted(scene.sagas) == list(range(1, 51))
    assert scene.sagas != list(range(1, 51))
    assert scene.network.counts["held"] == 50


def test_what_is_lost_was_said_to_be_confirmed() -> None:
    async def play(scene: Scene) -> None:
        assert await scene.send(command(1), command(2)) == [None, None]
        assert await scene.send(reply(1), to=REPLIES) == [None]

    scene = played(MessageRates(commands_lost=1.0, replies_lost=1.0), play)

    assert scene.came == []
    assert (scene.network.counts["commands_lost"], scene.network.counts["replies_lost"]) == (2, 1)


def test_the_first_reply_of_every_half_of_a_step_is_lost_and_the_second_is_not() -> None:
    async def play(scene: Scene) -> None:
        for _ in range(2):
            await scene.send(reply(1), reply(2), reply(1, UNDO), to=REPLIES)

    scene = played(MessageRates(first_replies_lost=1.0), play)

    assert scene.network.counts["first_replies_lost"] == 3
    assert sorted(scene.ids) == ["reply-action-1", "reply-action-2", "reply-undo-1"]


def test_a_late_reply_comes_late() -> None:
    async def main() -> tuple[int, int]:
        async with Scene(MessageRates(replies_late=1.0, late_seconds=5.0)) as scene:
            await scene.send(reply(1), to=REPLIES)
            await asyncio.sleep(4.9)
            before = len(scene.came)
            await asyncio.sleep(0.2)
            return before, len(scene.came)

    assert virtually(main()) == (0, 1)


def test_an_action_comes_only_after_its_compensation_was_answered() -> None:
    async def main() -> tuple[list[str], list[str], int]:
        async with Scene(MessageRates(actions_behind_undo=1.0, behind_seconds=1000.0)) as scene:
            await scene.hear(Destination("other.replies"))
            await scene.send(command(1), command(1, id_="again"))
            await scene.send(command(1, UNDO))
            await asyncio.sleep(10)
            before = scene.ids.copy()
            await scene.peer.publish([Send(Destination("other.replies"), reply(1, UNDO))])
            await asyncio.sleep(10)
            return before, scene.ids, scene.network.counts["actions_behind_undo"]

    before, after, count = virtually(main())
    assert before == ["undo-1"]
    assert sorted(after) == ["action-1", "again", "undo-1"]
    assert count == 2


def test_an_action_comes_behind_a_compensation_whose_answer_another_process_is_given() -> None:
    async def main() -> tuple[list[str], list[str], int]:
        async with Scene(MessageRates(actions_behind_undo=1.0, behind_seconds=1000.0)) as scene:
            await scene.send(command(1))
            await scene.send(command(1, UNDO))
            await asyncio.sleep(10)
            before = scene.ids.copy()
            await asyncio.sleep(10)
            return before, scene.ids, scene.network.counts["actions_behind_undo"]

    assert virtually(main()) == (["undo-1"], ["undo-1", "action-1"], 1)


def test_an_action_whose_compensation_never_comes_is_let_go_in_the_end() -> None:
    scene = played(MessageRates(actions_behind_undo=1.0, behind_seconds=5.0), lambda scene: scene.send(command(1)))

    assert scene.ids == ["action-1"]
    assert scene.network.counts["actions_behind_undo"] == 0


def test_a_delivery_whose_ack_is_lost_comes_again() -> None:
    async def main() -> tuple[list[int], int]:
        async with Scene(MessageRates(acks_lost=1.0)) as scene:
            await scene.hear(Destination("mine.commands"))
            await scene.peer.publish([Send(Destination("mine.commands"), command(1))])
            while len(scene.heard) < 3:
                await asyncio.sleep(0.1)
            scene.network.heal()
            await asyncio.sleep(10)
            return [delivery.times for delivery in scene.heard], scene.network.counts["acks_lost"]

    times, lost = virtually(main())
    assert times == list(range(1, lost + 2))


def test_a_delivery_that_is_handed_over_twice_is_acked_once() -> None:
    async def main() -> tuple[int, int | None]:
        async with Scene(MessageRates(redelivered=1.0)) as scene:
            await scene.hear(Destination("mine.commands"))
            await scene.peer.publish([Send(Destination("mine.commands"), command(1))])
            await asyncio.sleep(10)
            return len(scene.heard), await scene.network.lag(Destination("mine.commands"), "us")

    assert virtually(main()) == (2, 0)


def test_who_is_not_told_sends_again_and_it_may_be_there_already() -> None:
    async def play(scene: Scene) -> None:
        scene.rates.confirms_lost = 1.0
        [told] = await scene.send(command(1))
        assert isinstance(told, TransportAway)
        scene.rates.heal()
        scene.rates.away = 1.0
        [told] = await scene.send(command(2))
        assert isinstance(told, TransportAway)

    assert played(MessageRates(), play).sagas == [1]


def test_old_replies_come_again_as_they_were() -> None:
    async def play(scene: Scene) -> None:
        await scene.send(*(reply(number) for number in range(1, 11)), to=REPLIES)

    scene = played(MessageRates(replayed=1.0), play)

    assert scene.network.counts["replayed"] == 10
    tokens = {delivery.message.attributes["amendstoken"] for delivery in scene.came if delivery.message}
    assert len(scene.came) == 20
    assert tokens == {f"1.{number:032x}" for number in range(1, 11)}


def test_a_forged_reply_reads_like_one_and_has_the_token_of_no_such_step() -> None:
    async def play(scene: Scene) -> None:
        await scene.send(*(reply(number) for number in range(1, 101)), to=REPLIES)

    scene = played(MessageRates(forged=1.0), play)

    forged = [one.message for one in scene.came if one.message and one.message.source == "/forged"]
    assert len(forged) == scene.network.counts["forged"] == 100
    for message in forged:
        told = reply_of(message)
        assert told.token != f"1.{int.from_bytes(told.saga, 'big'):032x}"


def test_garbage_unknown_commands_poison_and_giants_are_added_to_what_is_sent() -> None:
    async def play(scene: Scene) -> None:
        await scene.send(*(command(number) for number in range(1, 11)))

    rates = MessageRates(garbage=1.0, unknown=1.0, poison=1.0, huge=1.0, poison_data=b'"die"', huge_bytes=9_000_000)
    scene = played(rates, play)

    counts = scene.network.counts
    assert (counts["garbage"], counts["unknown"], counts["poison"]) == (10, 10, 10)
    assert counts["huge, refused by the broker"] == 10
    types = [one.message.type for one in scene.came if one.message]
    assert types.count("stock.no-such-command") == 10
    assert sum(one.message.data == b'"die"' for one in scene.came if one.message) == 10
    sagas = [one.message.key for one in scene.came if one.message and one.message.source == "/strange"]
    assert len(set(sagas)) == 20


def test_what_came_again_is_counted() -> None:
    async def main() -> tuple[int, int]:
        async with Scene(MessageRates()) as scene:
            await scene.hear(Destination("mine.commands"))
            await scene.peer.publish([Send(Destination("mine.commands"), command(number)) for number in (1, 2, 1)])
            await asyncio.sleep(1)
            return scene.network.counts["commands delivered"], scene.network.counts["commands delivered again"]

    assert virtually(main()) == (3, 1)


def test_healed_it_lets_go_what_it_held_and_does_nothing_more() -> None:
    async def main() -> tuple[int, int, int]:
        rates = MessageRates(held=1.0, held_seconds=1000, replies_late=1.0, late_seconds=1000, actions_behind_undo=1.0)
        async with Scene(rates) as scene:
            await scene.send(command(1), command(2, UNDO))
            await scene.send(reply(1), to=REPLIES)
            await asyncio.sleep(1)
            before = len(scene.came)
            scene.network.heal()
            await scene.send(command(3))
            await asyncio.sleep(1)
            return before, len(scene.came), scene.network.held

    assert virtually(main()) == (0, 4, 0)


def test_a_network_that_closes_sends_what_it_held() -> None:
    async def main() -> list[str]:
        scene = Scene(MessageRates(replies_late=1.0, late_seconds=1000))
        async with scene:
            await scene.send(reply(1), to=REPLIES)
            await scene.network.close()
            await asyncio.sleep(1)
            return scene.ids

    assert virtually(main()) == ["reply-action-1"]


def test_one_seed_is_one_fate_and_another_is_another() -> None:
    async def play(scene: Scene) -> None:
        for number in range(1, 101):
            await scene.send(command(number))

    def fate(seed: int) -> list[int]:
        return played(MessageRates(commands_lost=0.3, held=0.3, held_max=5), play, seed).sagas

    assert fate(1) == fate(1) != fate(2)


@pytest.mark.parametrize("wrong", [{"held": 1.5}, {"duplicated": -0.1}, {"held_max": 0}, {"late_seconds": -1.0}])
def test_a_rate_that_is_no_share_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match=next(iter(wrong))):
        MessageRates(**wrong)


def test_garbage_is_nothing_that_anybody_can_read_as_a_reply() -> None:
    async def play(scene: Scene) -> None:
        await scene.send(*(reply(number) for number in range(1, 201)), to=REPLIES)

    scene = played(MessageRates(garbage=1.0), play)

    found = [one.message for one in scene.came if one.message and one.message.source == "/garbage"]
    assert len(found) == 200
    for message in found:
        with pytest.raises(MessageRefused):
            reply_of(message)


SAGA = Saga((7).to_bytes(16, "big"), "order-7", "buy", "0" * 32, "shop")
TRAVELLERS = (
    baton_message(Baton(SAGA, "stock.reserve", "reserve", ACTION, 1, b'[{"a":1}]', 1.0), "baton", "/shop"),
    mark_message(Mark(SAGA, "1" * 32, "cancel", "", "", ""), "mark", "/shop", 1.0),
    word_message(Told(SAGA, Stand.ENDED, "stock", b'[{"a":1}]'), "word", "/stock", 1.0),
    answer_message(Answered(SAGA, "1" * 32, "accepted", "", "stock", 1), "answer", "/stock", 1.0),
)


@pytest.mark.parametrize("message", TRAVELLERS, ids=lambda message: message.id)
def test_what_is_said_of_a_choreographed_saga_is_lost_like_a_command_or_a_reply(message: Message) -> None:
    async def play(scene: Scene) -> None:
        await scene.send(*(message._replace(id=f"{message.id}-{number}") for number in range(50)))

    scene = played(MessageRates(commands_lost=0.5, replies_lost=0.5), play)

    counts = scene.network.counts
    assert counts["commands_lost"] + counts["replies_lost"] + len(scene.came) == 50
    assert 10 < len(scene.came) < 40


def test_what_watchers_are_told_is_never_lost_or_held() -> None:
    told = progress_message(Progress(SAGA, "stock", b"[]"), "told", "/stock", 1.0)

    async def play(scene: Scene) -> None:
        await scene.send(told)
        await asyncio.sleep(0)
        assert scene.network.held == 0

    scene = played(MessageRates(commands_lost=1.0, replies_lost=1.0, held=1.0, replies_late=1.0), play)

    assert scene.ids == ["told"]


@pytest.mark.parametrize("message", TRAVELLERS, ids=lambda message: message.id)
def test_a_forged_baton_or_what_is_said_beside_it_contradicts_itself(message: Message) -> None:
    async def play(scene: Scene) -> None:
        await scene.send(*(message._replace(id=f"{message.id}-{number}") for number in range(50)))

    scene = played(MessageRates(forged=1.0), play)

    forged = [one.message for one in scene.came if one.message and one.message.source == "/forged"]
    assert len(forged) == 50
    for made in forged:
        assert made.attributes != message.attributes or made.data == message.data[:-1]
