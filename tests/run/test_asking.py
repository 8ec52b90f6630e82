"""Signals, cancels and deadlines: what is asked of a running saga, and what is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from engine import Order, database, engine, state, status, until, virtually

from amends import Compensated, Completed, Context, Parked, Reject, Retry, Saga, Settings, pivot, sleep, step, wait_for
from amends.errors import LimitExceeded, NotAnswered, Refused, StoreUnavailable, TooLate, UnknownSaga, ValueRefused
from amends.run import mailbox
from amends.store.base import MailRow, NewMail


@dataclass(frozen=True)
class Approval:
    """A person's answer."""

    granted: bool
    note: str = ""


approval = wait_for("approval", Approval, timeout=3600)
other = wait_for("other", Approval)
said: list[str] = []


@step
async def first() -> None:
    said.append("first")


@first.compensation
async def unfirst() -> None:
    said.append("unfirst")


@step
async def ask_pivot() -> None:
    said.append("pivot")


@step
async def last(answer: Approval) -> str:
    return answer.note


@pytest.fixture(autouse=True)
def _nothing_said() -> None:
    said.clear()


waiting = Saga("waiting", first, approval, pivot(ask_pivot), last, input=Order, output=last)
late_wait = Saga("late-wait", first, sleep(100), approval, pivot(ask_pivot), last, input=Order, output=last)


def test_a_signal_gives_the_wait_its_value() -> None:
    async def main() -> Any:
        async with engine(waiting) as orchestrator:
            handle = await orchestrator.start(waiting, Order(), id="one")
            await orchestrator.signal("one", approval, Approval(True, "fine"))
            return await handle.outcome()

    assert virtually(main()) == Completed("fine")


def test_a_signal_sent_before_the_wait_is_kept_for_it() -> None:
    async def main() -> Any:
        async with engine(late_wait) as orchestrator:
            handle = await orchestrator.start(late_wait, Order(), id="one")
            await orchestrator.signal("one", approval, Approval(True, "early"))
            assert await status(orchestrator, "one") == "running"
            return await handle.outcome()

    assert virtually(main()) == Completed("early")


def test_a_second_signal_is_refused_with_the_reason_and_the_same_id_counts_once() -> None:
    async def main() -> Any:
        async with engine(late_wait) as orchestrator:
            handle = await orchestrator.start(late_wait, Order(), id="one")
            for _ in range(3):
                await orchestrator.signal("one", approval, Approval(True, "a"), id="message-1")
            with pytest.raises(Refused, match="has its value already"):
                await orchestrator.signal("one", approval, Approval(True, "b"), id="message-2")
            return await handle.outcome()

    assert virtually(main()) == Completed("a")


def test_the_id_of_a_signal_belongs_to_that_signal_whatever_its_value() -> None:
    both = Saga("both", first, approval, other, pivot(ask_pivot), input=Order)

    async def main() -> Any:
        async with engine(both) as orchestrator:
            handle = await orchestrator.start(both, Order(), id="one")
            note = mailbox.act_mail("one", "note-1", mailbox.Wish("note", "", "ada", "look here"))
            await orchestrator.session.ask(note)
            with pytest.raises(Refused, match="'note-1' belongs to something else"):
                await orchestrator.signal("one", approval, Approval(True), id="note-1")
            await orchestrator.signal("one", approval, Approval(True), id="message-1")
            with pytest.raises(Refused, match="'message-1' belongs to something else"):
                await orchestrator.signal("one", other, Approval(True), id="message-1")
            await orchestrator.signal("one", approval, Approval(False), id="message-1")
            await orchestrator.signal("one", other, Approval(True), id="message-2")
            return await handle.outcome()

    assert virtually(main()) == Completed(None)


def test_a_signal_that_the_saga_does_not_know_is_refused_and_names_those_it_does() -> None:
    async def main() -> None:
        async with engine(waiting) as orchestrator:
            await orchestrator.start(waiting, Order(), id="one")
            with pytest.raises(Refused, match="no signal 'other'; it knows: approval"):
                await orchestrator.signal("one", other, Approval(True))

    virtually(main())


def test_a_signal_to_an_unknown_saga_says_so() -> None:
    async def main() -> None:
        async with engine(waiting) as orchestrator:
            with pytest.raises(UnknownSaga, match="'nobody'"):
                await orchestrator.signal("nobody", approval, Approval(True))
            with pytest.raises(UnknownSaga, match="'nobody'"):
                await orchestrator.cancel("nobody", reason="x")
            with pytest.raises(UnknownSaga, match="'nobody'"):
                await orchestrator.handle(waiting, "nobody").outcome()

    virtually(main())


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ("text", "the value of the signal approval"),
        (Approval(True, "a\x00b"), r"note"),
        (Approval(True, "\ud800"), r"note"),
        (None, "the value of the signal approval"),
    ],
    ids=["text", "NUL", "surrogate", "None"],
)
def test_a_value_that_cannot_be_a_signals_is_refused_at_the_door(value: Any, word: str) -> None:
    async def main() -> Any:
        async with engine(waiting) as orchestrator:
            handle = await orchestrator.start(waiting, Order(), id="one")
            with pytest.raises(ValueRefused, match=word):
                await orchestrator.signal("one", approval, value)
            with pytest.raises(LimitExceeded, match="10,000"):
                await orchestrator.signal("one", approval, Approval(True, "x" * 10_000_000))
            await orchestrator.signal("one", approval, Approval(True, "good"))
            return await handle.outcome()

    assert virtually(main()) == Completed("good")


@pytest.mark.parametrize(
    "body",
    [b"not json", b"{}", b'{"name":"approval","value":7}', b'{"name":"approval","value":{"granted":"maybe"}}', b"[]"],
)
def test_a_mail_that_makes_no_sense_is_refused_and_harms_nothing(body: bytes) -> None:
    async def main() -> Any:
        async with engine(waiting) as orchestrator:
            handle = await orchestrator.start(waiting, Order(), id="one")
            with pytest.raises(Refused):
                await orchestrator.session.ask(NewMail("one", "bad", "signal", body))
            await orchestrator.signal("one", approval, Approval(True, "good"))
            return await handle.outcome()

    assert virtually(main()) == Completed("good")


@pytest.mark.parametrize("kind", ["late", "act", "cancel", "nonsense"])
def test_a_mail_of_any_kind_with_nothing_in_it_keeps_no_other_from_being_read(kind: str) -> None:
    async def main() -> Any:
        async with engine(waiting) as orchestrator:
            await orchestrator.start(waiting, Order(), id="one")
            handle = await orchestrator.start(waiting, Order(), id="two")
            await orchestrator.session.store.send([NewMail("one", "bad", kind, b"nonsense")])
            await orchestrator.signal("two", approval, Approval(True, "good"))
            return await handle.outcome()

    assert virtually(main()) == Completed("good")


def test_signals_and_cancels_after_the_end_are_too_late() -> None:
    async def main() -> None:
        async with engine(waiting) as orchestrator:
            handle = await orchestrator.start(waiting, Order(), id="one")
            await orchestrator.signal("one", approval, Approval(True))
            await handle.outcome()
            with pytest.raises(TooLate, match="completed"):
                await orchestrator.signal("one", approval, Approval(True), id="again")
            with pytest.raises(TooLate, match="completed"):
                await orchestrator.cancel("one", reason="late")

    virtually(main())


def test_a_wait_that_times_out_before_the_pivot_is_a_rejection() -> None:
    async def main() -> Any:
        async with engine(waiting) as orchestrator:
            return await orchestrator.run(waiting, Order(), id="one")

    assert virtually(main()) == Compensated("approval: no signal came in time", "rejected", "approval")
    assert said == ["first", "unfirst"]


def test_what_nobody_answers_is_kept_and_said_to_be() -> None:
    async def main() -> Any:
        on = database()
        settings = Settings(answer_seconds=5)
        orchestrator = engine(waiting, on=on, settings=settings)
        async with orchestrator.client():
            handle = await orchestrator.start(waiting, Order(), id="one")
            with pytest.raises(NotAnswered, match="is kept and will be answered"):
                await orchestrator.signal("one", approval, Approval(True, "kept"))
            async with engine(waiting, on=on):
                return await handle.outcome(timeout=60)

    assert virtually(main()) == Completed("kept")


def test_whoever_does_not_want_it_any_more_has_it_not_sent_when_the_store_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class UnwantedError(Exception):
        """It was, when it was tried first."""

    async def main() -> int:
        tries = 0

        async def away(mails: Sequence[NewMail]) -> list[MailRow | None]:
            raise StoreUnavailable("away")

        async def wanted() -> None:
            nonlocal tries
            tries += 1
            if tries == 3:
                monkeypatch.undo()
                raise UnwantedError

        async with engine(waiting) as orchestrator:
            handle = await orchestrator.start(waiting, Order(), id="one")
            session = orchestrator.session
            monkeypatch.setattr(session.store, "send", away)
            cancel = mailbox.act_mail("one", "m", mailbox.Wish("cancel", "", "ann", "no"))
            with pytest.raises(UnwantedError):
                await session.ask(cancel, before=wanted)
            assert await session.store.sent("one", "m") is None
            await orchestrator.cancel("one", reason="enough")
            await handle.outcome()
        return tries

    assert virtually(main()) == 3


def test_a_reason_in_bytes_that_are_no_text_is_kept_as_far_as_it_can_be() -> None:
    async def main() -> Any:
        async with engine(waiting) as orchestrator:
            handle = await orchestrator.start(waiting, Order(), id="one")
            await orchestrator.cancel("one", reason="caf\udce9", actor="ann\udcff")
            return await handle.outcome()

    outcome = virtually(main())
    assert isinstance(outcome, Compensated)
    assert outcome.reason == "cancelled: caf?"


def test_cancel_before_the_pivot_goes_back_and_a_second_one_is_the_same() -> None:
    async def main() -> Any:
        async with engine(waiting) as orchestrator:
            handle = await orchestrator.start(waiting, Order(), id="one")
            await asyncio.sleep(1)
            await orchestrator.cancel("one", reason="changed my mind")
            outcome = await handle.outcome()
            with pytest.raises(TooLate):
                await orchestrator.cancel("one", reason="again")
            return outcome

    assert virtually(main()) == Compensated("cancelled: changed my mind", "cancelled")
    assert said == ["first", "unfirst"]


class Held:
    """A step whose outcome the test decides, and a saga around it."""

    def __init__(self, *, as_pivot: bool) -> None:
        self.go = asyncio.Event()
        self.begun = asyncio.Event()
        self.error: Exception | None = None

        @step(name="held", retry=Retry(attempts=1), timeout=1000)
        async def held(ctx: Context) -> None:
            self.begun.set()
            await self.go.wait()
            if self.error is not None:
                raise self.error

        if not as_pivot:

            @held.compensation
            async def unheld() -> None:
                said.append("unheld")

        @step
        async def after() -> None:
            said.append("after")
            await asyncio.sleep(20)

        tail = (pivot(held), after) if as_pivot else (held, pivot, after)
        self.saga: Saga[Order, None] = Saga("held", first, *tail, input=Order)


@pytest.mark.parametrize(
    ("error", "answer", "outcome"),
    [
        (None, "too late", Completed(None)),
        (Reject("no"), "accepted", Compensated("held: no", "rejected", "held")),
    ],
    ids=["it succeeded", "it said no"],
)
def test_a_cancel_that_meets_a_pivot_in_flight_is_answered_by_its_outcome(
    error: Exception | None, answer: str, outcome: Any
) -> None:
    async def main() -> Any:
        held = Held(as_pivot=True)
        held.error = error
        async with engine(held.saga) as orchestrator:
            handle = await orchestrator.start(held.saga, Order(), id="one")
            await held.begun.wait()
            cancel = asyncio.create_task(orchestrator.cancel("one", reason="stop"))
            await asyncio.sleep(5)
            assert not cancel.done(), "nobody knows yet"
            held.go.set()
            told = "accepted"
            try:
                await cancel
            except TooLate:
                told = "too late"
            return told, await handle.outcome()

    assert virtually(main()) == (answer, outcome)


def test_cancel_after_the_pivot_is_too_late() -> None:
    async def main() -> Any:
        held = Held(as_pivot=True)
        held.go.set()
        async with engine(held.saga) as orchestrator:
            handle = await orchestrator.start(held.saga, Order(), id="one")
            await asyncio.sleep(10)
            with pytest.raises(TooLate, match="passed its pivot"):
                await orchestrator.cancel("one", reason="stop")
            return await handle.outcome()

    assert virtually(main()) == Completed(None)


def test_a_cancel_waits_for_the_attempt_in_flight_before_it_undoes_it() -> None:
    async def main() -> Any:
        held = Held(as_pivot=False)
        async with engine(held.saga) as orchestrator:
            handle = await orchestrator.start(held.saga, Order(), id="one")
            await held.begun.wait()
            await orchestrator.cancel("one", reason="stop")
            await asyncio.sleep(20)
            assert said == ["first"], "nothing is undone beside an attempt in flight"
            held.go.set()
            return await handle.outcome()

    assert virtually(main()) == Compensated("cancelled: stop", "cancelled")
    assert said == ["first", "unheld", "unfirst"]


def test_what_was_answered_with_nothing_to_write_down_is_no_change_for_whoever_looked_before() -> None:
    async def main() -> Any:
        held = Held(as_pivot=False)
        async with engine(held.saga) as orchestrator:
            handle = await orchestrator.start(held.saga, Order(), id="one")
            await held.begun.wait()
            store, ask = orchestrator.session.store, orchestrator.session.ask
            seen = await store.load("one")
            assert seen is not None
            cancel = mailbox.Wish("cancel", "", "ada", "no", version=len(seen.rows))
            for message in ("first", "again"):  # that it was assigned to bob already is an answer, and no event
                await ask(mailbox.act_mail("one", message, mailbox.Wish("assign", "", "ada", person="bob")))
            assert await store.lengths([seen.head.id]) == [len(seen.rows) + 2]
            await ask(mailbox.act_mail("one", "stop", cancel))
            held.go.set()
            return await handle.outcome()

    assert virtually(main()) == Compensated("cancelled: no", "cancelled")


def test_a_deadline_before_the_pivot_goes_back_and_behind_it_does_nothing() -> None:
    @step
    async def slow() -> None:
        await asyncio.sleep(30)
        said.append("slow")

    @slow.compensation
    async def unslow() -> None:
        said.append("unslow")

    before = Saga("before", slow, sleep(3600), input=Order, deadline=60)
    after = Saga("after", first, pivot, sleep(3600), input=Order, deadline=60)

    async def main() -> Any:
        async with engine(before, after) as orchestrator:
            began = asyncio.get_running_loop().time()
            outcome = await orchestrator.run(before, Order())
            took = asyncio.get_running_loop().time() - began
            return outcome, took, await orchestrator.run(after, Order())

    outcome, took, unmoved = virtually(main())
    assert outcome == Compensated("deadline: its deadline passed", "deadline")
    assert 60 <= took < 65
    assert unmoved == Completed(None)


def test_the_time_limit_of_outcome_stops_the_waiting_and_not_the_saga() -> None:
    async def main() -> Any:
        async with engine(waiting) as orchestrator:
            handle = await orchestrator.start(waiting, Order(), id="one")
            for _ in range(50):
                with pytest.raises(TimeoutError):
                    await handle.outcome(timeout=0.01)
            worker = orchestrator.session.worker
            assert worker is not None
            await until(lambda: not worker.lives)
            assert not orchestrator.session.waiting.anybody, "nothing is kept of those that gave up"
            await orchestrator.signal("one", approval, Approval(True, "x"))
            return await handle.outcome(timeout=60)

    assert virtually(main()) == Completed("x")


def test_a_condition_of_an_answer_that_raises_parks_the_saga() -> None:
    def broken(_: Approval) -> bool:
        raise SystemExit(1)

    odd = wait_for("odd", Approval, reject_if=broken)
    saga = Saga("odd", first, odd, input=Order)

    async def main() -> Any:
        async with engine(saga) as orchestrator:
            handle = await orchestrator.start(saga, Order(), id="one")
            await orchestrator.signal("one", odd, Approval(True))
            outcome = await handle.outcome()
            assert (await state(orchestrator, "one")).parked
            return outcome

    outcome = virtually(main())
    assert isinstance(outcome, Parked)
    assert "SystemExit" in outcome.reason
