"""10. A deadline that cuts an undo: the helper that all steps use calls nobody once the saga's deadline is over."""

from collections.abc import Callable

from town import ORDER, Order, Town, fair

from amends import Context, Resource, Saga, step
from amends.testing import Clock, Exploration


def in_time(clock: Clock, ctx: Context, call: Callable[[], None]) -> None:
    if ctx.deadline is None or clock.now() < ctx.deadline:
        call()


def world(clock: Clock) -> dict[type, object]:
    return {Town: Town(), Clock: clock}


def fair_town(world: dict[type, Town], outcome: object) -> None:
    fair(world[Town], outcome)


@step
def charge(order: Order, town: Resource[Town], clock: Resource[Clock], ctx: Context) -> None:
    in_time(clock, ctx, lambda: town.pay(order.cents, ctx.key))


@charge.compensation
def refund(town: Resource[Town], clock: Resource[Clock], ctx: Context) -> None:
    in_time(clock, ctx, lambda: town.pay_back(ctx.action_key))


@step
def hold(order: Order, town: Resource[Town], ctx: Context) -> None:
    town.hold(ctx.key)


@hold.compensation
def put_back(town: Resource[Town], ctx: Context) -> None:
    town.put_back(ctx.action_key)


wrong = Exploration(Saga("sell", charge, hold, input=Order, deadline=3600), ORDER, world=world, invariant=fair_town)


@step(name="charge")
def charge_in_time(order: Order, town: Resource[Town], clock: Resource[Clock], ctx: Context) -> None:
    in_time(clock, ctx, lambda: town.pay(order.cents, ctx.key))


@charge_in_time.compensation
def refund_always(town: Resource[Town], ctx: Context) -> None:
    town.pay_back(ctx.action_key)  # what is owed is owed after the deadline too


mended = Exploration(
    Saga("sell", charge_in_time, hold, input=Order, deadline=3600), ORDER, world=world, invariant=fair_town
)
