"""Steering functions, limits and resources: what the shell asks, bounds and provides."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NewType

import pytest
from engine import Order, database, engine, state, virtually

from amends import (
    Compensated,
    Completed,
    Context,
    Orchestrator,
    Parked,
    Reject,
    Rejected,
    Resource,
    Retry,
    Saga,
    Settings,
    for_each,
    pivot,
    sleep,
    step,
    when,
)
from amends.errors import DefinitionError

asked: list[str] = []


@step
async def quick() -> None: ...


@quick.compensation
async def unquick() -> None: ...


@step
async def each(item: int, ctx: Context) -> int:
    return item * 2


@each.compensation
async def uneach(item: int) -> None: ...


@pytest.fixture(autouse=True)
def _nothing_asked() -> None:
    asked.clear()


def run(saga: Saga[Order, Any], **options: Any) -> Any:
    """The outcome of one run."""

    async def main() -> Any:
        async with engine(saga, **options) as orchestrator:
            return await orchestrator.run(saga, Order(), id="one")

    return virtually(main())


def steered(name: str, answer: Any) -> Any:
    """A steering function that writes down that it was asked."""

    def ask(order: Order) -> Any:
        asked.append(name)
        return answer() if callable(answer) else answer

    return ask


def test_steering_functions_are_called_once_and_never_again_after_a_restart() -> None:
    saga = Saga(
        "steered",
        for_each(each, over=steered("over", [1, 2, 3])),
        when(steered("condition", True), quick),  # the answer
        sleep(steered("until", timedelta(hours=2))),
        pivot,
        quick.named("last"),
        input=Order,
    )

    async def main() -> Any:
        on = database()
        async with engine(saga, on=on) as first:
            handle = await first.start(saga, Order(), id="one")
            await asyncio.sleep(60)
        async with engine(saga, on=on) as second:
            began = asyncio.get_running_loop().time()
            outcome = await second.handle(saga, handle.saga_id).outcome()
            return outcome, asyncio.get_running_loop().time() - began

    outcome, took = virtually(main())
    assert outcome == Completed(None)
    assert asked == ["over", "condition", "until"]
    assert 7100 < took < 7200, "the instant was recorded, not the duration"


def broken() -> Any:
    """A steering function's answer that raises."""
    raise RuntimeError("a bug")


def leaving() -> Any:
    """One that wants the process to end."""
    raise SystemExit(1)


NAIVE = datetime(2030, 1, 1)  # noqa: DTZ001  # that is the point


@pytest.mark.parametrize(
    ("node", "word"),
    [
        (when(steered("c", broken), quick), "RuntimeError: a bug"),
        (when(steered("c", leaving), quick), "SystemExit: 1"),
        (when(steered("c", "yes"), quick), "True or False is expected"),
        (for_each(each, over=steered("o", broken)), "RuntimeError: a bug"),
        (for_each(each, over=steered("o", ["text"])), "item 0 of each"),
        (for_each(each, over=steered("o", [1, 2**70])), "item 1 of each"),
        (for_each(each, over=steered("o", 7)), "not iterable"),
        (for_each(each, over=steered("o", range(101))), "Settings.fan_out"),
        (for_each(each, over=steered("o", itertools.count)), "Settings.fan_out"),
        (sleep(steered("u", broken)), "RuntimeError: a bug"),
        (sleep(steered("u", float("inf"))), "finite"),
        (sleep(steered("u", -5.0)), "0 or more"),
        (sleep(steered("u", NAIVE)), "time zone"),
        (sleep(steered("u", "soon")), "timedelta"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_steering_function_that_fails_parks_with_its_words_and_can_be_asked_again(node: Any, word: str) -> None:
    saga = Saga("steered", quick.named("first"), node, input=Order)

    outcome = run(saga, settings=Settings(fan_out=100))

    assert isinstance(outcome, Parked)
    assert word in outcome.reason


def test_a_sleep_until_an_instant_that_has_passed_goes_on_at_once() -> None:
    saga = Saga("steered", sleep(steered("u", datetime(2000, 1, 1, tzinfo=UTC))), quick, input=Order)

    assert run(saga) == Completed(None)


def test_no_more_items_than_the_limit_run_at_once() -> None:
    now: list[int] = []
    most: list[int] = []

    @step
    async def wide(item: int) -> None:
        now.append(item)
        most.append(len(now))
        await asyncio.sleep(item % 3)
        now.remove(item)

    @wide.compensation
    async def unwide(item: int) -> None: ...

    saga = Saga("wide", for_each(wide, over=lambda order: list(range(50)), limit=7), input=Order)

    assert run(saga) == Completed(None)
    assert max(most) == 7


# Limits


def test_a_result_over_the_limit_makes_the_step_unknown_and_says_what_to_do() -> None:
    @step
    async def large() -> str:
        return "x" * 2000

    @large.compensation
    async def unlarge() -> None: ...

    outcome = run(Saga("large", large, input=Order), settings=Settings(payload_bytes=1000))

    assert isinstance(outcome, Compensated)
    assert "the limit is 1,000" in outcome.reason
    assert "pass a reference" in outcome.reason


def test_an_item_over_the_limit_parks() -> None:
    @step
    async def text(item: str) -> None: ...

    @text.compensation
    async def untext(item: str) -> None: ...

    saga = Saga("items", for_each(text, over=lambda order: ["a", "x" * 2000]), input=Order)

    outcome = run(saga, settings=Settings(payload_bytes=1000))

    assert isinstance(outcome, Parked)
    assert "item 1 of text" in outcome.reason


def test_a_history_over_the_limit_parks_at_the_next_failure_and_a_person_gives_it_new_room() -> None:
    attempts: list[int] = []

    @step
    async def last(ctx: Context) -> None:
        attempts.append(ctx.attempt)
        if len(attempts) < 30:
            raise ConnectionError("away")

    saga = Saga("retriable", pivot(quick), last, input=Order)

    async def main() -> Any:
        async with engine(saga, settings=Settings(history_lines=40)) as orchestrator:
            parked = await orchestrator.run(saga, Order(), id="one")
            assert isinstance(parked, Parked)
            assert "its history has more than 40 lines" in parked.reason
            before = len(attempts)
            assert (await state(orchestrator, "one")).length > 40
            await orchestrator.session.act("one", "unpark", "", actor="ann", reason="it is back", result=None)
            return before, await orchestrator.handle(saga, "one").outcome()

    before, outcome = virtually(main())
    assert before < 25
    assert outcome == Completed(None)


@pytest.mark.parametrize("name", ["in_flight", "poll_seconds"])
@pytest.mark.parametrize("value", [0, -1, True, "many", None, float("nan"), float("inf")])
def test_a_setting_is_a_positive_number(name: str, value: Any) -> None:
    with pytest.raises(DefinitionError, match=rf"Settings\({name}="):
        Settings(**{name: value})


def test_a_count_is_a_whole_number() -> None:
    with pytest.raises(DefinitionError, match=r"Settings\(threads=2\.5\)"):
        Settings(threads=2.5)  # type: ignore[arg-type]  # that is the point


# Resources

Url = NewType("Url", str)


@dataclass
class Pool:
    """A resource that needs another."""

    url: str
    open: bool = True


class Line:
    """One that needs the pool."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool


def plain_url() -> Url:
    asked.append("open url")
    return Url("db://x")


async def the_pool(url: Resource[Url]) -> AsyncIterator[Pool]:
    asked.append("open pool")
    pool = Pool(url)
    yield pool
    asked.append("close pool")
    pool.open = False


def the_line(pool: Resource[Pool]) -> Iterator[Line]:
    asked.append("open line")
    yield Line(pool)
    asked.append("close line")


async def the_number() -> int:
    asked.append("open number")
    return 7


@step
async def use(line: Resource[Line], number: Resource[int]) -> str:
    asked.append(f"use {line.pool.url} {line.pool.open} {number}")
    await asyncio.sleep(5)
    asked.append("used")
    return line.pool.url


@use.compensation
async def unuse() -> None: ...


RESOURCES: list[Callable[..., Any]] = [the_line, the_number, the_pool, plain_url]  # in no order


def test_resources_open_once_in_dependency_order_and_close_after_the_drain_in_reverse() -> None:
    saga = Saga("using", use, input=Order)

    async def main() -> None:
        async with engine(saga, resources=RESOURCES) as orchestrator:
            for number in range(2):
                await orchestrator.start(saga, Order(), id=f"n{number}")
            await asyncio.sleep(1)

    virtually(main())
    opened = asked[:4]
    assert sorted(opened) == ["open line", "open number", "open pool", "open url"]
    assert opened.index("open url") < opened.index("open pool") < opened.index("open line")
    assert asked[4:] == ["use db://x True 7"] * 2 + ["used"] * 2 + ["close line", "close pool"]


def test_a_client_opens_no_resource() -> None:
    saga = Saga("using", use, input=Order)

    async def main() -> None:
        async with engine(saga, resources=RESOURCES).client() as client:
            await client.start(saga, Order())

    virtually(main())
    assert asked == []


def test_a_resource_that_fails_to_open_closes_the_others_and_the_worker_says_why() -> None:
    def failing(url: Resource[Url]) -> Line:
        raise ConnectionError("no route")

    saga = Saga("using", use, input=Order)

    async def main() -> Any:
        on = database()
        broken = engine(saga, on=on, resources=[failing, the_number, the_pool, plain_url])
        with pytest.raises(ConnectionError, match="no route"):
            async with broken:
                pass
        assert not on.workers, "nothing was registered"
        async with engine(saga, on=on, resources=RESOURCES) as orchestrator:
            return await orchestrator.run(saga, Order())

    assert virtually(main()) == Completed(None)
    assert asked.count("open pool") - asked.count("close pool") in (0, 1)


def test_a_resource_that_fails_to_close_does_not_keep_the_store_open(tmp_path: Any) -> None:
    def sour() -> Iterator[int]:
        yield 7
        raise RuntimeError("cannot close")

    @step
    async def take(number: Resource[int]) -> None: ...

    @take.compensation
    async def untake() -> None: ...

    saga = Saga("taking", take, input=Order)
    url = f"sqlite:///{tmp_path}/sagas.db"

    async def once() -> Any:
        async with Orchestrator(url, sagas=[saga], resources=[sour]) as orchestrator:
            return await orchestrator.run(saga, Order(), id="one")

    for _ in range(2):  # the second would be refused if the lock were held still
        with pytest.raises(RuntimeError, match="cannot close"):
            asyncio.run(once())


def test_a_reject_reason_of_an_item_is_collected_as_it_can_be_kept() -> None:
    @step(retry=Retry(attempts=1))
    async def picky(item: int) -> int:
        if item == 2:
            raise Reject("no\x00 \ud800")
        return item

    @picky.compensation
    async def unpicky(item: int) -> None: ...

    collected: Any = for_each(picky, over=lambda order: [1, 2, 3], on_reject="collect")
    saga = Saga("collect", collected, input=Order, output=collected)

    outcome = run(saga)

    assert outcome == Completed([1, Rejected("no\N{REPLACEMENT CHARACTER} ?"), 3])
