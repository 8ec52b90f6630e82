"""Settle before going back (rule 2): an attempt is over when its function has returned."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from engine import Order, engine, state, status, until, virtually

from amends import Compensated, Completed, Context, Parked, Reject, Retry, Saga, Settings, parallel, pivot, step
from amends.errors import Refused
from amends.run import mailbox
from amends.run.orchestrator import Orchestrator
from amends.store.base import NewMail

TWICE = Retry(attempts=2, first_delay=1, jitter=0)


def slow_saga(body: Any, said: list[str], **options: Any) -> Saga[Order, None]:
    """A saga of one step that awaits `body(ctx)`."""

    @step(name="slow", **{"retry": TWICE, "timeout": 10, **options})
    async def slow(ctx: Context) -> None:
        said.append(f"begins {ctx.attempt}")
        await body(ctx)
        said.append(f"returns {ctx.attempt}")

    @slow.compensation
    async def undo() -> None:
        said.append("undone")

    return Saga("slow-saga", slow, input=Order)


def test_siblings_in_flight_are_awaited_before_anything_is_undone() -> None:
    said: list[str] = []

    @step
    async def long() -> None:
        await asyncio.sleep(20)
        said.append("long returned")

    @long.compensation
    async def undo() -> None:
        said.append("long undone")

    @step(readonly=True)
    async def no() -> None:
        said.append("no")
        raise Reject("no")

    saga = Saga("saga", parallel(long, no), input=Order)

    async def main() -> Any:
        async with engine(saga) as orchestrator:
            return await orchestrator.run(saga, Order())

    assert virtually(main()) == Compensated("no: no", "rejected", "no")
    assert said == ["no", "long returned", "long undone"]


def test_a_timeout_asks_async_code_to_stop_and_the_next_attempt_waits_for_its_return() -> None:
    said: list[str] = []

    async def body(ctx: Context) -> None:
        if ctx.attempt == 1:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                said.append(f"asked to stop, cancelled={ctx.cancelled}")
                await asyncio.sleep(9)  # within the grace
                said.append("stopped")
                raise

    saga = slow_saga(body, said)

    async def main() -> Any:
        async with engine(saga) as orchestrator:
            return await orchestrator.run(saga, Order())

    assert virtually(main()) == Completed(None)
    assert said == ["begins 1", "asked to stop, cancelled=True", "stopped", "begins 2", "returns 2"]


def test_a_step_that_swallows_the_cancel_and_returns_in_the_grace_has_succeeded() -> None:
    said: list[str] = []

    async def body(ctx: Context) -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            await asyncio.sleep(5)

    saga = slow_saga(body, said)

    async def main() -> Any:
        async with engine(saga) as orchestrator:
            return await orchestrator.run(saga, Order())

    assert virtually(main()) == Completed(None)
    assert said == ["begins 1", "returns 1"]


def test_a_heartbeat_starts_the_timeout_anew() -> None:
    said: list[str] = []

    async def body(ctx: Context) -> None:
        for _ in range(10):
            await asyncio.sleep(9)
            ctx.heartbeat()

    saga = slow_saga(body, said)

    async def main() -> Any:
        async with engine(saga) as orchestrator:
            return await orchestrator.run(saga, Order())

    assert virtually(main()) == Completed(None)
    assert said == ["begins 1", "returns 1"]


class Deaf:
    """A body that does not stop when asked, until it is let go."""

    def __init__(self) -> None:
        self.let_go = asyncio.Event()

    async def __call__(self, ctx: Context) -> None:
        while not self.let_go.is_set():
            try:
                await self.let_go.wait()
            except asyncio.CancelledError:
                continue


def test_a_function_that_does_not_stop_parks_its_saga_as_still_running_and_nothing_is_undone() -> None:
    said: list[str] = []

    async def main() -> None:
        deaf = Deaf()
        saga = slow_saga(deaf, said)
        async with engine(saga) as orchestrator:
            outcome = await orchestrator.run(saga, Order(), id="one")

            assert isinstance(outcome, Parked)
            assert outcome.reason == "slow: still running"
            assert [(entry.step, entry.action) for entry in outcome.unsettled] == [("slow", "stuck")]

            await orchestrator.cancel("one", reason="enough")
            await asyncio.sleep(600)
            assert said == ["begins 1"], "its own undo must wait for it"
            assert await status(orchestrator, "one") == "parked"
            deaf.let_go.set()
            await asyncio.sleep(5)

    virtually(main())


def test_retry_is_refused_while_the_function_runs_and_its_late_return_is_knowledge() -> None:
    said: list[str] = []

    async def main() -> Any:
        deaf = Deaf()
        saga = slow_saga(deaf, said)
        async with engine(saga) as orchestrator:
            await orchestrator.run(saga, Order(), id="one")
            act = orchestrator.session.act

            with pytest.raises(Refused, match="still running"):
                await act("one", "retry", "slow", actor="ann", reason="again", result=None)
            with pytest.raises(Refused, match="still running"):
                await act("one", "unpark", "", actor="ann", reason="again", result=None)
            deaf.let_go.set()
            await asyncio.sleep(5)
            late = await state(orchestrator, "one")
            assert (late.late, late.step("slow").action.status) == (1, "stuck"), "knowledge moves nothing"
            assert await status(orchestrator, "one") == "parked"

            await act("one", "retry", "slow", actor="ann", reason="again", result=None)
            return await orchestrator.handle(saga, "one").outcome()

    assert virtually(main()) == Completed(None)
    assert said == ["begins 1", "returns 1", "begins 1", "returns 1"]


@pytest.mark.parametrize("late", ["succeeded", "failed"])
def test_a_late_answer_to_a_step_that_runs_again_does_not_stand_for_the_attempt_in_flight(late: str) -> None:
    """A worker that lost its lease may report, long after, how an attempt of its own ended."""
    said: list[str] = []

    async def body(ctx: Context) -> None:
        await asyncio.sleep(8)

    saga = slow_saga(body, said)

    async def main() -> Any:
        async with engine(saga) as orchestrator:
            handle = await orchestrator.start(saga, Order(), id="one")
            await asyncio.sleep(1)
            body = mailbox.write(address="slow", phase="action", outcome=late)
            await orchestrator.session.ask(NewMail("one", "late-1", "late", body))
            assert (await state(orchestrator, "one")).step("slow").action.status == "running"
            return await handle.outcome()

    assert virtually(main()) == Completed(None)
    assert said == ["begins 1", "returns 1"]


def test_leaving_does_not_wait_for_a_function_that_does_not_stop() -> None:
    said: list[str] = []

    async def main() -> float:
        deaf = Deaf()
        saga = slow_saga(deaf, said)
        async with engine(saga, settings=Settings(drain_seconds=3600)) as orchestrator:
            await orchestrator.start(saga, Order(), id="one")
            await asyncio.sleep(1)
            began = asyncio.get_running_loop().time()
        left = asyncio.get_running_loop().time() - began
        deaf.let_go.set()
        return left

    assert virtually(main()) < 30, "timeout and grace, and no more"


def test_a_timeout_tells_sync_code_by_ctx_cancelled(tmp_path: Path) -> None:
    seen: list[bool] = []

    @step(retry=TWICE, timeout=0.1)
    def slow(ctx: Context) -> None:
        seen.append(ctx.cancelled)
        while ctx.attempt == 1 and not ctx.cancelled:
            time.sleep(0.001)
        if ctx.attempt == 1:
            raise TimeoutError("asked to stop")

    @slow.compensation
    def undo() -> None: ...

    saga = Saga("saga", slow, input=Order)

    assert run_here(saga, tmp_path) == Completed(None)
    assert seen == [False, False]


def test_a_sync_function_that_never_returns_parks_its_saga_and_does_not_keep_the_worker(tmp_path: Path) -> None:
    forever = threading.Event()

    @step(timeout=0.05)
    def stuck() -> None:
        forever.wait()

    @stuck.compensation
    def undo() -> None: ...

    saga = Saga("saga", stuck, input=Order)

    outcome = run_here(saga, tmp_path)
    forever.set()

    assert isinstance(outcome, Parked)
    assert outcome.reason == "stuck: still running"


def test_the_time_of_a_sync_function_does_not_count_while_it_waits_for_a_thread(tmp_path: Path) -> None:
    attempts: list[int] = []

    @step(timeout=0.3)
    def slow(ctx: Context) -> None:
        attempts.append(ctx.attempt)
        time.sleep(0.1)

    @slow.compensation
    def undo() -> None: ...

    saga = Saga("saga", slow, input=Order)

    async def main() -> list[Any]:
        async with on_file(saga, tmp_path, Settings(threads=1)) as orchestrator:
            return await asyncio.gather(*(orchestrator.run(saga, Order()) for _ in range(12)))

    assert asyncio.run(main()) == [Completed(None)] * 12
    assert attempts == [1] * 12


def test_a_sync_function_whose_saga_has_left_by_its_turn_is_not_begun(tmp_path: Path) -> None:
    began: list[str] = []
    go = threading.Event()

    @step(timeout=60)
    def slow(ctx: Context) -> None:
        began.append(ctx.saga_id)
        go.wait(30)

    @slow.compensation
    def undo() -> None: ...

    saga = Saga("saga", slow, input=Order)

    async def main() -> None:
        async with on_file(saga, tmp_path, Settings(threads=1, drain_seconds=0.05)) as orchestrator:
            for number in range(5):
                await orchestrator.start(saga, Order(), id=f"n{number}")
            await until(lambda: bool(began))
            worker = orchestrator.session.worker
            assert worker is not None
            threads: Any = worker._threads
        go.set()
        await until(lambda: threads._idle == 1)  # whatever was queued has had its turn

    asyncio.run(main())

    assert began == ["n0"]


def test_a_step_that_blocks_the_event_loop_is_still_one_attempt(tmp_path: Path) -> None:
    attempts: list[int] = []

    @step(timeout=0.05)
    async def rude(ctx: Context) -> None:
        attempts.append(ctx.attempt)
        time.sleep(0.3)  # noqa: ASYNC251  # that is the point

    @rude.compensation
    async def undo() -> None: ...

    @step
    async def last() -> None: ...

    saga = Saga("saga", rude, pivot, last, input=Order)

    assert run_here(saga, tmp_path) == Completed(None)
    assert attempts == [1]


def on_file(saga: Saga[Any, Any], directory: Path, settings: Settings | None = None) -> Orchestrator:
    """An orchestrator with real threads and a real clock."""
    return Orchestrator(f"sqlite:///{directory}/sagas.db", sagas=[saga], settings=settings)


def run_here(saga: Saga[Order, Any], directory: Path) -> Any:
    """The outcome of one run with real threads and a real clock."""

    async def main() -> Any:
        async with on_file(saga, directory) as orchestrator:
            return await orchestrator.run(saga, Order())

    return asyncio.run(main())
