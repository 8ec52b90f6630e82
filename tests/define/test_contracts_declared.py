"""Contracts: what may be declared, what a request is as a step, and each mistake with what to write instead."""

from __future__ import annotations

import io
import sqlite3
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Generic, NamedTuple, NewType, TypeVar

import msgspec
import pydantic
import pytest
from storefront import Order, Payment, Reservation, Shop, charge, is_big, mistake, place_order, reserve, untyped

from amends import Context, Resource, Retry, Saga, Service, for_each, parallel, pivot, result_of, sleep, step, when
from amends.define.contract import Command
from amends.define.step import Step

T = TypeVar("T")
Sku = NewType("Sku", str)


@dataclass(frozen=True)
class ReserveStock:
    sku: str


class Label(NamedTuple):
    text: str


class Weight(msgspec.Struct, frozen=True):
    grams: int


class Parcel(pydantic.BaseModel):
    label: str


@dataclass(frozen=True)
class Page(Generic[T]):
    rows: tuple[T, ...]


def inventory() -> Service:
    """A service of which nothing is known yet."""
    return Service("inventory")


def stock() -> Command[ReserveStock, Reservation]:
    """A command that can be undone."""
    return inventory().command("reserve-stock", ReserveStock, reply=Reservation)


def ask(order: Order) -> ReserveStock:
    """What most requests here are made of."""
    return ReserveStock(order.sku)


def step_of(saga: Saga[Any, Any], address: str) -> Any:
    """The planned step at an address."""
    return saga.plan.step(address)


# Declaring


@pytest.mark.parametrize("wrong", ["", "a b", "9lives", "a/b", None, 3])
def test_a_service_and_a_contract_have_names(wrong: Any) -> None:
    rule = "is no name; letters, digits, _ - and . are allowed, a letter or _ first, at most 100"

    assert mistake(lambda: Service(wrong)) == f"Service(…): {wrong!r} {rule}"
    assert mistake(lambda: inventory().command(wrong, ReserveStock)) == (
        f"Service('inventory').command(…): {wrong!r} {rule}"
    )
    assert mistake(lambda: inventory().event(wrong, ReserveStock)) == f"Service('inventory').event(…): {wrong!r} {rule}"


@pytest.mark.parametrize("wrong", ["a.", "a..b", "stock._..x"])
def test_a_name_that_no_broker_takes_is_refused_where_it_is_given(wrong: str) -> None:
    rule = "has a dot with nothing behind it, which brokers refuse"

    assert mistake(lambda: Service(wrong)) == f"Service(…): {wrong!r} {rule}"
    assert rule in mistake(lambda: inventory().command(wrong, ReserveStock))
    assert rule in mistake(lambda: inventory().event(wrong, ReserveStock))


def test_two_contracts_of_one_name_are_refused_and_the_first_one_stands() -> None:
    service = inventory()
    first = service.command("stock", ReserveStock)
    expected = "the service inventory has two contracts called stock; choose another name"

    assert mistake(lambda: service.command("stock", Order)) == expected
    assert mistake(lambda: service.event("stock", Order)) == expected
    assert service.commands == {"stock": first}
    assert service.events == {}


def test_a_contract_that_was_refused_leaves_its_name_free() -> None:
    service = inventory()
    mistake(lambda: service.command("stock", untyped("ReserveStock")))
    mistake(lambda: service.command("stock", ReserveStock, reply=untyped(io.BytesIO)))

    assert service.command("stock", ReserveStock).type == "inventory.stock"


@pytest.mark.parametrize("wrong", ["ReserveStock", ReserveStock("tea"), None, T, Page[T]])  # type: ignore[valid-type]
def test_what_is_sent_is_named_by_its_class(wrong: Any) -> None:
    assert mistake(lambda: inventory().command("stock", wrong)) == (
        f"inventory.stock: {wrong!r:.80}: the class of the command is expected"
    )
    assert mistake(lambda: inventory().event("gone", wrong)) == (
        f"inventory.gone: {wrong!r:.80}: the class of the event is expected"
    )
    if wrong is not None:
        assert mistake(lambda: inventory().command("stock", ReserveStock, reply=wrong)) == (
            f"inventory.stock, reply={wrong!r:.80}: the class of the reply is expected"
        )


def test_values_that_cannot_be_sent_are_refused_with_the_path_of_the_part() -> None:
    @dataclass
    class Holder:
        file: sqlite3.Cursor

    expected = "values of Holder cannot be stored at .file: Cursor is no data class. Use dataclasses, msgspec Structs"

    assert mistake(lambda: inventory().command("stock", Holder)).startswith(f"inventory.stock, the command: {expected}")
    assert mistake(lambda: inventory().command("stock", ReserveStock, reply=Holder)).startswith(
        f"inventory.stock, the reply: {expected}"
    )
    assert mistake(lambda: inventory().event("gone", Holder)).startswith(f"inventory.gone, the event: {expected}")


def test_whether_it_can_be_undone_is_a_yes_or_a_no() -> None:
    def undo() -> None: ...

    assert mistake(lambda: inventory().command("stock", ReserveStock, compensation=untyped("no"))) == (
        "inventory.stock, compensation=…: True or False is expected, not 'no'"
    )
    assert mistake(lambda: inventory().command("stock", ReserveStock, compensation=untyped(undo))).startswith(
        "inventory.stock, compensation=…: True or False is expected, not <function "
    )
    assert mistake(lambda: inventory().command("stock", ReserveStock, readonly=untyped(1))) == (
        "inventory.stock, readonly=…: True or False is expected, not 1"
    )


def test_the_key_of_an_event_is_a_plain_function() -> None:
    async def slow(event: ReserveStock) -> str:
        return event.sku

    for wrong in map(untyped, ("sku", 3, slow)):
        assert mistake(lambda wrong=wrong: inventory().event("gone", ReserveStock, key=wrong)) == (  # type: ignore[misc]
            f"inventory.gone, key={wrong!r:.80}: a plain function of the event is expected"
        )


SENDABLE: dict[str, tuple[Any, Any]] = {
    "dataclass": (ReserveStock, ReserveStock("tea")),
    "struct": (Weight, Weight(3)),
    "model": (Parcel, Parcel(label="x")),
    "named tuple": (Label, Label("x")),
    "new type": (Sku, Sku("tea")),
    "union": (ReserveStock | Reservation, Reservation("r")),
    "generic": (Page[ReserveStock], Page((ReserveStock("tea"),))),
    "list": (list[Parcel], [Parcel(label="x")]),
    "number": (int, 3),
}


@pytest.mark.parametrize("kind", SENDABLE)
def test_every_type_that_can_be_stored_can_be_sent_replied_and_told(kind: str) -> None:
    type_, value = SENDABLE[kind]
    command = inventory().command("stock", type_, reply=type_)
    event = inventory().event("gone", type_)

    for codec in (command.sent, command.replied, event.told):
        payload, back = codec.admit(value, "it")
        assert codec.decode(payload) == back == value


def test_a_contract_shows_what_it_is() -> None:
    service = inventory()
    gone = service.event("stock-gone", ReserveStock, key=lambda event: event.sku)

    assert repr(service) == "Service('inventory')"
    assert repr(stock()) == "inventory.reserve-stock(ReserveStock) -> Reservation"
    assert repr(inventory().command("count", list[Sku])) == "inventory.count(list[Sku]) -> None"
    assert repr(gone) == "inventory.stock-gone(ReserveStock)"
    assert (gone.type, service.events) == ("inventory.stock-gone", {"stock-gone": gone})


# A request as a step


def test_a_request_is_called_like_the_function_it_is_made_of() -> None:
    request = stock().request(name="reserve_stock", retry=Retry(attempts=2), timeout=timedelta(seconds=3))(ask)

    assert isinstance(request, Step)
    assert request(Order("tea")) == ReserveStock("tea")
    assert (request.stored_name, request.named("again").stored_name) == ("reserve_stock", "again")


def test_the_plan_says_which_command_does_a_step_and_how_often_it_is_sent() -> None:
    request = stock().request(retry=Retry(attempts=2), timeout=3)(ask)

    planned = step_of(place_order(request), "ask")

    assert planned.work == "command:inventory/reserve-stock"
    assert (planned.compensated, planned.readonly) == (True, False)
    assert (planned.retry.attempts, planned.timeout, planned.undo_timeout) == (2, 3.0, 3.0)
    assert planned.result == stock().replied.schema


def test_a_reply_is_waited_for_30_seconds_unless_it_is_said() -> None:
    assert step_of(place_order(stock().request(ask)), "ask").timeout == 30.0


def test_the_reply_is_what_the_next_step_is_given() -> None:
    seen = step(readonly=True)(_look)

    saga = place_order(stock().request(ask), seen, output=seen)

    assert step_of(saga, "_look").reads == ("ask",)


def test_a_command_without_a_reply_gives_nothing() -> None:
    request = inventory().command("count", ReserveStock).request(ask)

    assert "nothing here is Reservation" in mistake(lambda: place_order(request, step(readonly=True)(_look)))
    assert mistake(lambda: place_order(request, output=request)) == (
        "saga 'place-order': output=ask returns None; leave output= away"
    )


def test_the_same_request_stands_twice_under_two_names() -> None:
    request = stock().request(ask)

    saga = place_order(request, request.named("second"), output=request.named("second"))

    assert {step_of(saga, name).work for name in ("ask", "second")} == {"command:inventory/reserve-stock"}
    assert mistake(lambda: place_order(request, request)) == (
        "saga 'place-order': two nodes are called ask; give one of them another name with .named(\"…\")"
    )


def test_of_two_replies_of_one_type_the_next_step_says_which() -> None:
    first = stock().request(ask)
    second = first.named("second")

    @step(readonly=True)
    def look(reservation: Annotated[Reservation, result_of(second)]) -> str:
        return reservation.ref

    saga = place_order(first, second, look)

    assert step_of(saga, "look").reads == ("second",)


def test_requests_stand_in_branches_among_local_steps() -> None:
    request, other = stock().request(ask), stock().request(name="other")(ask)

    saga = place_order(parallel(request, reserve), when(is_big_order, other, otherwise=charge))

    assert [step_of(saga, name).compensated for name in ("ask", "reserve", "other", "charge")] == [True] * 4


def test_in_a_for_each_the_first_parameter_is_the_item() -> None:
    @stock().request
    def one(sku: str, order: Order) -> ReserveStock:
        return ReserveStock(sku)

    saga = place_order(for_each(one, over=skus))

    assert saga.program.steps["one"].item is not None
    assert step_of(saga, "one[0]").work == "command:inventory/reserve-stock"


def test_a_readonly_command_steers() -> None:
    service = inventory()
    is_there = service.command("is-there", ReserveStock, reply=bool, readonly=True).request(name="is_there")(ask)
    found = service.command("find", ReserveStock, reply=list[str], readonly=True).request(name="find")(ask)
    opens = service.command("opens", ReserveStock, reply=timedelta, readonly=True).request(name="opens")(ask)

    @stock().request
    def one(sku: str) -> ReserveStock:
        return ReserveStock(sku)

    saga = place_order(is_there, when(is_there, charge), found, for_each(one, over=found), opens, sleep(opens))

    assert (step_of(saga, "is_there").readonly, step_of(saga, "is_there").compensated) == (True, False)


def test_what_steers_by_its_reply_fits() -> None:
    texts = inventory().command("find", ReserveStock, reply=list[str], readonly=True).request(ask)
    nothing = inventory().command("look", ReserveStock, readonly=True).request(ask)
    one = stock().request(_numbered)

    assert mistake(lambda: place_order(texts, for_each(one, over=untyped(texts)))) == (
        "saga 'place-order', step _numbered: its item number is int, but over=ask gives list[str]"
    )
    assert mistake(lambda: place_order(texts, when(untyped(texts), charge))).endswith(
        ": ask gives list[str], bool is expected"
    )
    assert mistake(lambda: place_order(nothing, for_each(one, over=untyped(nothing)))) == (
        "saga 'place-order', step _numbered: ask gives no result before this, so it cannot steer it"
    )


def test_a_command_that_changes_something_does_not_steer() -> None:
    counted = inventory().command("count", ReserveStock, reply=bool).request(ask)

    assert mistake(lambda: place_order(counted, when(counted, charge))).endswith(
        ": ask steers the saga, so it must be a readonly step"
    )


def test_a_request_can_be_the_pivot_and_then_needs_no_compensation() -> None:
    final = inventory().command("ship", ReserveStock, compensation=False).request(ask)

    planned = step_of(place_order(reserve, pivot(final), charge), "ask")

    assert (planned.place.value, planned.compensated) == ("pivot", False)


def test_after_the_pivot_a_request_is_sent_without_end_and_needs_no_compensation() -> None:
    final = inventory().command("ship", ReserveStock, compensation=False).request(retry=Retry(attempts=2))(ask)

    planned = step_of(place_order(pivot, final), "ask")

    assert (planned.retry.attempts, planned.compensated) == (None, False)


# Mistakes in requests


def test_a_request_before_the_point_of_no_return_can_be_undone() -> None:
    final = inventory().command("ship", ReserveStock, compensation=False).request(ask)
    expected = (
        "saga 'place-order', step ask: it stands before the point of no return, and inventory.ship has no "
        "compensation; declare it with compensation=True, or readonly=True if it changes nothing, or move the step "
        "behind the pivot"
    )

    assert mistake(lambda: place_order(final)) == expected
    assert mistake(lambda: place_order(parallel(reserve, final))) == expected
    assert mistake(lambda: place_order(when(is_big_order, final))) == expected


def test_a_readonly_request_is_no_pivot() -> None:
    look = inventory().command("look", ReserveStock, readonly=True).request(ask)

    assert "a readonly step changes nothing, so it cannot be the point of no return" in mistake(
        lambda: place_order(pivot(look))
    )


def test_a_request_says_that_it_builds_the_command() -> None:
    def silent(order: Order):  # type: ignore[no-untyped-def]
        return ReserveStock(order.sku)

    def wrong(order: Order) -> Reservation:
        return Reservation("r")

    def maybe(order: Order) -> ReserveStock | None:
        return None

    for fn in map(untyped, (silent, wrong, maybe)):
        assert mistake(lambda fn=fn: place_order(stock().request(fn))) == (  # type: ignore[misc]
            f"saga 'place-order', step {fn.__name__}: it builds the command ReserveStock; annotate `-> ReserveStock`"
        )


def test_a_request_asks_for_values_only() -> None:
    async def slow(order: Order) -> ReserveStock:
        return ReserveStock("")

    def with_context(order: Order, ctx: Context) -> ReserveStock:
        return ReserveStock("")

    def with_client(order: Order, shop: Resource[Shop]) -> ReserveStock:
        return ReserveStock("")

    def with_tx(order: Order, tx: sqlite3.Connection) -> ReserveStock:
        return ReserveStock("")

    for fn in map(untyped, (slow, with_context, with_client, with_tx)):
        assert mistake(lambda fn=fn: place_order(stock().request(fn))) == (  # type: ignore[misc]
            f"saga 'place-order', step {fn.__name__}: a request is a plain function of the saga's values, so that it "
            "can be called before anything is sent; what needs a client, a transaction or the context is a step of its "
            "own before it"
        )


def test_what_a_request_cannot_be_given_is_said_with_what_there_is() -> None:
    @stock().request
    def paid(payment: Payment) -> ReserveStock:
        return ReserveStock(payment.ref)

    assert mistake(lambda: place_order(paid)).startswith(
        "saga 'place-order', step paid, parameter payment: nothing here is Payment; available: Order (the saga's input)"
    )


def test_what_a_command_carries_is_not_taken_for_what_it_gives() -> None:
    """The request returns the command, and the step's result is the reply."""

    @step(readonly=True)
    def look(command: ReserveStock) -> str:
        return command.sku

    message = mistake(lambda: place_order(stock().request(ask), look))

    assert "parameter command: nothing here is ReserveStock" in message
    assert "gives ReserveStock" not in message


def test_a_service_undoes_what_it_did_itself() -> None:
    expected = "the compensation of ask: it is a request; the service that does it undoes it"
    look = inventory().command("look", ReserveStock, readonly=True).request(ask)

    assert mistake(lambda: stock().request(ask).compensation(_undo)) == expected
    assert mistake(lambda: look.compensation(_undo)) == expected


def test_only_plain_functions_are_requests() -> None:
    class Builder:
        def build(self, order: Order) -> ReserveStock:
            return ReserveStock(order.sku)

    command = stock()
    for wrong in map(untyped, (3, "ask", ReserveStock, len, Builder().build)):
        assert ": a plain function is expected, not " in mistake(lambda wrong=wrong: command.request(wrong))  # type: ignore[misc]
    assert mistake(lambda: command.request(untyped(Builder.build))).startswith(
        "the request build of inventory.reserve-stock: it looks like a method"
    )
    assert mistake(lambda: command.request(untyped(command.request(ask)))).endswith(
        "it is a step already; one @step is enough"
    )
    assert mistake(lambda: command.request(untyped(lambda order: None))).endswith(
        "the parameter order has no annotation, and parameters are filled by type"
    )


def test_the_options_of_a_request_make_sense() -> None:
    command = stock()
    where = "the request ask of inventory.reserve-stock"

    assert mistake(lambda: command.request(retry=untyped(3))(ask)) == (
        f"{where}: retry=3: a Retry is expected, such as Retry(attempts=3)"
    )
    assert mistake(lambda: command.request(timeout=0)(ask)) == f"{where}: a timeout of 0 leaves no time to do anything"
    assert mistake(lambda: command.request(timeout=untyped("1 s"))(ask)) == (
        f"{where}, timeout=…: seconds or a timedelta is expected, not str"
    )
    assert mistake(lambda: command.request(name="a b")(ask)).startswith(
        "the request a b of inventory.reserve-stock: 'a b' is no name; "
    )


def test_a_request_made_in_a_function_knows_the_classes_beside_it() -> None:
    @dataclass(frozen=True)
    class Local:
        sku: str

    @inventory().command("local", Local, reply=Local).request
    def build(order: Order) -> Local:
        return Local(order.sku)

    assert step_of(place_order(build), "build").work == "command:inventory/local"


def _look(reservation: Reservation) -> str:
    return reservation.ref


def _numbered(number: int) -> ReserveStock:
    return ReserveStock(str(number))


def _undo() -> None: ...


def is_big_order(order: Order) -> bool:
    return is_big(order)


def skus(order: Order) -> list[str]:
    return [order.sku]
