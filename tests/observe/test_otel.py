"""A saga is one trace: across its steps, crashes, services and both styles; and nothing of it is kept anywhere."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest
from asked import Stock, placed
from engine import Order, database, until, virtually
from onlooker import LEASE, killed, watched
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from travels import Ground, Town, hurry, place_order
from travels import Order as Goods

from amends import Compensated, Completed, Context, Orchestrator, Park, Parked, Reject, Retry, Saga, step
from amends.decide.events import Phase
from amends.errors import DefinitionError
from amends.observe import events as o
from amends.observe.events import About
from amends.operate.operations import Operations
from amends.otel import Tracing, span_id_of, trace_id_of


class Traced:
    """Where spans end up."""

    def __init__(self, **given: Any) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracing = Tracing(provider=self.provider, **given)

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        """Those that have ended, in that order."""
        return self.exporter.get_finished_spans()

    def named(self, name: str) -> ReadableSpan:
        """The only one of a name."""
        [found] = [span for span in self.spans if span.name == name]
        return found


def says(span: ReadableSpan, name: str) -> Any:
    """An attribute."""
    return (span.attributes or {}).get(f"amends.{name}")


def context_of(span: ReadableSpan) -> trace.SpanContext:
    """Where it stands."""
    found = span.get_span_context()
    assert found is not None
    return found


def id_of(span: ReadableSpan) -> int:
    """A span's own id."""
    return context_of(span).span_id


def trace_of(span: ReadableSpan) -> int:
    """The trace that a span is in."""
    return context_of(span).trace_id


def above(span: ReadableSpan) -> int | None:
    """The id of its parent."""
    return None if span.parent is None else span.parent.span_id


seen: list[tuple[bytes, int]] = []  # by the step: the saga, and the span that was current


@step(retry=Retry(attempts=3, first_delay=1.0, jitter=0.0))
async def book(order: Order, ctx: Context) -> int:
    """The first step, which looks at the current span."""
    seen.append((ctx.internal_id, trace.get_current_span().get_span_context().span_id))
    if order.cents == 13 and ctx.attempt == 1:
        raise ConnectionError("no line")
    return order.cents


@book.compensation
async def unbook() -> None:
    """Undo it."""


@step
def pay(order: Order, ctx: Context) -> None:
    """The second, in a thread."""
    seen.append((ctx.internal_id, trace.get_current_span().get_span_context().span_id))
    if order.cents == 7:
        raise Reject("odd")
    if order.cents == 0:
        raise Park("free")


@pay.compensation
async def unpay() -> None:
    """Undo it."""


trip = Saga("trip", book, pay, input=Order, output=book)


def run(order: Order, traced: Traced) -> Any:
    """One saga, to its rest."""
    seen.clear()

    async def main() -> Any:
        async with watched(trip, by=traced.tracing) as orchestrator:
            return await orchestrator.run(trip, order, id="one")

    return virtually(main())


def test_a_saga_is_one_trace_with_its_own_span_at_the_root() -> None:
    traced = Traced()

    assert run(Order(4), traced) == Completed(4)

    root, first, second = traced.named("trip"), traced.named("book"), traced.named("pay")
    assert len(traced.spans) == 3
    assert root.parent is None
    assert above(first) == above(second) == id_of(root)
    assert {f"{trace_of(span):032x}" for span in traced.spans} == {trace_id_of(seen[0][0])}
    assert (says(root, "end"), says(root, "saga_id"), says(root, "saga")) == ("completed", "one", "trip")
    assert root.start_time is not None
    assert first.start_time is not None
    assert root.start_time <= first.start_time


def test_the_span_of_an_attempt_is_the_current_one_within_it_also_in_a_thread() -> None:
    traced = Traced()

    run(Order(4), traced)

    assert [span for _, span in seen] == [id_of(traced.named("book")), id_of(traced.named("pay"))]
    assert not trace.get_current_span().get_span_context().is_valid


def test_a_compensation_links_to_the_attempt_that_it_undoes() -> None:
    traced = Traced()

    assert isinstance(run(Order(7), traced), Compensated)

    undo, done = traced.named("undo book"), traced.named("book")
    [link] = undo.links
    assert link.context.span_id == id_of(done)
    assert link.context.trace_id == trace_of(done)
    assert says(traced.named("turn back"), "cause") == "rejected"


def test_a_business_no_is_no_error_and_an_attempt_that_failed_is() -> None:
    rejected, failed = Traced(), Traced()

    run(Order(7), rejected)
    run(Order(13), failed)

    assert not [span.name for span in rejected.spans if span.status.status_code is StatusCode.ERROR]
    first, second = [span for span in failed.spans if span.name == "book"]
    assert (first.status.status_code, says(first, "outcome")) == (StatusCode.ERROR, "unresolved")
    assert first.attributes is not None
    assert first.attributes["error.type"] == "ConnectionError"
    assert second.status.status_code is StatusCode.UNSET
    assert "no line" not in "".join(span.to_json() for span in failed.spans), "the words of an error may quote anything"


def test_a_saga_that_parks_shows_it_and_who_acts_goes_on_in_the_same_trace() -> None:
    traced = Traced()

    async def main() -> Any:
        async with watched(trip, by=traced.tracing) as orchestrator:
            parked = await orchestrator.run(trip, Order(0), id="one")
            await Operations(orchestrator.session).skip("one", "pay", actor="ada", reason="it was free")
            return parked, await orchestrator.handle(trip, "one").outcome()

    parked, _ = virtually(main())
    assert isinstance(parked, Parked)
    assert traced.named("park").status.status_code is StatusCode.ERROR
    assert above(traced.named("act skip")) == id_of(traced.named("trip"))
    assert len({trace_of(span) for span in traced.spans}) == 1


def test_a_worker_that_takes_a_saga_over_goes_on_in_its_trace_and_tells_of_the_lost_attempt() -> None:
    """Nobody hands the trace over: the first worker is gone without a word."""
    began = list[int]()

    @step(retry=Retry(attempts=5, first_delay=0.0), timeout=1000.0)
    async def hang(ctx: Context) -> None:
        began.append(ctx.attempt)
        if ctx.attempt == 1:
            await asyncio.Event().wait()

    @hang.compensation
    async def unhang() -> None: ...

    saga = Saga("slow", book, hang, input=Order)
    before, after = Traced(), Traced()

    async def main() -> Any:
        on = database()
        async with watched(saga, by=after.tracing, on=on, settings=LEASE) as second:
            async with killed(watched(saga, by=before.tracing, on=on, settings=LEASE)) as first:
                await first.start(saga, Order(), id="one")
                await until(lambda: bool(began))
            return await second.handle(saga, "one").outcome()

    assert virtually(main()) == Completed(None)
    assert [span.name for span in before.spans] == ["book"]
    spans = [*before.spans, *after.spans]
    root = after.named("slow")
    assert {trace_of(span) for span in spans} == {trace_of(root)}
    assert above(before.named("book")) == id_of(root)
    lost, won = [span for span in after.spans if span.name == "hang"]
    assert (says(lost, "lost"), says(lost, "attempt"), says(won, "attempt")) == (True, 1, 2)


def test_a_start_within_a_trace_leads_to_the_sagas_own() -> None:
    traced = Traced()

    async def main() -> None:
        async with watched(trip, by=traced.tracing) as orchestrator:
            tracer = traced.provider.get_tracer("web")
            with tracer.start_as_current_span("POST /orders"):
                await orchestrator.start(trip, Order(4), id="one")
            await orchestrator.handle(trip, "one").outcome()

    virtually(main())
    request, started, root = traced.named("POST /orders"), traced.named("start trip"), traced.named("trip")
    assert above(started) == id_of(request)
    assert [link.context.span_id for link in started.links] == [id_of(root)]
    assert root.parent is None
    assert above(traced.named("book")) == id_of(root), "a step is no part of a request that may be long over"


def test_a_command_carries_the_attempt_that_it_is() -> None:
    traced = Traced()

    async def main() -> Any:
        async with Stock() as stock, watched(placed, by=traced.tracing) as orchestrator:
            await orchestrator.run(placed, Order(101))
            return stock.asked

    action, undo = virtually(main())
    attempt, back = traced.named("reserve"), traced.named("undo reserve")
    assert action.trace["traceparent"].split("-")[1:] == [trace_id_of(action.saga), f"{id_of(attempt):016x}", "01"]
    assert undo.trace["traceparent"].split("-")[2] == f"{id_of(back):016x}"
    assert attempt.kind is SpanKind.CLIENT
    assert [link.context.span_id for link in back.links] == [id_of(attempt)]


@pytest.mark.parametrize("ratio", [0.0, 0.3])
def test_of_many_sagas_a_share_is_traced_each_whole_or_not_at_all(ratio: float) -> None:
    traced = Traced(ratio=ratio)

    async def main() -> None:
        async with watched(trip, by=traced.tracing) as orchestrator:
            await asyncio.gather(*(orchestrator.run(trip, Order(4)) for _ in range(60)))

    virtually(main())
    roots = [span for span in traced.spans if span.name == "trip"]
    assert len(traced.spans) == 3 * len(roots)
    assert (len(roots) == 0) if ratio == 0 else (3 < len(roots) < 40)


outside = TracerProvider(shutdown_on_exit=False)
calls = InMemorySpanExporter()
outside.add_span_processor(SimpleSpanProcessor(calls))


@step
async def call(ctx: Context) -> None:
    """Calls somebody with an instrumented client, in a process of its own setting up."""
    with outside.get_tracer("client").start_as_current_span("GET"):
        await asyncio.sleep(1.0)


@call.compensation
async def uncall() -> None: ...


@pytest.mark.parametrize("ratio", [0.0, 1.0])
def test_what_a_step_calls_is_in_its_sagas_trace_or_in_none(ratio: float) -> None:
    """Of a saga that is not traced there are no fragments."""
    calls.clear()
    traced, saga = Traced(ratio=ratio), Saga("calls", call, input=Order)

    async def main() -> None:
        async with watched(saga, by=traced.tracing) as orchestrator:
            await orchestrator.run(saga, Order(4), id="one")

    virtually(main())
    assert [above(span) for span in calls.get_finished_spans()] == [id_of(span) for span in traced.spans[:1]]
    assert not traced.tracing._open


@pytest.mark.parametrize("ratio", [-0.1, 1.1, True, "all"])
def test_a_share_is_a_number_from_nothing_to_all(ratio: Any) -> None:
    with pytest.raises(DefinitionError, match="a number from 0 to 1"):
        Tracing(ratio=ratio)


async def one_order(town: Town, traced: Traced, *, style: str, cents: int) -> None:
    """An order that goes through two services, all of them traced, to its end."""
    for app in town.apps.values():
        app.observed_by(traced.tracing)
    goods = Goods("o1", cents)
    if style == "choreographed":
        async with town.open():
            town.start(goods)
            await town.apps["orders"].outcome(place_order, "o1", timeout=60)
            return
    conductor = Orchestrator(town.ground.url("conductor"), sagas=[place_order], observers=[traced.tracing])
    async with town.open("inventory", "payment"), conductor:
        await conductor.run(place_order, goods, id="o1")


@pytest.mark.parametrize("style", ["orchestrated", "choreographed"])
def test_two_services_and_whoever_conducts_are_one_trace(
    style: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(monkeypatch)
    traced = Traced()

    asyncio.run(one_order(Town(Ground(tmp_path)), traced, style=style, cents=5000))

    root = traced.named("place-order")
    assert says(root, "end") == "compensated"
    assert {trace_of(span) for span in traced.spans} == {trace_of(root)}
    for service, name in (("inventory", "reserve"), ("payment", "charge"), ("inventory", "undo reserve")):
        handler, attempt = traced.named(f"{service} {name}"), traced.named(name)
        assert handler.kind is SpanKind.CONSUMER
        assert above(handler) == id_of(attempt)
        assert above(attempt) == id_of(root)
    assert says(traced.named("payment charge"), "outcome") == "rejected"
    [link] = traced.named("undo reserve").links
    assert link.context.span_id == id_of(traced.named("reserve"))


class PlainIds(trace.Tracer):
    """A tracer of another make: its ids are its own."""

    def __init__(self, real: trace.Tracer) -> None:
        self._real = real

    def start_span(self, *given: Any, **named: Any) -> Any:
        return self._real.start_span(*given, **named)

    start_as_current_span = start_span


class PlainProvider(trace.TracerProvider):
    """And where it comes from."""

    def __init__(self, real: TracerProvider) -> None:
        self._real = real

    def get_tracer(self, *given: Any, **named: Any) -> trace.Tracer:
        return PlainIds(self._real.get_tracer(*given, **named))


def test_under_a_tracer_whose_ids_cannot_be_set_it_is_one_trace_all_the_same() -> None:
    traced = Traced()
    traced.tracing = Tracing(provider=PlainProvider(traced.provider))

    run(Order(7), traced)

    assert {f"{trace_of(span):032x}" for span in traced.spans} == {trace_id_of(seen[0][0])}
    assert len({above(span) for span in traced.spans}) == 1
    assert not [link for span in traced.spans for link in span.links], "a link would lead nowhere"


def test_what_another_tracer_makes_beside_has_ids_of_its_own() -> None:
    traced = Traced()
    run(Order(4), traced)

    with traced.provider.get_tracer("web").start_as_current_span("GET /") as span:
        other = span.get_span_context()

    assert f"{other.trace_id:032x}" != trace_id_of(seen[0][0])
    assert other.is_valid


def test_a_trace_that_comes_with_a_command_is_gone_by_also_where_it_says_no() -> None:
    about = About("default", "", "one", bytes(range(16)))
    what = ("stock", "stock.reserve", "reserve", Phase.ACTION, 1, 1)
    traced = Traced()

    for flags in ("00", "01"):
        given = {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-{flags}"}
        traced.tracing(o.HandlerBegan(about, 1.0, *what, given))
        traced.tracing(o.HandlerEnded(about, 2.0, *what, 1.0, "succeeded"))

    [span] = traced.spans
    assert above(span) == 0xCDCDCDCDCDCDCDCD


NOT_TRACED = {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-00"}
WHAT = ("stock", "stock.reserve", "reserve", Phase.ACTION, 1, 1)
ONE = About("default", "", "one", bytes(range(16)))


@pytest.mark.parametrize(
    ("began", "ended"),
    [
        (o.HandlerBegan(ONE, 1.0, *WHAT, NOT_TRACED), o.HandlerEnded(ONE, 2.0, *WHAT, 1.0, "succeeded")),
        (
            o.EventBegan("stock", 1.0, "shop.sold", "m1", 1, NOT_TRACED),
            o.EventEnded("stock", 2.0, "shop.sold", "m1", 1, 1.0, "succeeded"),
        ),
    ],
    ids=["command", "event"],
)
def test_what_a_handler_calls_is_not_traced_where_what_came_is_not(began: Any, ended: Any) -> None:
    calls.clear()
    traced = Traced()

    def handled() -> None:
        traced.tracing(began)
        outside.get_tracer("client").start_span("GET").end()
        traced.tracing(ended)
        assert not trace.get_current_span().get_span_context().is_valid

    copy_context().run(handled)
    assert not traced.spans
    assert not calls.get_finished_spans()
    assert not traced.tracing._open


def test_a_delivery_that_overlaps_itself_ends_its_own_span_each_time() -> None:
    """A broker may hand a command out again while it is still done."""
    traced = Traced()
    first, second, third = copy_context(), copy_context(), copy_context()
    for began, context in enumerate((first, second, third)):
        context.run(traced.tracing, o.HandlerBegan(ONE, float(began), *WHAT))

    for at, context in ((4.0, second), (5.0, copy_context()), (6.0, third)):
        context.run(traced.tracing, o.HandlerEnded(ONE, at, *WHAT, 1.0, "succeeded"))

    assert [(span.start_time, span.end_time) for span in traced.spans] == [
        (1_000_000_000, 4_000_000_000),
        (0, 5_000_000_000),
        (2_000_000_000, 6_000_000_000),
    ]
    assert not second.run(trace.get_current_span).get_span_context().is_valid
    assert not traced.tracing._open


@pytest.mark.parametrize("broken", ["", "00-zz-zz-01", f"00-{'0' * 32}-{'0' * 16}-01"])
def test_a_trace_that_is_none_is_computed(broken: str) -> None:
    about = About("default", "", "one", bytes(range(16)))
    what = ("stock", "stock.reserve", "reserve", Phase.UNDO, 2, 3)
    traced = Traced()

    traced.tracing(o.HandlerBegan(about, 1.0, *what, {"traceparent": broken}))
    traced.tracing(o.HandlerEnded(about, 2.0, *what, 1.0, "failed", "replay"))

    [span] = traced.spans
    assert above(span) == span_id_of(about.id, "reserve", Phase.UNDO, 2, 3)
    assert span.status.status_code is StatusCode.ERROR
    assert says(span, "repeated") == "replay"
