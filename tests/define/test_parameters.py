"""How a parameter is filled: one test for each line of the table in the reference."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Annotated, Any, List, NewType, Optional, Protocol, TypeAlias, Union  # noqa: UP035  # the old spellings too

import pytest
from only_for_checkers import Basket, look
from storefront import (
    Order,
    Payment,
    Reservation,
    Shop,
    charge,
    is_big,
    mistake,
    parts,
    place_order,
    reserve,
    untyped,
)

from amends import (
    Context,
    Rejected,
    Resource,
    Saga,
    for_each,
    parallel,
    pivot,
    result_of,
    saga_input,
    sequence,
    step,
    wait_for,
    when,
)
from amends.define.bind import Argument, Kind

Sku = NewType("Sku", str)
Held: TypeAlias = Reservation


class Named(Protocol):
    ref: str


class Receipt(Payment):
    """A payment, and more."""


def filled(saga: Saga[Any, Any], address: str, *, undo: bool = False) -> dict[str, Argument]:
    """How the parameters of a step, or of its compensation, are filled."""
    program = saga.program.steps[address]
    call = program.undo if undo else program.action
    assert call is not None
    return {argument.name: argument for argument in call.arguments}


def source(saga: Saga[Any, Any], address: str, name: str = "it", *, undo: bool = False) -> tuple[Kind, tuple[str, ...]]:
    """Where one parameter comes from."""
    argument = filled(saga, address, undo=undo)[name]
    return argument.kind, argument.addresses


def probe(annotation: Any, *, default: Any = ...) -> Any:
    """A readonly step with one parameter, `it`."""

    def probe(it: Any) -> None: ...

    probe.__annotations__["it"] = annotation
    if default is not ...:
        probe.__defaults__ = (default,)
    return step(readonly=True)(probe)


# Where it may come from


def test_the_input_of_the_saga() -> None:
    assert source(place_order(probe(Order)), "probe") == (Kind.INPUT, ())


def test_the_result_of_an_earlier_node() -> None:
    assert source(place_order(reserve, probe(Reservation)), "probe") == (Kind.RESULT, ("reserve",))
    assert source(place_order(pivot(charge), probe(Payment)), "probe") == (Kind.RESULT, ("charge",))
    assert source(place_order(wait_for("go", bool), probe(bool)), "probe") == (Kind.RESULT, ("go",))


def test_the_result_of_a_branch_after_the_branches() -> None:
    saga = place_order(parallel(reserve, sequence(is_big, charge)), probe(Payment))

    assert source(saga, "probe") == (Kind.RESULT, ("charge",))


def test_the_context() -> None:
    assert source(place_order(probe(Context)), "probe") == (Kind.CONTEXT, ())


def test_a_resource() -> None:
    argument = filled(place_order(probe(Resource[Shop])), "probe")["it"]

    assert (argument.kind, argument.key) == (Kind.RESOURCE, Shop)


def test_a_transaction() -> None:
    saga = place_order(probe(sqlite3.Connection))

    assert source(saga, "probe") == (Kind.TX, ())
    assert saga.plan.step("probe").work == "tx"


# Types match exactly


def test_a_new_type_is_itself() -> None:
    @step(readonly=True)
    def sku(order: Order) -> Sku:
        return Sku(order.sku)

    assert source(place_order(sku, probe(Sku)), "probe") == (Kind.RESULT, ("sku",))
    assert mistake(lambda: place_order(sku, probe(str))) == (
        "saga 'place-order', step probe, parameter it: nothing here is str; available: Order (the saga's input), Sku "
        "(the result of sku), Context, Resource[…], a transaction. Types match exactly: a NewType is a type of "
        "its own, ask for Sku"
    )


@pytest.mark.parametrize("asked", [Reservation | None, Optional[Reservation], Union[None, Reservation]])  # noqa: UP007, UP045
def test_an_optional_parameter_takes_what_is_there(asked: Any) -> None:
    argument = filled(place_order(reserve, probe(asked)), "probe")["it"]

    assert (argument.kind, argument.addresses, argument.optional) == (Kind.RESULT, ("reserve",), True)


@pytest.mark.parametrize("asked", [Payment | Reservation, Reservation | Payment, None | Payment | Reservation])
def test_unions_ignore_the_order(asked: Any) -> None:
    @step(readonly=True)
    def either(order: Order) -> Reservation | Payment:
        return Payment("p")

    assert source(place_order(either, probe(asked)), "probe") == (Kind.RESULT, ("either",))


def test_a_union_does_not_match_one_of_its_members() -> None:
    @step(readonly=True)
    def either(order: Order) -> Reservation | Payment:
        return Payment("p")

    assert "nothing here is Payment; " in mistake(lambda: place_order(either, probe(Payment)))
    assert "nothing here is Payment | Reservation; " in mistake(
        lambda: place_order(reserve, probe(Payment | Reservation))
    )


@pytest.mark.parametrize("asked", [Held, Annotated[Reservation, "any mark"], Annotated[Held, 1] | None])
def test_aliases_and_other_marks_do_not_matter(asked: Any) -> None:
    assert source(place_order(reserve, probe(asked)), "probe") == (Kind.RESULT, ("reserve",))


@pytest.mark.parametrize("asked", [list[Order], List[Order], list[Annotated[Order, 1]]])  # noqa: UP006
def test_old_and_new_spellings_of_a_list_are_one(asked: Any) -> None:
    assert source(place_order(parts, probe(asked)), "probe") == (Kind.RESULT, ("parts",))


def test_a_list_is_no_sequence() -> None:
    assert "nothing here is Sequence[Order]; " in mistake(lambda: place_order(parts, probe(Sequence[Order])))


def test_a_declared_alias_is_what_it_stands_for() -> None:
    typing_extensions = pytest.importorskip("typing_extensions")
    maybe = typing_extensions.TypeAliasType("maybe", Reservation | None)

    @step(readonly=True)
    def find(order: Order) -> maybe:  # type: ignore[valid-type]  # made at run time
        return None

    assert source(place_order(find, probe(Reservation | None)), "probe") == (Kind.RESULT, ("find",))
    assert source(place_order(reserve, probe(maybe)), "probe") == (Kind.RESULT, ("reserve",))
    assert source(place_order(find, probe(maybe | None)), "probe") == (Kind.RESULT, ("find",))


def test_a_base_class_does_not_match() -> None:
    @step(readonly=True)
    def receipt(order: Order) -> Receipt:
        return Receipt("r")

    message = mistake(lambda: place_order(receipt, probe(Payment)))

    assert message.endswith(". Types match exactly: ask for Receipt, a base class does not match")
    assert "available: Order (the saga's input), Receipt (the result of receipt), Context" in message


def test_a_protocol_does_not_match() -> None:
    message = mistake(lambda: place_order(reserve, probe(Named)))

    assert message.endswith(". Types match exactly: Named is a protocol, ask for the class that is given")


@pytest.mark.parametrize("asked", [object, Any])
def test_object_and_any_match_nothing(asked: Any) -> None:
    assert f"nothing here is {getattr(asked, '__name__', asked)}; available: " in mistake(
        lambda: place_order(reserve, probe(asked))
    )


def test_what_is_no_data_is_thought_a_resource() -> None:
    assert mistake(lambda: place_order(probe(Shop))).endswith(
        ". If it is a client, a pool or a setting, ask for Resource[Shop]"
    )


def test_what_is_given_as_optional_is_asked_for_as_optional() -> None:
    @step(readonly=True)
    def find(order: Order) -> Reservation | None:
        return None

    assert mistake(lambda: place_order(find, probe(Reservation))).endswith(
        ". Ask for Reservation | None, as it is declared"
    )


# What may be missing


def test_a_result_that_may_be_skipped_is_taken_as_optional() -> None:
    saga = place_order(when(is_big_order, reserve), probe(Reservation | None))

    assert source(saga, "probe") == (Kind.RESULT, ("reserve",))
    assert mistake(lambda: place_order(when(is_big_order, reserve), probe(Reservation))) == (
        "saga 'place-order', step probe, parameter it: Reservation (the result of reserve, may be missing): take "
        "Reservation | None"
    )


def test_inside_its_branch_a_result_is_sure() -> None:
    saga = place_order(parallel(when(is_big_order, reserve, probe(Reservation)), charge))

    assert not filled(saga, "probe")["it"].optional


def test_both_arms_of_one_type_are_one_sure_candidate() -> None:
    saga = place_order(when(is_big_order, reserve, otherwise=reserve.named("small")), probe(Reservation))
    argument = filled(saga, "probe")["it"]

    assert (argument.addresses, argument.optional) == (("reserve", "small"), False)


def test_an_arm_that_may_skip_makes_the_pair_unsure() -> None:
    arms = when(is_big_order, reserve, otherwise=when(is_big_order, reserve.named("small")))

    assert mistake(lambda: place_order(arms, probe(Reservation))).endswith(
        "Reservation (the result of reserve or small, may be missing): take Reservation | None"
    )


def test_a_step_that_returns_none_gives_nothing() -> None:
    assert "nothing here is None; " in mistake(lambda: place_order(probe(Order), probe(None).named("second")))


def test_a_for_each_gives_a_list() -> None:
    saga = place_order(for_each(check, over=orders_of), probe(list[int]))

    assert source(saga, "probe") == (Kind.ITEMS, ("check",))


def test_whoever_forgets_the_rejections_of_a_for_each_that_collects_is_told_what_to_ask_for() -> None:
    collecting = for_each(check, over=orders_of, on_reject="collect")

    assert mistake(lambda: place_order(collecting, probe(list[int]))).endswith(
        ". Its items may be rejected: ask for list[int | Rejected]"
    )


def test_a_for_each_that_collects_gives_a_list_with_rejections() -> None:
    saga = place_order(for_each(check, over=orders_of, on_reject="collect"), probe(list[int | Rejected]))

    assert source(saga, "probe") == (Kind.ITEMS, ("check",))


def test_a_for_each_over_steps_that_return_none_gives_nothing() -> None:
    each = for_each(untyped(probe(Order)), over=orders_of)

    assert "nothing here is list[None]; " in mistake(lambda: place_order(each, probe(list[None]).named("second")))


def test_the_first_parameter_in_a_for_each_is_the_item_also_in_the_compensation() -> None:
    @step
    def book(part: Order, order: Order) -> Reservation:
        return Reservation("r")

    @book.compensation
    def unbook(part: Order, order: Order, reservation: Reservation | None) -> None: ...

    saga = place_order(for_each(book, over=orders_of))

    assert source(saga, "book", "part") == (Kind.ITEM, ())
    assert source(saga, "book", "order") == (Kind.INPUT, ())
    assert source(saga, "book", "part", undo=True) == (Kind.ITEM, ())
    assert filled(saga, "book", undo=True)["reservation"].own


@pytest.mark.parametrize("first", [Context, Resource[Shop], sqlite3.Connection])
def test_the_item_is_no_context_resource_or_transaction(first: Any) -> None:
    assert "in a for_each its first parameter is the item, but it is " in mistake(
        lambda: place_order(for_each(probe(first), over=orders_of))
    )


# Two candidates

second = reserve.named("second")


def test_two_candidates_print_the_lines_to_paste() -> None:
    assert mistake(lambda: place_order(reserve, second, probe(Reservation))) == (
        "saga 'place-order', step probe, parameter it: Reservation (the result of reserve) and Reservation (the result "
        "of second) fit; say which by pasting one of\n"
        "    it: Annotated[Reservation, result_of(reserve)]\n"
        "    it: Annotated[Reservation, result_of(second)]"
    )


@pytest.mark.parametrize(("line", "address"), [(0, "reserve"), (1, "third"), (2, "pay-for-it")])
def test_a_pasted_line_works(line: int, address: str) -> None:
    """Whatever the node is bound to, or not at all: the line names it."""

    @step(name="pay-for-it", readonly=True)
    def pay(order: Order) -> Reservation:
        return Reservation("r")

    nodes = (reserve, reserve.named("third"), pay)
    scope = {**globals(), "pay": pay}
    message = mistake(lambda: place_order(*nodes, written("it: Reservation", scope)))
    pasted = message.splitlines()[1:][line].strip()

    saga = place_order(*nodes, written(pasted, scope))

    assert source(saga, "written") == (Kind.RESULT, (address,))


def test_the_line_for_the_input_works_too() -> None:
    @step(readonly=True)
    def reorder(order: Order) -> Order:
        return order

    lines = mistake(lambda: place_order(reorder, written("it: Order", {**globals()}))).splitlines()[1:]

    saga = place_order(reorder, written(lines[0].strip(), {**globals()}))

    assert lines[0].strip() == "it: Annotated[Order, saga_input]"
    assert source(saga, "written") == (Kind.INPUT, ())


def test_the_line_for_an_optional_result_works_too() -> None:
    nodes = (when(is_big_order, reserve), second)
    lines = mistake(lambda: place_order(*nodes, written("it: Reservation | None", {**globals()}))).splitlines()[1:]

    saga = place_order(*nodes, written(lines[0].strip(), {**globals()}))

    assert lines[0].strip() == "it: Annotated[Reservation | None, result_of(reserve)]"
    assert source(saga, "written") == (Kind.RESULT, ("reserve",))


def test_a_marked_result_has_the_type_that_is_asked_for() -> None:
    assert mistake(lambda: place_order(reserve, probe(Annotated[Payment, result_of(reserve)]))) == (
        "saga 'place-order', step probe, parameter it: Payment is asked for, but that is Reservation (the result of "
        "reserve)"
    )
    assert mistake(lambda: place_order(reserve, probe(Annotated[Payment, saga_input]))).endswith(
        "Payment is asked for, but that is Order (the saga's input)"
    )


def test_a_marked_result_is_there() -> None:
    assert (
        "parameter it: charge gives no result before this; available: Order (the saga's input), Reservation (the "
        in (mistake(lambda: place_order(reserve, probe(Annotated[Payment, result_of(charge)]), charge)))
    )


def test_a_marked_copy_is_told_from_its_original() -> None:
    marked = probe(Annotated[Reservation, result_of(reserve)])

    assert mistake(lambda: place_order(second, marked)).endswith(
        ". second is the same step under another name: result_of(second)"
    )


def test_only_a_node_with_a_result_is_marked() -> None:
    assert mistake(lambda: result_of(untyped(parallel(reserve)))) == (
        "result_of(…): a step or another node with a result is expected, not parallel(…)"
    )


# Defaults


def test_a_default_gives_way_to_a_candidate() -> None:
    assert source(place_order(probe(Order, default=None)), "probe") == (Kind.INPUT, ())


def test_a_default_stands_where_there_is_no_candidate() -> None:
    call = place_order(probe(Payment, default=None)).program.steps["probe"].action

    assert (call.arguments, call.defaulted) == ((), ("it",))


def test_a_default_does_not_settle_between_two_candidates() -> None:
    assert "fit; say which by pasting one of" in mistake(
        lambda: place_order(reserve, second, probe(Reservation, default=None))
    )


# Compensations


def test_a_compensation_reads_earlier_results_as_they_were() -> None:
    @step
    def book(order: Order) -> None: ...

    @book.compensation
    def unbook(reservation: Reservation, order: Order, ctx: Context) -> None: ...

    saga = place_order(reserve, book)

    assert source(saga, "book", "reservation", undo=True) == (Kind.RESULT, ("reserve",))
    assert source(saga, "book", "order", undo=True) == (Kind.INPUT, ())


@pytest.mark.parametrize("arrange", [lambda book: (book, charge), lambda book: (parallel(book, charge),)])
def test_a_compensation_never_reads_siblings_or_later_nodes(arrange: Any) -> None:
    @step
    def book(order: Order) -> None: ...

    @book.compensation
    def unbook(payment: Payment | None) -> None: ...

    assert mistake(lambda: place_order(*arrange(book))) == (
        "saga 'place-order', the compensation of book, parameter payment: nothing here is Payment | None; available: "
        "Order (the saga's input), Context, Resource[…], a transaction. charge gives Payment, but not before "
        "this: it stands later, or in a branch beside this one"
    )


def test_branches_do_not_read_each_other() -> None:
    expected = ". reserve gives Reservation, but not before this: it stands later, or in a branch beside this one"
    assert mistake(lambda: place_order(parallel(reserve, probe(Reservation)))).endswith(expected)
    assert mistake(lambda: place_order(parallel(reserve, sequence(charge, probe(Reservation))))).endswith(expected)


def test_the_arms_of_a_when_do_not_read_each_other() -> None:
    assert "nothing here is Reservation; " in mistake(
        lambda: place_order(when(is_big_order, reserve, otherwise=probe(Reservation)))
    )


def test_the_compensation_of_a_step_in_a_transaction_always_has_its_result() -> None:
    @step
    def book(order: Order, tx: sqlite3.Connection) -> Reservation:
        return Reservation("r")

    @book.compensation
    def unbook(reservation: Reservation, tx: sqlite3.Connection) -> None: ...

    argument = filled(place_order(book), "book", undo=True)["reservation"]

    assert (argument.own, argument.optional) == (True, False)


def test_a_step_used_twice_undoes_its_own_use() -> None:
    saga = place_order(reserve, second)

    assert source(saga, "second", "reservation", undo=True) == (Kind.RESULT, ("second",))


def test_a_compensation_may_name_its_own_step_under_any_name() -> None:
    @step
    def book(order: Order) -> Reservation:
        return Reservation("r")

    @book.compensation
    def unbook(mine: Annotated[Reservation | None, result_of(book)]) -> None: ...

    saga = place_order(reserve, book, book.named("again"))

    assert source(saga, "book", "mine", undo=True) == (Kind.RESULT, ("book",))
    assert source(saga, "again", "mine", undo=True) == (Kind.RESULT, ("again",))


# Names in annotations


def test_local_names_around_the_decorator_are_seen() -> None:
    Local = NewType("Local", int)

    @step(readonly=True)
    def number(order: Order) -> Local:
        return Local(1)

    @step(readonly=True)
    def show(it: Local) -> None: ...

    assert source(place_order(number, show), "show") == (Kind.RESULT, ("number",))


def test_an_unknown_name_is_named() -> None:
    def book(order: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821  # the mistake

    assert mistake(lambda: place_order(step(readonly=True)(book))) == (
        f"saga 'place-order', step book: the name Nowhere is neither in module {__name__} nor among the local names "
        "where the decorator stands; define or import it above, at module level"
    )


def test_a_name_for_type_checkers_only_is_explained() -> None:
    expected = (
        "the name Order is imported under `if TYPE_CHECKING:` only, so it does not exist when the program runs; import "
        "it without the condition"
    )

    assert mistake(lambda: place_order(look)) == f"saga 'place-order', step look: {expected}"
    assert mistake(lambda: place_order(probe(Order), input=Basket)).startswith(
        "saga 'place-order', its input: values of Basket cannot be stored: a field of Basket has a type that does not "
        f"exist: {expected}"
    )


def test_an_annotation_that_is_no_expression_is_refused() -> None:
    assert "step probe: its annotations cannot be read: " in mistake(lambda: place_order(probe("list[")))
    assert "step probe: its annotations cannot be read: " in mistake(lambda: place_order(probe("{}['a']")))


def test_a_generic_parameter_is_refused() -> None:
    from typing import TypeVar

    T = TypeVar("T")

    assert mistake(lambda: place_order(probe(list[T]))) == (  # type: ignore[valid-type]  # made at run time
        "saga 'place-order', step probe, parameter it: list[T] is generic; write the type that is meant"
    )


def is_big_order(order: Order) -> bool:
    return order.quantity > 10


def orders_of(order: Order) -> list[Order]:
    return [order]


@step(readonly=True)
def check(order: Order) -> int:
    return order.quantity


def written(parameter: str, scope: dict[str, Any]) -> Any:
    """A readonly step whose one parameter is written as a line of code."""
    code = f"def written({parameter}) -> None: ..."
    exec(code, scope)  # noqa: S102  # a line that an error told the reader to paste
    return step(readonly=True)(scope["written"])
