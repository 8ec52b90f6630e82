"""What is typed well: every call here passes mypy --strict and pyright strict, and has the type it says."""

from __future__ import annotations

from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, assert_type

from typed_shop import (
    Approval,
    Order,
    Payment,
    Reservation,
    ReserveStock,
    Shop,
    ask_for_part,
    ask_for_stock,
    ask_to_forget,
    ask_what,
    ask_whether,
    charge,
    erase,
    forget_stock,
    inventory,
    is_big,
    parts,
    pause,
    release,
    reserve,
    reserve_stock,
    ship,
    stock_gone,
    weigh,
)

from amends import (
    Compensated,
    Completed,
    Context,
    Handle,
    Orchestrator,
    Parked,
    Rejected,
    Retry,
    Saga,
    Service,
    Signal,
    Step,
    for_each,
    parallel,
    pivot,
    result_of,
    saga_input,
    sequence,
    sleep,
    step,
    wait_for,
    when,
)
from amends.define.contract import Command, Event
from amends.define.node import Node, Source
from amends.define.nodes import Each


async def steps_stay_functions(order: Order, shop: Shop, ctx: Context) -> None:
    """A plain call of a step is a plain call of its function."""
    waiting = assert_type(reserve(order, shop, ctx), Coroutine[Any, Any, Reservation])
    assert_type(await waiting, Reservation)
    assert_type(charge(order, shop, ctx), Payment)
    assert_type(await ship(order=order), None)
    assert_type(is_big(order), bool)
    assert_type(await release(None, ctx), None)  # a compensation stays the function it is
    assert_type(charge.named("again")(order, shop, ctx), Payment)


def nodes() -> None:
    """Each node's type says what it gives, and which input it needs."""
    assert_type(pivot(charge), Source[Payment])
    assert_type(parallel(reserve, charge), Node[object])
    assert_type(sequence(reserve, parallel(charge, ship)), Node[object])
    assert_type(when(is_big, reserve), Node[object])
    assert_type(when(big, reserve, charge, otherwise=ship), Node[Order])
    assert_type(parallel(reserve, when(big, charge)), Node[Order])
    assert_type(for_each(erase, over=parts), Source[list[int]])
    assert_type(for_each(erase, over=parts, limit=3, on_reject="compensate"), Source[list[int]])
    assert_type(for_each(erase, over=parts, on_reject="collect"), Source[list[int | Rejected]])
    assert_type(for_each(erase, over=split), Each[Order, list[int]])
    assert_type(for_each(erase, over=split, on_reject="collect", limit=5), Each[Order, list[int | Rejected]])
    assert_type(sleep(3), Node[object])
    assert_type(sleep(timedelta(days=1)), Node[object])
    assert_type(sleep(pause), Node[object])
    assert_type(sleep(until_noon), Node[Order])
    assert_type(wait_for("approval", Approval), Signal[Approval])
    assert_type(wait_for("yes", bool, timeout=timedelta(days=1), default=False), Signal[bool])
    assert_type(wait_for("ok", Approval, timeout=60, reject_if=lambda it: not it.granted), Signal[Approval])
    assert_type(approval.named("second"), Signal[Approval])


def big(order: Order) -> bool:
    return order.quantity > 10


def split(order: Order) -> list[str]:
    return [order.sku]


def until_noon(order: Order) -> datetime:
    return datetime(2026, 1, 1, order.quantity, tzinfo=UTC)


approval = wait_for("approval", Approval, timeout=timedelta(days=3))
erasures = for_each(erase, over=split)


@step(readonly=True)
def receipt(
    reservation: Annotated[Reservation, result_of(reserve)],
    order: Annotated[Order, saga_input],
    sizes: Annotated[list[int], result_of(erasures)],
) -> str:
    return order.sku + reservation.ref


place_order = Saga("place-order", reserve, pivot(charge), ship, input=Order)
answered = Saga("answered", reserve, approval, pivot, ship, input=Order, output=approval, deadline=timedelta(days=5))
weighed = Saga("weighed", weigh, input=Order, output=weigh, version="2")
erased = Saga("erased", erasures, input=Order, output=erasures, deadline=60)
collected = Saga("collected", parts, again := for_each(erase, over=parts), input=Order, output=again)
paid = Saga("paid", once := pivot(charge), sleep(until_noon), ship, input=Order, output=once)
branched = Saga("branched", when(big, reserve, otherwise=charge), parallel(weigh, is_big), input=Order)


def sagas() -> None:
    """A saga knows its input and its result."""
    assert_type(place_order, Saga[Order, None])
    assert_type(answered, Saga[Order, Approval])
    assert_type(weighed, Saga[Order, float])
    assert_type(erased, Saga[Order, list[int]])
    assert_type(collected, Saga[Order, list[int]])
    assert_type(paid, Saga[Order, Payment])
    assert_type(branched, Saga[Order, None])


async def running(orchestrator: Orchestrator, order: Order) -> None:
    """Outcomes carry the result."""
    assert_type(await orchestrator.run(place_order, order), Completed[None] | Compensated | Parked)
    assert_type(await orchestrator.run(weighed, order, id="order-1"), Completed[float] | Compensated | Parked)
    assert_type(await orchestrator.start(weighed, order, id="order-2", within=object()), Handle[float])
    handle = await orchestrator.start(weighed, order)
    assert_type(handle.saga_id, str)
    assert_type(await handle.outcome(timeout=timedelta(seconds=3)), Completed[float] | Compensated | Parked)
    assert_type((await handle.outcome()).unwrap(), float)
    assert_type(orchestrator.handle(weighed, "order-1"), Handle[float])
    await orchestrator.signal("order-1", approval, Approval(True), id="click-7")
    await orchestrator.cancel("order-1", reason="changed their mind")


async def matching(orchestrator: Orchestrator, order: Order) -> str:
    """The three outcomes, taken apart."""
    match await orchestrator.run(weighed, order):
        case Completed(result):
            assert_type(result, float)
            return f"{result:.1f} kg"
        case Compensated(reason, step=where):
            assert_type(reason, str)
            return f"{where}: {reason}"
        case Parked(reason, unsettled):
            assert_type(unsettled[0].action, str)
            return reason


async def entering() -> None:
    """Working, being a client, and in a web application."""
    orchestrator = Orchestrator("sqlite:///orders.db", sagas=[place_order, weighed], resources=[open_shop])
    async with orchestrator as entered:
        assert_type(entered, Orchestrator)
    async with orchestrator.client() as client:
        assert_type(client, Orchestrator)
    async with orchestrator.lifespan(), orchestrator.client_lifespan():
        pass


def blocking(orchestrator: Orchestrator, order: Order) -> None:
    """The same without a loop."""
    sagas = orchestrator.blocking()
    assert_type(sagas.run(weighed, order, id="order-1"), Completed[float] | Compensated | Parked)
    handle = sagas.start(weighed, order)
    assert_type(handle.outcome(timeout=3), Completed[float] | Compensated | Parked)
    sagas.signal("order-1", approval, Approval(False))
    sagas.cancel("order-1", reason="changed their mind")


def attempts(ctx: Context) -> None:
    """What a step knows of its attempt."""
    assert_type(ctx.key, str)
    assert_type(ctx.action_key, str)
    assert_type(ctx.attempt, int)
    assert_type(ctx.cancelled, bool)
    assert_type(ctx.deadline, float | None)
    ctx.heartbeat()
    ctx.log.info("half of %d", 7)
    raise Retry.after(timedelta(seconds=ctx.attempt))


def open_shop() -> Shop:
    return Shop()


remote = Saga("remote", ask_for_stock, pivot, ask_to_forget, input=Order, output=ask_for_stock)
mixed = Saga("mixed", reserve, at := pivot(ask_for_stock), ship, input=Order, output=at)
several = Saga("several", ask_what, parts_of := for_each(ask_for_part, over=ask_what), input=Order, output=parts_of)
steered = Saga("steered", ask_whether, when(ask_whether, ask_for_stock, otherwise=charge), input=Order)


def contracts(order: Order, service: Service) -> None:
    """A contract knows what is sent and what comes back; a request is a step whose result is the reply."""
    assert_type(inventory, Service)
    assert_type(reserve_stock, Command[ReserveStock, Reservation])
    assert_type(forget_stock, Command[ReserveStock, None])
    assert_type(stock_gone, Event[ReserveStock])
    assert_type(service.command("list", list[str], reply=dict[str, int]), Command[list[str], dict[str, int]])
    assert_type(service.event("told", Order), Event[Order])
    assert_type(ask_for_stock(order), ReserveStock)  # a plain call builds the command
    assert_type(ask_for_part("tea", order=order), ReserveStock)
    assert_type(ask_for_stock.named("again")(order), ReserveStock)
    assert_type(pivot(ask_for_stock), Source[Reservation])
    assert_type(for_each(ask_for_part, over=parts), Source[list[Reservation]])
    assert_type(when(ask_whether, ask_for_stock, reserve), Node[object])
    named: Step[[Order], ReserveStock, Reservation] = ask_for_stock
    assert_type(named(order), ReserveStock)
    assert_type(remote, Saga[Order, Reservation])
    assert_type(mixed, Saga[Order, Reservation])
    assert_type(several, Saga[Order, list[Reservation]])
    assert_type(steered, Saga[Order, None])
    Orchestrator(sagas=[remote, mixed], services=[inventory], broker="kafka://localhost")
