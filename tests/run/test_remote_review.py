"""Replies that are strange in ways that only a foreign service can make them, and what they must not do to others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import asked
import pytest
from asked import Reserve, Stock, answer, asking, placed
from engine import Order, database, state, until, virtually

from amends import Compensated, Completed, Orchestrator, Parked, Retry, Saga, Service, Settings, parallel, pivot, step
from amends.decide.events import Phase
from amends.decide.state import Action
from amends.decide.wire import KIND, Command, Reply, Word
from amends.errors import TransportAway, TransportRefused
from amends.message import Message
from amends.run import mailbox
from amends.run.sender import Sender
from amends.run.worker import Worker
from amends.store.base import MailRow
from amends.transport.base import Destination, Send
from amends.transport.local import LocalTransport


def worker_of(orchestrator: Orchestrator) -> Worker:
    """The worker of an orchestrator that works."""
    worker = orchestrator.session.worker
    assert worker is not None
    return worker


@step(readonly=True)
async def pack_nothing() -> None:
    """Before the pivot."""


NONSENSE = [
    b"\xff{nonsense",
    b'{"number":7',
    b'{"number":"\xff"}',
    b'null,"round":3',
    b"[" * 100_000,
    b'"' + b"x" * 2**21 + b'"',
]


@pytest.mark.parametrize("data", NONSENSE, ids=["bytes", "half", "utf8", "more", "deep", "large"])
def test_the_mail_of_a_reply_is_json_whatever_the_service_wrote(data: bytes) -> None:
    reply = Reply("default", bytes(16), "one", "reserve", Phase.ACTION, Word.SUCCEEDED, "1.0", data)

    body = mailbox.reply_body(reply, 2**20)

    assert len(body) < 2**20
    letter = mailbox.read(MailRow(1, bytes(16), "reply 1", "reply", body.decode().encode(), 0.0, None, None, None))
    assert (letter.address, letter.outcome, letter.round) == ("reserve", "succeeded", 1)
    assert letter.reason


@Service("stock").command("describe", Reserve, reply=str, compensation=False).request
def describe(order: Order) -> Reserve:
    """Something that is told at length."""
    return Reserve(order.cents)


described = Saga("described", pivot(describe), input=Order, output=describe)


@pytest.mark.parametrize("mailed", [False, True])
def test_a_reply_may_be_as_large_as_the_settings_say(mailed: bool) -> None:
    text = "x" * 2**21

    def says(command: Command) -> Reply:
        return answer(command, data=f'"{text}"'.encode())

    async def main() -> Any:
        shared, settings = database(), Settings(payload_bytes=2**22)
        async with (
            Stock(says),
            asking(described, on=shared, settings=settings) as one,
            asking(described, on=shared, settings=settings),
        ):
            if mailed:
                await worker_of(one)._remote.stop_taking()
            return await one.run(described, Order(100), id="one")

    assert virtually(main()) == Completed(text)


@pytest.mark.parametrize("data", NONSENSE, ids=["bytes", "half", "utf8", "more", "deep", "large"])
def test_nonsense_that_reaches_another_worker_is_an_effect_of_which_nothing_is_known(data: bytes) -> None:
    def says(command: Command) -> Reply:
        return answer(command, data=data)

    async def main() -> Any:
        shared = database()
        async with Stock(says) as stock, asking(on=shared) as one, asking(on=shared) as other:
            await worker_of(one)._remote.stop_taking()
            outcome = await one.run(placed, Order(100), id="one")
            return outcome, stock.actions, (await state(other, "one")).step("reserve").action

    outcome, actions, action = virtually(main())
    assert isinstance(outcome, Compensated)
    assert len(actions) == 1
    assert action.status is Action.UNKNOWN
    assert "its reply cannot be used" in action.reason


def test_a_mail_that_cannot_be_written_holds_up_no_other(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> Any:
        shared = database()
        async with Stock(), asking(on=shared) as one, asking(on=shared) as other:
            await worker_of(one)._remote.stop_taking()
            store = worker_of(other).store
            send = store.send

            async def picky(mails: Any) -> Any:
                if any(mail.key == "broken" for mail in mails):
                    raise UnicodeError("no such text")
                return await send(mails)

            store.send = picky  # type: ignore[method-assign]
            lost = asyncio.create_task(one.run(placed, Order(100), id="broken"))
            outcomes = await asyncio.gather(*(one.run(placed, Order(100)) for _ in range(5)))
            refused = worker_of(other)._remote.counts.refused
            lost.cancel()
            return outcomes, refused

    with caplog.at_level(logging.CRITICAL, "amends"):
        outcomes, refused = virtually(main())
    assert outcomes == [Completed(7)] * 5
    assert refused >= 1


@asked.reserve.request(name="reserve", retry=Retry(attempts=None, first_delay=0.1, jitter=0.0))
def ask_for_ever(order: Order) -> Reserve:
    return Reserve(order.cents)


@asked.reserve.request(name="reserve", retry=Retry(attempts=1), timeout=10.0)
def ask_once(order: Order) -> Reserve:
    return Reserve(order.cents)


@pytest.mark.parametrize("rest", [{}, {"after": 0.0}], ids=["with pauses", "at once"])
def test_a_service_that_fails_for_ever_makes_no_endless_history(rest: dict[str, Any]) -> None:
    endless = Saga("endless", pack_nothing, pivot, ask_for_ever, input=Order)

    def says(command: Command) -> Reply:
        word = Word.FAILED if command.attempt < 500 else Word.REJECTED
        return answer(command, word, reason="busy", **rest)

    async def main() -> Any:
        async with Stock(says), asking(endless, on=database(), settings=Settings(history_lines=50)) as orchestrator:
            return await orchestrator.run(endless, Order(100))

    outcome = virtually(main())
    assert isinstance(outcome, Parked)
    assert "its history has more than 50 lines" in outcome.reason


def sender_of(orchestrator: Orchestrator) -> Sender:
    """What sends the commands of an orchestrator that works."""
    sender = worker_of(orchestrator)._remote._sender
    assert sender is not None
    return sender


def test_a_command_that_the_broker_never_will_take_is_for_a_person_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> Any:
        async with Stock() as stock, asking(on=database()) as orchestrator:
            transport = sender_of(orchestrator)._transport
            publish = transport.publish

            async def refuse(sends: Any) -> Any:
                return [TransportRefused("too large")] * len(sends)

            monkeypatch.setattr(transport, "publish", refuse)
            began = asyncio.get_running_loop().time()
            outcome = await orchestrator.run(placed, Order(100), id="one")
            took = asyncio.get_running_loop().time() - began
            monkeypatch.setattr(transport, "publish", publish)
            await orchestrator.session.act("one", "retry", "reserve", actor="ann", reason="larger now", result=None)
            return outcome, took, await orchestrator.handle(placed, "one").outcome(), len(stock.asked)

    outcome, took, after, asked_for = virtually(main())
    assert isinstance(outcome, Parked)
    assert "the broker refuses the command: too large" in outcome.reason
    assert took < 1.0
    assert (after, asked_for) == (Completed(7), 1)


def test_an_undo_that_the_broker_never_will_take_is_for_a_person_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> Any:
        async with Stock(), asking(on=database()) as orchestrator:
            transport = sender_of(orchestrator)._transport
            publish = transport.publish

            async def picky(sends: Any) -> Any:
                if any(send.message.attributes[KIND] == "undo" for send in sends):
                    return [TransportRefused("forbidden")] * len(sends)
                return await publish(sends)

            monkeypatch.setattr(transport, "publish", picky)
            return await orchestrator.run(placed, Order(101))

    outcome = virtually(main())
    assert isinstance(outcome, Parked)
    assert [entry.step for entry in outcome.unsettled] == ["reserve"]
    assert "forbidden" in outcome.reason


def test_a_queue_of_commands_that_cannot_be_made_holds_up_no_reply(monkeypatch: pytest.MonkeyPatch) -> None:
    prepare = LocalTransport.prepare

    async def picky(self: LocalTransport, destinations: Any) -> None:
        if any(destination.name == "stock.commands" for destination in destinations):
            raise TransportRefused("you may not make it")
        await prepare(self, destinations)

    monkeypatch.setattr(LocalTransport, "prepare", picky)

    async def main() -> Any:
        async with Stock(), asking(on=database()) as orchestrator:
            return await orchestrator.run(placed, Order(100))

    assert virtually(main()) == Completed(7)


class Picky:
    """A transport whose queue `full` takes nothing, and that may break altogether."""

    away = ""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.breaks = 0
        self.full = True

    async def publish(self, sends: Any) -> list[Exception | None]:
        if self.breaks:
            self.breaks -= 1
            raise OSError("the wire is cut")
        told = [TransportAway("full") if self.full and send.to.name == "full.commands" else None for send in sends]
        self.taken += [send.message.id for send, error in zip(sends, told, strict=True) if error is None]
        return list(told)


def test_a_destination_that_takes_nothing_holds_up_no_other() -> None:
    async def main() -> Any:
        transport: Any = Picky()
        sender = Sender(transport)
        for number in range(2000):
            sender.post(Destination("full.commands"), Message(f"full {number}", "t", "s"))
        told = sender.send(Destination("open.commands"), Message("open", "t", "s"))
        async with asyncio.timeout(5):
            await told
        await sender.close()
        return transport.taken

    assert virtually(main()) == ["open"]


class Slow:
    """A broker with one destination that never confirms anything, which takes it its time."""

    away = ""

    def __init__(self) -> None:
        self.taken: list[str] = []

    async def publish(self, sends: Sequence[Send]) -> list[Exception | None]:
        """Confirm all but those."""
        if any(send.to.name == "stuck.commands" for send in sends):
            await asyncio.sleep(10.0)
        self.taken += [send.message.id for send in sends if send.to.name != "stuck.commands"]
        return [TransportAway("no") if send.to.name == "stuck.commands" else None for send in sends]


def test_a_destination_that_never_confirms_slows_the_others_down_once_and_no_more() -> None:
    async def main() -> Any:
        transport: Any = Slow()
        sender, loop = Sender(transport), asyncio.get_running_loop()
        took: list[float] = []
        for number in range(5):
            sender.post(Destination("stuck.commands"), Message(f"stuck {number}", "t", "s"))
            began = loop.time()
            await sender.send(Destination("open.commands"), Message(f"open {number}", "t", "s"))
            took.append(loop.time() - began)
        waiting = sender.waiting
        await sender.close()
        return took, waiting

    took, waiting = virtually(main())
    assert took[0] >= 10.0
    assert max(took[1:]) < 1.0
    assert 0 < waiting <= 5


def test_what_is_queued_for_a_destination_that_confirms_nothing_goes_aside_with_it() -> None:
    async def main() -> float:
        transport: Any = Slow()
        sender, loop = Sender(transport), asyncio.get_running_loop()
        began = loop.time()
        sender.post(Destination("stuck.commands"), Message("stuck", "t", "s"))
        told = [sender.send(Destination("open.commands"), Message("open", "t", "s"))]
        await asyncio.sleep(1.0)  # the first batch is on its way
        for number in range(3):
            sender.post(Destination("stuck.commands"), Message(f"stuck {number}", "t", "s"))
            told.append(sender.send(Destination("open.commands"), Message(f"open {number}", "t", "s")))
        await asyncio.gather(*told)
        took = loop.time() - began
        await sender.close()
        return took

    assert virtually(main()) < 15.0


def test_a_destination_that_confirms_again_goes_with_the_others_again() -> None:
    async def main() -> Any:
        transport: Any = Picky()
        sender = Sender(transport)
        sender.post(Destination("full.commands"), Message("full", "t", "s"))
        await sender.send(Destination("open.commands"), Message("open", "t", "s"))
        transport.full = False
        await sender.drain()
        return transport.taken, sender._aside

    assert virtually(main()) == (["open", "full"], {})


def test_a_transport_that_raises_loses_no_message(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> Any:
        transport: Any = Picky()
        transport.breaks = 3
        sender = Sender(transport)
        told = sender.send(Destination("open.commands"), Message("open", "t", "s"))
        async with asyncio.timeout(5):
            return await told, transport.taken

    with caplog.at_level(logging.CRITICAL, "amends"):
        assert virtually(main()) == (None, ["open"])


@step(retry=Retry(attempts=1))
async def newly(order: Order) -> None:
    """A step that the changed definition has beside the others."""


@newly.compensation
async def unnewly() -> None:
    """Nothing to do."""


@pytest.mark.parametrize("added", ["local", "remote"])
def test_what_a_changed_definition_starts_did_not_go_down_with_the_worker_before(added: str) -> None:
    old = Saga("grown", parallel(asked.ask, asked.ask.named("again")), input=Order)
    more = newly if added == "local" else asked.ask.named("more")
    new = Saga("grown", parallel(asked.ask, asked.ask.named("again"), more), input=Order)
    silent = True

    async def main() -> Any:
        nonlocal silent
        shared, soon = database(), Settings(lease_seconds=2.0)
        async with Stock(lambda command: None if silent else answer(command)) as stock:
            dead = asking(old, on=shared, settings=soon)
            await dead.__aenter__()
            await dead.start(old, Order(100), id="one")
            await until(lambda: len(stock.asked) == 2)
            worker_of(dead).ownership.halt()
            worker_of(dead)._drop_all()
            silent = False
            async with asking(new, on=shared, settings=soon) as other:
                outcome = await other.handle(new, "one").outcome()
            worker_of(dead).broken(RuntimeError("dead"))
            return outcome, sorted(command.step for command in stock.actions)

    outcome, steps = virtually(main())
    assert outcome == Completed(None)
    assert steps == sorted(["again", "reserve"] * 2 + ["more"] * (added == "remote"))


def test_a_broker_that_hangs_keeps_no_worker_from_leaving(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> Any:
        async with Stock() as stock:
            async with asking(on=database()) as orchestrator:
                outcome = await orchestrator.run(placed, Order(100))
                listening: Any = worker_of(orchestrator)._remote._listening
                stops = iter([asyncio.Event().wait, listening.stop])

                async def stop() -> None:
                    await next(stops)()

                monkeypatch.setattr(listening, "stop", stop)
                began = asyncio.get_running_loop().time()
            return outcome, asyncio.get_running_loop().time() - began, len(stock.asked)

    outcome, took, _ = virtually(main())
    assert outcome == Completed(7)
    assert took < 10.0


def test_whatever_keeps_replies_from_coming_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    listen, failures = LocalTransport.listen, [OSError("the wire is cut"), OSError()]

    async def broken(self: LocalTransport, source: Any, *rest: Any, **more: Any) -> Any:
        if source.name.endswith(".replies") and failures:
            raise failures.pop()
        return await listen(self, source, *rest, **more)

    monkeypatch.setattr(LocalTransport, "listen", broken)

    async def main() -> Any:
        async with Stock(), asking(on=database()) as orchestrator:
            return await orchestrator.run(placed, Order(100))

    assert virtually(main()) == Completed(7)


def test_replies_that_came_while_no_worker_was_there_are_taken_and_nothing_is_undone() -> None:
    once = Saga("once", ask_once, asked.pack, input=Order, output=asked.pack)
    held: list[Command] = []

    async def main() -> Any:
        shared, soon = database(), Settings(lease_seconds=2.0)
        async with Stock(held.append) as stock:
            dead = asking(once, on=shared, settings=soon)
            await dead.__aenter__()
            await dead.start(once, Order(100), id="one")
            await until(lambda: len(held) == 1)
            await worker_of(dead)._remote.stop_taking()
            worker_of(dead).ownership.halt()
            worker_of(dead)._drop_all()
            await stock.reply(answer(held[0]), held[0].reply_to)
            await asyncio.sleep(600)
            async with asking(once, on=shared, settings=soon) as other:
                outcome = await other.handle(once, "one").outcome()
            worker_of(dead).broken(RuntimeError("dead"))
            return outcome, stock.undos

    assert virtually(main()) == (Completed(7), [])
