"""Replies that are strange in ways that only a foreign service can make them, and what they must not do to others."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import asked
import pytest
from asked import Reserve, Stock, answer, asking, placed
from engine import Order, database, state, virtually

from amends import Compensated, Completed, Orchestrator, Parked, Retry, Saga, Settings, pivot, step
from amends.decide.events import Phase
from amends.decide.state import Action
from amends.decide.wire import Command, Reply, Word
from amends.run import mailbox
from amends.run.worker import Worker
from amends.store.base import MailRow


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

    body = mailbox.reply_body(reply)

    assert len(body) < 2**20
    letter = mailbox.read(MailRow(1, bytes(16), "reply 1", "reply", body.decode().encode(), 0.0, None, None, None))
    assert (letter.address, letter.outcome, letter.round) == ("reserve", "succeeded", 1)
    told = mailbox.told_by(reply._replace(data=bytes(letter.value), reason=letter.reason), placed.program, 1, 0.0)
    assert told is not None
    assert "its reply cannot be used" in getattr(told, "reason", "")


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
