"""The participant in JavaScript, a real process with a real database, over a real broker.

Guarantees: every rule of the barrier that a sender can see is tried from outside, with processes killed where it hurts.
Must not: know how it is written.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from javascript_process import Process

from amends.decide.events import ACTION, UNDO, Phase
from amends.decide.wire import Command, Ended, Reply, Word, command_message, ended_message, reply_of
from amends.message import Message
from amends.transport.base import Delivery, Send, Transport
from amends.transport.names import commands_of, dead_of, replies_of
from amends.transport.open import transport_for
from servers import need
from services.javascript import javascript_packages, node_program

SECONDS = 40.0
COMMANDS = commands_of("shipping")
REPLIES = replies_of("tester")
CLAIM_SECONDS = 1.0  # what a killed process had in hand comes again after so long
APPLES = {"order": "o-1", "sku": "apple", "quantity": 3}


class Scene:
    """A service, its database, and somebody who sends commands and hears replies."""

    def __init__(self, database: str, broker: str, prefix: str) -> None:
        self.database = database
        self.broker = broker
        self.prefix = prefix
        self.saga = secrets.token_bytes(16)
        self._processes: list[Process] = []
        self._transport: Transport = transport_for(f"{broker}?prefix={prefix}&claim_seconds={CLAIM_SECONDS}")
        self._came: asyncio.Queue[Message] = asyncio.Queue()
        self._sent = 0

    def service(self, **environment: str) -> Process:
        """Start a process of the service; it listens when this returns."""
        process = Process(self.database, self.broker, self.prefix, **environment)
        self._processes.append(process)
        process.wait_for("listening")
        return process

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """With the sender connected. Afterwards no process is left."""
        await self._transport.open()
        try:
            await self._transport.prepare([COMMANDS])
            await self._transport.listen(REPLIES, "tester", self._receive, in_flight=100)
            yield
        finally:
            for process in self._processes:
                process.kill()
            await self._transport.close()

    def command(self, phase: Phase = ACTION, ask: object = APPLES, **changes: Any) -> Command:
        """A command of this scene's saga."""
        command = Command(
            type="shipping.ship",
            namespace="shop",
            saga=self.saga,
            key="order 1 %",
            step="ship",
            phase=phase,
            data=json.dumps(ask).encode(),
            token=f"token {secrets.token_hex(4)}",
            reply_to=REPLIES.name,
            sent_at=time.time(),
            trace={"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
        )
        return command._replace(**changes)

    async def send(self, *commands: Command) -> None:
        """Have them at the broker."""
        messages = []
        for command in commands:
            self._sent += 1
            messages.append(command_message(command, f"{self.prefix}-{self._sent}", "/amends/tester"))
        await self.put(*messages)

    async def put(self, *messages: Message) -> None:
        """Have messages in the queue of commands."""
        assert await self._transport.publish([Send(COMMANDS, each) for each in messages]) == [None] * len(messages)

    async def reply(self) -> tuple[Reply, Message]:
        """The next reply."""
        message = await asyncio.wait_for(self._came.get(), SECONDS)
        return reply_of(message), message

    async def ask(self, command: Command) -> Reply:
        """Send a command; gives its reply, which answers just that."""
        await self.send(command)
        reply, message = await self.reply()
        assert reply.token == command.token
        assert (reply.namespace, reply.saga, reply.key) == (command.namespace, command.saga, command.key)
        assert (reply.step, reply.phase, reply.round) == (command.step, command.phase, command.round)
        assert reply.attempt == command.attempt
        assert message.type == command.type
        assert message.attributes.items() >= command.trace.items()
        return reply

    @property
    def quiet(self) -> bool:
        """No reply is waiting to be looked at."""
        return self._came.empty()

    async def parcels(self) -> list[tuple[str, int]]:
        """Which orders have a parcel, and how often it was called back."""
        return [(row["order_id"], row["recalled"]) for row in await self.rows("SELECT * FROM parcel ORDER BY number")]

    async def rows(self, query: str) -> list[asyncpg.Record]:
        """What is in the service's database."""
        connection = await asyncpg.connect(self.database)
        try:
            return await connection.fetch(query)
        finally:
            await connection.close()

    async def dead(self) -> Message:
        """The next dead letter."""
        came: asyncio.Queue[Delivery] = asyncio.Queue()

        def receive(deliveries: Sequence[Delivery]) -> None:
            for delivery in deliveries:
                came.put_nowait(delivery)

        listening = await self._transport.listen(dead_of(COMMANDS), "tester", receive, in_flight=10)
        delivery = await asyncio.wait_for(came.get(), SECONDS)
        await delivery.ack()
        await listening.stop()
        assert delivery.message is not None, delivery.flaw
        return delivery.message

    def _receive(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            assert delivery.message is not None, delivery.flaw
            self._came.put_nowait(delivery.message)
            asyncio.get_running_loop().create_task(delivery.ack())  # the loop outlives it


Test = Callable[[Scene], Coroutine[Any, Any, None]]


@pytest.fixture
def scene(postgres_url: str, nats_url: str, broker_prefix: str) -> Scene:
    """A scene; each test begins its own processes."""
    need(javascript_packages)
    return Scene(postgres_url, nats_url, broker_prefix)


def in_scene(test: Test) -> Callable[[Scene], None]:
    """A test that runs with the sender connected."""

    def run(scene: Scene) -> None:
        async def whole() -> None:
            async with scene.running():
                await test(scene)

        asyncio.run(whole())

    run.__name__ = test.__name__
    return run


def test_it_passes_the_vectors() -> None:
    need(javascript_packages)

    command = [str(node_program()), "--test"]
    done = subprocess.run(
        command, cwd=javascript_packages(), capture_output=True, text=True, timeout=SECONDS * 2, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "# fail 0" in done.stdout
    assert "# pass 0" not in done.stdout


@in_scene
async def test_an_action_has_its_effect_and_its_undo_takes_it_back(scene: Scene) -> None:
    scene.service()

    shipped = await scene.ask(scene.command())
    recalled = await scene.ask(scene.command(UNDO, known=True))

    assert (shipped.word, json.loads(shipped.data)) == (Word.SUCCEEDED, {"number": 1})
    assert recalled.word is Word.COMPENSATED
    assert await scene.parcels() == [("o-1", 1)]


@in_scene
async def test_commands_that_come_again_and_at_once_have_one_effect_and_an_answer_each(scene: Scene) -> None:
    scene.service()
    scene.service()
    commands = [scene.command(attempt=attempt) for attempt in range(1, 21)]

    await scene.send(*commands)
    replies = [(await scene.reply())[0] for _ in commands]

    assert {reply.token for reply in replies} == {command.token for command in commands}
    assert {(reply.word, reply.data) for reply in replies} == {(Word.SUCCEEDED, b'{"number":1}')}
    assert await scene.parcels() == [("o-1", 0)]


@in_scene
async def test_undos_at_once_undo_once_and_have_an_answer_each(scene: Scene) -> None:
    scene.service()
    scene.service()
    await scene.ask(scene.command())
    undos = [scene.command(UNDO, attempt=attempt) for attempt in range(1, 41)]

    await scene.send(*undos)
    replies = [(await scene.reply())[0] for _ in undos]

    assert {reply.token for reply in replies} == {undo.token for undo in undos}
    assert {reply.word for reply in replies} == {Word.COMPENSATED}
    assert await scene.parcels() == [("o-1", 1)]


@in_scene
async def test_an_undo_that_comes_first_keeps_the_action_out(scene: Scene) -> None:
    scene.service()

    assert (await scene.ask(scene.command(UNDO))).word is Word.VOID
    assert (await scene.ask(scene.command())).word is Word.FENCED
    assert (await scene.ask(scene.command(UNDO))).word is Word.VOID
    assert await scene.parcels() == []


@in_scene
async def test_an_undo_uses_what_was_stored_and_not_what_comes_with_it(scene: Scene) -> None:
    scene.service()
    await scene.ask(scene.command())

    assert (await scene.ask(scene.command(UNDO, {"order": "forged"}))).word is Word.COMPENSATED
    assert (await scene.ask(scene.command(UNDO))).word is Word.COMPENSATED
    assert (await scene.ask(scene.command())).word is Word.FENCED
    assert await scene.parcels() == [("o-1", 1)]


@in_scene
async def test_a_rejection_is_stored_and_leaves_nothing_to_undo(scene: Scene) -> None:
    scene.service()
    atlantis = {**APPLES, "sku": "atlantis"}

    first, again = await scene.ask(scene.command(ask=atlantis)), await scene.ask(scene.command(ask=APPLES))

    assert (first.word, first.reason) == (Word.REJECTED, "no van goes to Atlantis")
    assert (again.word, again.reason) == (Word.REJECTED, "no van goes to Atlantis")
    assert (await scene.ask(scene.command(UNDO))).word is Word.VOID
    assert await scene.parcels() == []


@in_scene
async def test_what_fails_is_not_stored_and_may_work_when_it_comes_again(scene: Scene) -> None:
    scene.service()

    failed = await scene.ask(scene.command(ask={**APPLES, "quantity": -1}))

    assert failed.word is Word.FAILED
    assert "quantity" in failed.reason
    assert await scene.rows("SELECT FROM amends_inbox") == []
    assert (await scene.ask(scene.command())).word is Word.SUCCEEDED


@in_scene
async def test_a_success_that_nobody_here_knows_of_is_missing_for_good(scene: Scene) -> None:
    scene.service()

    assert (await scene.ask(scene.command(UNDO, known=True))).word is Word.MISSING
    assert (await scene.ask(scene.command(UNDO))).word is Word.MISSING
    assert (await scene.ask(scene.command())).word is Word.FENCED


@in_scene
async def test_a_new_round_waits_for_what_earlier_ones_have_left_unless_a_person_closed_them(scene: Scene) -> None:
    scene.service()
    await scene.ask(scene.command())

    assert (await scene.ask(scene.command(round=3))).word is Word.EARLIER_OPEN
    assert (await scene.ask(scene.command(round=3, closed=1))).word is Word.SUCCEEDED
    assert (await scene.ask(scene.command(round=2, closed=1))).word is Word.FENCED
    assert await scene.parcels() == [("o-1", 0), ("o-1", 0)]


@in_scene
async def test_a_command_that_is_older_than_the_inbox_remembers_has_no_effect(scene: Scene) -> None:
    scene.service()
    week = 7 * 24 * 3600.0

    assert (await scene.ask(scene.command(sent_at=time.time() - week - 60))).word is Word.EXPIRED
    assert await scene.rows("SELECT FROM amends_inbox") == []
    assert (await scene.ask(scene.command(sent_at=time.time() - week + 3600))).word is Word.SUCCEEDED


@in_scene
async def test_a_command_that_was_not_answered_is_not_acked_and_the_next_process_answers_it(scene: Scene) -> None:
    first = scene.service(HOLD_AFTER_COMMIT="action")
    command = scene.command()
    await scene.send(command)
    first.wait_for("committed action of order 1 %")

    first.kill()
    scene.service()

    reply, _ = await scene.reply()  # nobody has sent it again
    assert (reply.word, reply.token, reply.data) == (Word.SUCCEEDED, command.token, b'{"number":1}')
    assert await scene.parcels() == [("o-1", 0)]


@in_scene
async def test_work_that_takes_longer_than_its_claim_is_not_given_to_others(scene: Scene) -> None:
    """The first stands still between commit and reply, and keeps its claim alive: the second hears of nothing."""
    first = scene.service(HOLD_AFTER_COMMIT="action")
    await scene.send(scene.command())
    first.wait_for("committed action of order 1 %")
    scene.service()

    await asyncio.sleep(3 * CLAIM_SECONDS)  # the time that must pass without anything happening
    heard = not scene.quiet
    first.kill()

    assert not heard
    assert (await scene.reply())[0].word is Word.SUCCEEDED


@in_scene
async def test_what_is_sent_again_after_a_kill_is_answered_from_the_row(scene: Scene) -> None:
    first = scene.service(HOLD_AFTER_COMMIT="action")
    await scene.send(scene.command())
    first.wait_for("committed action of order 1 %")

    first.kill()
    assert await scene.parcels() == [("o-1", 0)]
    scene.service()
    command = scene.command(attempt=2)
    await scene.send(command)
    replies = [(await scene.reply())[0] for _ in range(2)]  # one of them is for what the first had in hand

    assert {(reply.word, reply.data) for reply in replies} == {(Word.SUCCEEDED, b'{"number":1}')}
    assert command.token in {reply.token for reply in replies}
    assert await scene.parcels() == [("o-1", 0)]


@in_scene
async def test_a_process_killed_between_the_commit_of_an_undo_and_its_reply_undoes_once(scene: Scene) -> None:
    first = scene.service(HOLD_AFTER_COMMIT="undo")
    await scene.ask(scene.command())
    await scene.send(scene.command(UNDO, known=True))
    first.wait_for("committed undo of order 1 %")

    first.kill()
    scene.service()

    assert (await scene.reply())[0].word is Word.COMPENSATED
    assert (await scene.ask(scene.command(UNDO, known=True, attempt=2))).word is Word.COMPENSATED
    assert await scene.parcels() == [("o-1", 1)]


@in_scene
async def test_what_can_never_be_answered_is_kept_aside_with_its_reason(scene: Scene) -> None:
    scene.service()
    broken = command_message(scene.command(), "broken", "/amends/tester")

    await scene.put(broken._replace(time=0.0))
    first = await scene.dead()
    await scene.put(broken._replace(id="other", attributes={**broken.attributes, "amendsreplyto": "payment.commands"}))
    second = await scene.dead()

    assert (first.id, first.data) == ("broken", broken.data)
    assert first.attributes["amendsdeadreason"] == "it lacks the attribute time, when it was sent"
    assert first.attributes["amendsdeadfrom"] == COMMANDS.name
    assert second.attributes["amendsdeadreason"] == "amendsreplyto is payment.commands, which none can be"
    assert (await scene.ask(scene.command())).word is Word.SUCCEEDED


@in_scene
async def test_a_command_that_nobody_knows_is_for_a_person(scene: Scene) -> None:
    scene.service()

    reply = await scene.ask(scene.command(type="shipping.fly"))

    assert (reply.word, reply.park) == (Word.FAILED, True)
    assert reply.reason == "nobody here handles the action of shipping.fly"


@in_scene
async def test_sagas_that_have_ended_are_marked_for_forgetting_and_still_answered(scene: Scene) -> None:
    scene.service()
    await scene.ask(scene.command())

    notice = Ended("shop", (scene.saga, secrets.token_bytes(16)))
    await scene.put(ended_message(notice, "ended", "/amends/tester", time.time()))

    assert (await scene.ask(scene.command(attempt=2))).word is Word.SUCCEEDED  # the queue has one consumer, in order
    end = time.monotonic() + SECONDS
    while not await scene.rows("SELECT FROM amends_inbox WHERE ended_at IS NOT NULL"):
        assert time.monotonic() < end
        await asyncio.sleep(0.05)
    assert await scene.parcels() == [("o-1", 0)]


@in_scene
async def test_asked_to_stop_it_answers_what_it_has_and_leaves(scene: Scene) -> None:
    process = scene.service()
    await scene.ask(scene.command())

    assert await asyncio.to_thread(process.stop) == 0
