"""How one attempt ends, whatever the function does (rules 2, 3 and 8 of the behaviour)."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from engine import Order, database, engine, virtually

from amends import Compensated, Completed, Context, Park, Parked, Reject, Retry, Saga, pivot, step
from amends.run.attempt import contained, settled
from amends.store.memory import MemoryDatabase

TWICE = Retry(attempts=2, first_delay=1, jitter=0)


def saga_of(action: Any, **options: Any) -> tuple[Saga[Order, None], list[str]]:
    """A saga of one step that calls `action(ctx)`, and the list of what its functions said."""
    said: list[str] = []

    @step(name="only", **{"retry": TWICE, **options})
    async def only(ctx: Context) -> None:
        said.append(f"try {ctx.attempt}")
        given = action(ctx)
        if asyncio.iscoroutine(given):
            await given

    @only.compensation
    async def undo(ctx: Context) -> None:
        said.append("undo")

    return Saga("saga", only, input=Order), said


def raising(error: BaseException) -> Any:
    """An action that raises."""

    def action(_: Context) -> None:
        raise error

    return action


def run(saga: Saga[Order, None], **options: Any) -> Any:
    """The outcome of one run."""

    async def main() -> Any:
        async with engine(saga, **options) as orchestrator:
            return await orchestrator.run(saga, Order(), id="one")

    return virtually(main())


def test_a_rejection_is_not_tried_again_and_has_nothing_to_undo() -> None:
    saga, said = saga_of(raising(Reject("sold out")))

    outcome = run(saga)

    assert outcome == Compensated("only: sold out", "rejected", "only")
    assert said == ["try 1"]


def test_rejects_names_the_exceptions_that_mean_no() -> None:
    class Declined(Exception):
        pass

    class Badly(Declined):
        pass

    saga, said = saga_of(raising(Badly("card")), rejects=(Declined,))

    outcome = run(saga)

    assert outcome == Compensated("only: Badly: card", "rejected", "only")
    assert said == ["try 1"]


def test_any_other_exception_is_tried_again_and_then_unknown_and_undone() -> None:
    saga, said = saga_of(raising(ConnectionError("gone")))

    outcome = run(saga)

    assert outcome == Compensated("only: ConnectionError: gone", "unknown", "only")
    assert said == ["try 1", "try 2", "undo"]


def test_a_rejection_after_an_attempt_that_may_have_worked_is_undone_like_success() -> None:
    def action(ctx: Context) -> None:
        raise ConnectionError("gone") if ctx.attempt == 1 else Reject("no")

    saga, said = saga_of(action)

    outcome = run(saga)

    assert isinstance(outcome, Compensated)
    assert "an earlier attempt may have worked" in outcome.reason
    assert said == ["try 1", "try 2", "undo"]


def test_never_ends_the_attempts_at_once_as_unknown() -> None:
    saga, said = saga_of(raising(KeyError("code")), retry=Retry(attempts=9, never=(KeyError,)))

    outcome = run(saga)

    assert isinstance(outcome, Compensated)
    assert outcome.cause == "unknown"
    assert said == ["try 1", "undo"]


def test_only_tries_again_after_nothing_else() -> None:
    only = Retry(attempts=9, first_delay=0, only=(ConnectionError,))
    errors: list[Exception] = [ConnectionError("net"), ValueError("bug")]
    saga, said = saga_of(lambda ctx: raising(errors[ctx.attempt - 1])(ctx), retry=only)

    run(saga)

    assert said == ["try 1", "try 2", "undo"]


def test_park_is_for_a_person_at_once() -> None:
    saga, said = saga_of(raising(Park("wrong credentials")))

    outcome = run(saga)

    assert isinstance(outcome, Parked)
    assert outcome.reason == "only: wrong credentials"
    assert [entry.step for entry in outcome.unsettled] == ["only"]
    assert said == ["try 1"]


def test_retry_after_sets_the_next_delay_and_outlasts_the_workers_memory() -> None:
    at: list[float] = []

    def action(ctx: Context) -> None:
        at.append(asyncio.get_running_loop().time())
        if ctx.attempt == 1:
            raise Retry.after(3600)

    saga, _ = saga_of(action)

    outcome = run(saga)

    assert outcome == Completed(None)
    assert 3600 <= at[1] - at[0] < 3602


def test_the_key_is_the_same_in_every_attempt_and_not_its_compensations() -> None:
    keys: list[tuple[str, str]] = []

    @step(retry=TWICE)
    async def only(ctx: Context) -> None:
        keys.append((ctx.key, ctx.action_key))
        raise ConnectionError

    @only.compensation
    async def undo(ctx: Context) -> None:
        keys.append((ctx.key, ctx.action_key))

    run(Saga("saga", only, input=Order))

    first, second, back = keys
    assert first == second
    assert back[0] != first[0]
    assert back[1] == first[0]


class Hostile(Exception):
    """Its text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class HostileReject(Reject):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Hostile(), "only: Hostile"),
        (ValueError("a\x00b"), "only: ValueError: a\N{REPLACEMENT CHARACTER}b"),
        (ValueError("\ud800"), "only: ValueError: ?"),
        (ValueError("x" * 10_000_000), f"only: ValueError: {'x' * 2000} …"),
        (SystemExit(3), "only: SystemExit: 3"),
        (asyncio.CancelledError(), "only: CancelledError: something in it was cancelled"),
        (ExceptionGroup("several", [ValueError("a")]), "only: ExceptionGroup: several (1 sub-exception)"),
        (StopAsyncIteration(), "only: StopAsyncIteration"),
        (GeneratorExit(), "only: GeneratorExit"),
    ],
    ids=["no text", "NUL", "surrogate", "10 MB", "SystemExit", "cancelled", "group", "stop iteration", "GeneratorExit"],
)
def test_whatever_a_function_raises_is_an_outcome(error: BaseException, reason: str) -> None:
    saga, said = saga_of(raising(error), timeout=60)

    outcome = run(saga)

    assert isinstance(outcome, Compensated)
    assert outcome.reason == reason
    assert said == ["try 1", "try 2", "undo"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (HostileReject(), "only: rejected"),
        (Reject(), "only: rejected"),
        (Reject("a\x00\ud800"), "only: a\N{REPLACEMENT CHARACTER}?"),
        (Reject("x" * 10_000_000), f"only: {'x' * 2000} …"),
    ],
    ids=["no text", "empty", "NUL and surrogate", "10 MB"],
)
def test_a_reject_reason_is_kept_as_far_as_it_can_be(error: Reject, reason: str) -> None:
    saga, _ = saga_of(raising(error))

    outcome = run(saga)

    assert outcome == Compensated(reason, "rejected", "only")


def test_a_keyboard_interrupt_in_a_step_is_recorded_and_then_means_the_process() -> None:
    saga, said = saga_of(raising(KeyboardInterrupt()))
    kept: list[MemoryDatabase] = []

    async def main() -> None:
        kept.append(database())
        async with engine(saga, on=kept[0]) as orchestrator:
            await orchestrator.start(saga, Order(), id="one")
            await asyncio.sleep(3600)

    with pytest.raises(KeyboardInterrupt):
        virtually(main())

    (rows,) = kept[0].journal.values()
    assert said == ["try 1"]
    assert b"KeyboardInterrupt" in rows[-1][1]


@pytest.mark.parametrize(
    "result", ["text", 2**70, None, object(), [1, 2]], ids=["text", "2^70", "None", "object", "list"]
)
def test_a_result_of_the_wrong_type_makes_the_step_unknown_and_is_named(result: Any) -> None:
    undone: list[str] = []

    @step(retry=TWICE)
    async def only() -> int:
        return result  # type: ignore[no-any-return]  # that is the point

    @only.compensation
    async def undo(ctx: Context) -> None:
        undone.append(ctx.saga_id)

    outcome = run(Saga("saga", only, input=Order))

    assert isinstance(outcome, Compensated)
    assert "the result of only" in outcome.reason
    assert undone == ["one"]


def test_around_sees_every_exception_and_cannot_change_the_outcome() -> None:
    seen: list[str] = []

    @asynccontextmanager
    async def swallowing(ctx: Context) -> AsyncIterator[None]:
        try:
            yield
        except BaseException as error:  # noqa: BLE001  # it swallows everything, which must not help it
            seen.append(f"{ctx.phase} {type(error).__name__}")
        else:
            seen.append(f"{ctx.phase} fine")

    saga, said = saga_of(raising(Reject("no")))

    outcome = run(saga, around=[swallowing])

    assert outcome == Compensated("only: no", "rejected", "only")
    assert seen == ["action Reject"]
    assert said == ["try 1"]


def test_around_that_raises_when_it_is_left_does_not_change_a_success() -> None:
    @asynccontextmanager
    async def failing(_: Context) -> AsyncIterator[None]:
        yield
        raise RuntimeError("the tracer is broken")

    saga, said = saga_of(lambda _: None)

    outcome = run(saga, around=[failing])

    assert outcome == Completed(None)
    assert said == ["try 1"]


def test_around_that_raises_when_it_is_entered_is_a_failed_attempt_and_never_a_success() -> None:
    entered: list[int] = []

    @asynccontextmanager
    async def failing(_: Context) -> AsyncIterator[None]:
        entered.append(1)
        if len(entered) == 1:
            raise ConnectionError("the tracer is away")
        yield

    saga, said = saga_of(lambda _: None)

    outcome = run(saga, around=[failing])

    assert outcome == Completed(None)
    assert said == ["try 2"]


def test_around_is_entered_in_order_and_left_in_reverse_for_compensations_too() -> None:
    seen: list[str] = []

    def named(name: str) -> Any:
        @asynccontextmanager
        async def enter(ctx: Context) -> AsyncIterator[None]:
            seen.append(f"{name} in {ctx.phase}")
            yield
            seen.append(f"{name} out {ctx.phase}")

        return enter

    @step
    async def first() -> None: ...

    @first.compensation
    async def undo() -> None: ...

    @step
    async def no() -> None:
        raise Reject("no")

    both = Saga("both", first, pivot(no), input=Order)

    run(both, around=[named("a"), named("b")])

    wanted = ["a in", "b in", "b out", "a out"]
    assert [line for line in seen if line.endswith("action")][:4] == [f"{what} action" for what in wanted]
    assert [line for line in seen if line.endswith("undo")] == [f"{what} undo" for what in wanted]


def test_a_call_that_is_cancelled_before_it_began_leaves_nothing_that_was_never_awaited() -> None:
    async def play() -> list[str]:
        called: list[str] = []

        async def call() -> None:
            called.append("called")

        task = asyncio.ensure_future(contained(call))
        task.cancel()
        await settled(task)
        assert task.cancelled()
        return called

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        called = asyncio.run(play())
        gc.collect()

    assert called == []
    assert said == []
