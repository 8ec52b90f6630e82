"""The sandbox: what its users may rely on."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from amends import Compensated, Completed, Context, Park, Parked, Resource, Retry, Saga, pivot, sleep, step, wait_for
from amends.errors import DefinitionError, IdConflict, NotRunning, Refused, TooLate, UnknownSaga
from amends.testing import NewSandbox, Sandbox, context


@dataclass(frozen=True)
class Order:
    number: int


@dataclass(frozen=True)
class Parcel:
    text: str


@dataclass
class Shop:
    """What the steps do, in order."""

    log: list[str] = field(default_factory=list)
    seconds: float = 0.0

    async def do(self, what: str, key: str) -> None:
        self.log.append(f"{what} begins {key}")
        await asyncio.sleep(self.seconds)
        self.log.append(f"{what} ends {key}")


@step
async def pack(order: Order, shop: Resource[Shop], ctx: Context) -> Parcel:
    await shop.do("pack", ctx.key)
    return Parcel(f"parcel {order.number}")


@pack.compensation
async def unpack(shop: Resource[Shop], ctx: Context) -> None:
    await shop.do("unpack", ctx.action_key)


@step
async def send(parcel: Parcel, shop: Resource[Shop], ctx: Context) -> str:
    await shop.do("send", ctx.key)
    return f"{parcel.text} is sent"


go = wait_for("go", str)
at_once = Saga("at-once", pack, pivot, send, input=Order, output=send)
in_a_year = Saga("in-a-year", pack, sleep(timedelta(days=365)), pivot, send, input=Order, output=send)
when_told = Saga("when-told", pack, go, pivot, send, input=Order, output=send)


# Time


def test_a_saga_that_sleeps_for_a_year_ends_at_once(amends: NewSandbox) -> None:
    app = amends([in_a_year], [Shop()])
    began = app.now

    outcome = app.run(in_a_year, Order(1))

    assert outcome == Completed("parcel 1 is sent")
    assert timedelta(days=365) <= app.now - began < timedelta(days=366)


def test_what_falls_due_happens_then_and_not_before(amends: NewSandbox) -> None:
    app = amends([in_a_year], [Shop()])
    order = app.start(in_a_year, Order(1))

    app.advance(timedelta(days=364), hours=23, minutes=59, seconds=59)
    assert order.status == "running"
    app.advance(seconds=1)

    assert order.status == "completed"


def test_time_goes_forward_only(amends: NewSandbox) -> None:
    app = amends([at_once], [Shop()])

    with pytest.raises(ValueError, match="forward only"):
        app.advance(days=-1)


def test_the_clock_begins_at_the_same_instant_and_stands_still_by_itself(amends: NewSandbox) -> None:
    app = amends([at_once], [Shop()])

    app.run(at_once, Order(1))

    assert app.now == datetime.fromtimestamp(1_700_000_000, UTC)


def test_a_saga_that_waits_without_end_is_an_error_that_tells_its_history(amends: NewSandbox) -> None:
    app = amends([when_told], [Shop()])

    with pytest.raises(AssertionError, match="waits for go, without end") as raised:
        app.run(when_told, Order(1))

    assert "pack succeeded" in str(raised.value)


def test_retries_without_end_come_to_an_end(amends: NewSandbox) -> None:
    @step
    async def never(order: Order) -> None:
        raise ConnectionError("down")

    saga = Saga("never", pivot, never, input=Order)
    app = amends([saga])

    outcome = app.run(saga, Order(1))

    assert isinstance(outcome, Parked)
    assert "its history has more than" in outcome.reason


# Signals, cancels, operators


def test_a_signal_that_comes_before_its_wait_is_kept_and_a_second_one_is_refused(amends: NewSandbox) -> None:
    shop = Shop(seconds=10)
    app = amends([when_told], [shop])
    order = app.start(when_told, Order(1))

    app.signal(order.saga_id, go, "now")
    with pytest.raises(Refused):
        app.signal(order.saga_id, go, "again")

    assert order.outcome() == Completed("parcel 1 is sent")


def test_a_mistake_of_the_test_is_raised_without_what_lies_beneath_the_sandbox(amends: NewSandbox) -> None:
    app = amends([when_told], [Shop()])

    with pytest.raises(UnknownSaga) as raised:
        app.signal("nobody-knows", go, "now")

    assert {Path(entry.path).name for entry in raised.traceback} <= {
        "test_sandbox.py",
        "sandbox.py",
        "rig.py",
    }
    assert raised.value.__suppress_context__


def test_a_cancelled_saga_goes_back_and_an_ended_one_cannot_be_cancelled(amends: NewSandbox) -> None:
    shop = Shop()
    app = amends([when_told, at_once], [shop])
    waiting, ended = app.start(when_told, Order(1)), app.start(at_once, Order(2))

    app.cancel(waiting.saga_id, reason="no longer wanted")

    assert waiting.outcome() == Compensated("cancelled: no longer wanted", "cancelled")
    with pytest.raises(TooLate):
        app.cancel(ended.saga_id)


def test_an_operator_can_mend_what_is_parked(amends: NewSandbox) -> None:
    locked = [True]

    @step
    async def open_door(order: Order) -> str:
        if locked:
            raise Park("the key is missing")
        return "open"

    saga = Saga("door", pivot, open_door, input=Order, output=open_door)
    app = amends([saga])
    first, second = app.start(saga, Order(1)), app.start(saga, Order(2))
    assert isinstance(first.outcome(), Parked)

    locked.clear()
    app.operate(first.saga_id, "retry", "open_door")
    app.operate(second.saga_id, "resolve", "open_door", result="opened by hand")

    assert first.outcome() == Completed("open")
    assert second.outcome() == Completed("opened by hand", ("open_door",))
    with pytest.raises(TooLate):
        app.operate(first.saga_id, "unpark")


# Crashes


def test_a_killed_worker_never_goes_on_and_another_tries_again_under_the_same_key(amends: NewSandbox) -> None:
    shop = Shop(seconds=5)
    app = amends([at_once], [shop])
    order = app.start(at_once, Order(1))
    app.advance(seconds=2)

    app.kill_worker()
    outcome = order.outcome()

    assert outcome == Completed("parcel 1 is sent")
    packs = [line for line in shop.log if line.startswith("pack")]
    assert [line.split()[1] for line in packs] == ["begins", "begins", "ends"]
    assert len({line.split()[2] for line in packs}) == 1
    assert any("went down with its worker" in line for line in order.history)


def test_sleeping_and_waiting_sagas_outlive_every_worker(amends: NewSandbox) -> None:
    app = amends([in_a_year, when_told], [Shop()])
    sleeping, waiting = app.start(in_a_year, Order(1)), app.start(when_told, Order(2))

    for _ in range(13):
        app.advance(days=30)
        app.kill_worker()
    app.signal(waiting.saga_id, go, "now")

    assert (sleeping.status, waiting.status) == ("completed", "completed")


# How steps run


def test_a_sync_step_runs_on_the_tests_own_thread_and_so_does_to_thread(amends: NewSandbox) -> None:
    seen: list[threading.Thread] = []

    @step(readonly=True)
    def look(order: Order) -> None:
        seen.append(threading.current_thread())

    @step(readonly=True)
    async def look_aside(order: Order) -> None:
        seen.append(await asyncio.to_thread(threading.current_thread))

    saga = Saga("look", look, look_aside, input=Order)

    outcome = amends([saga]).run(saga, Order(1))

    assert isinstance(outcome, Completed)
    assert seen == [threading.current_thread()] * 2


def test_a_step_that_reaches_for_the_network_is_told_to_use_a_fake(amends: NewSandbox) -> None:
    @step(readonly=True, retry=Retry(attempts=1))
    async def call(order: Order) -> None:
        await asyncio.open_connection("127.0.0.1", 9)

    saga = Saga("call", call, input=Order)

    outcome = amends([saga]).run(saga, Order(1))

    assert isinstance(outcome, Compensated)
    assert "no network under the virtual clock" in outcome.reason


def test_a_step_that_hangs_is_stopped_by_its_timeout(amends: NewSandbox) -> None:
    @step(readonly=True, timeout=30, retry=Retry(attempts=2))
    async def hang(order: Order) -> None:
        await asyncio.Event().wait()

    saga = Saga("hang", hang, input=Order)

    outcome = amends([saga]).run(saga, Order(1))

    assert isinstance(outcome, Compensated)
    assert "longer than 30 s" in outcome.reason


def test_a_step_that_spins_is_stopped_by_its_timeout_too(amends: NewSandbox) -> None:
    @step(readonly=True, timeout=5, retry=Retry(attempts=1))
    async def spin(order: Order) -> None:
        while True:
            await asyncio.sleep(0)

    saga = Saga("spin", spin, input=Order)

    outcome = amends([saga]).run(saga, Order(1))

    assert isinstance(outcome, Compensated)
    assert "longer than 5 s" in outcome.reason


def test_what_stands_around_attempts_is_entered(amends: NewSandbox) -> None:
    seen: list[str] = []

    @asynccontextmanager
    async def around(ctx: Context) -> AsyncIterator[None]:
        seen.append(ctx.address)
        yield

    amends([at_once], [Shop()], around=[around]).run(at_once, Order(1))

    assert seen == ["pack", "send"]


# Resources


def test_a_plain_value_stands_for_its_own_class_exactly(amends: NewSandbox) -> None:
    class OtherShop(Shop):
        pass

    with pytest.raises(DefinitionError, match=r"Shop.*provided are: OtherShop"):
        amends([at_once], [OtherShop()])

    assert isinstance(amends([at_once], {Shop: OtherShop()}).run(at_once, Order(1)), Completed)


def test_a_function_is_a_resource_as_for_an_orchestrator_opened_and_closed(amends: NewSandbox) -> None:
    events: list[str] = []

    def open_shop(name: Resource[str]) -> Iterator[Shop]:
        events.append(f"open {name}")
        yield Shop()
        events.append("close")

    with Sandbox([at_once], [open_shop, "the shop"]) as app:
        app.run(at_once, Order(1))
        app.kill_worker()
        app.run(at_once, Order(2))

    assert events == ["open the shop", "open the shop", "close"]  # the killed one never closes anything


def test_two_values_of_one_class_are_refused(amends: NewSandbox) -> None:
    with pytest.raises(DefinitionError, match="both provide Shop"):
        amends([at_once], [Shop(), Shop()])


# Ids, lookups, coming and going


def test_ids_and_keys_are_the_same_on_every_run(amends: NewSandbox) -> None:
    logs: list[list[str]] = []
    for _ in range(2):
        shop = Shop()
        order = amends([at_once], [shop]).start(at_once, Order(1))
        logs.append([order.saga_id, *shop.log])

    assert logs[0] == logs[1]


def test_the_same_id_is_the_same_saga_and_with_other_input_an_error(amends: NewSandbox) -> None:
    shop = Shop()
    app = amends([at_once], [shop])

    app.run(at_once, Order(1), id="one")
    app.run(at_once, Order(1), id="one")

    assert len(shop.log) == 4
    with pytest.raises(IdConflict):
        app.run(at_once, Order(2), id="one")


def test_a_saga_that_was_never_started_is_unknown(amends: NewSandbox) -> None:
    app = amends([at_once], [Shop()])

    for ask in (app.status, app.history, app.outcome):
        with pytest.raises(UnknownSaga):
            ask("nobody")


def test_a_history_is_one_line_an_event_with_the_time_since_the_start(amends: NewSandbox) -> None:
    app = amends([in_a_year], [Shop()])

    history = app.start(in_a_year, Order(1)).history
    app.advance(days=366)

    assert [line.split(None, 2)[2] for line in history[:3]] == ["started", "pack: attempt 1", "pack succeeded"]
    assert app.stories().count("365 days, 0:00:00") >= 3
    assert ": completed" in app.stories()


def test_it_is_of_use_inside_an_async_test_too(amends: NewSandbox) -> None:
    async def an_async_test() -> None:
        outcome = amends([in_a_year], [Shop()]).run(in_a_year, Order(1))
        assert isinstance(outcome, Completed)

    asyncio.run(an_async_test())


@pytest.mark.filterwarnings("error")
def test_nothing_is_left_behind_and_the_killed_say_nothing(caplog: pytest.LogCaptureFixture) -> None:
    shop = Shop(seconds=5)
    before = threading.active_count()
    app = Sandbox([at_once, when_told], [shop])
    app.start(at_once, Order(1))
    app.start(when_told, Order(2))
    app.advance(seconds=1)
    app.kill_worker()
    app.advance(seconds=1)

    app.close()
    app.close()
    del app
    gc.collect()  # a task or a coroutine that was left would complain

    assert threading.active_count() == before
    assert not [record for record in caplog.records if record.name == "asyncio"]


def test_a_closed_sandbox_says_so(amends: NewSandbox) -> None:
    app = amends([at_once], [Shop()])
    app.close()

    with pytest.raises(NotRunning, match="closed"):
        app.run(at_once, Order(1))


def test_a_context_made_by_hand_has_the_keys_of_a_saga(amends: NewSandbox) -> None:
    action, again = context(pack), context(pack, attempt=2)
    undo = context(pack, compensating=True)

    assert action.key == again.key == undo.action_key
    assert undo.key != action.key
    assert {context(pack, item=3).address, context(pack, item=3).step} == {"pack[3]", "pack"}
    others = [context(pack, round=2), context(pack, item=1), context(pack, saga_id="other"), context(send)]
    assert len({ctx.key for ctx in [action, *others]}) == 5


def test_a_context_is_made_for_steps_that_there_are() -> None:
    with pytest.raises(DefinitionError, match=r"context\(the_step, compensating=True\)"):
        context(unpack)  # type: ignore[arg-type]  # the mistake
    with pytest.raises(DefinitionError, match="has no compensation"):
        context(send, compensating=True)


def test_a_context_made_by_hand_can_be_told_to_stop_and_counts_nothing_else() -> None:
    ctx = context(pack)

    ctx.heartbeat()
    ctx.running.cancelled = True

    assert ctx.cancelled
    ctx.log.info("a line")
