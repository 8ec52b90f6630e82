"""Mistakes in what an orchestrator is given: sagas, resources, databases, what comes later."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, NewType

import pytest
from storefront import Order, Shop, charge, mistake, place_order, reserve, untyped

from amends import Orchestrator, Resource, Saga, step
from amends.errors import UnknownSaga
from amends.run.database import store_of

Backup = NewType("Backup", Shop)


@step(readonly=True)
def browse(order: Order, shop: Resource[Shop]) -> int:
    return 1


def open_shop() -> Shop:
    return Shop()


def orchestrator(**options: Any) -> Orchestrator:
    """An orchestrator in memory; it is never entered."""
    given: dict[str, Any] = {"sagas": [place_order(reserve)], **options}
    return Orchestrator("memory://", **given)


def test_a_missing_resource_is_named_with_what_is_provided() -> None:
    def settings() -> dict[str, str]:
        return {}

    assert mistake(lambda: orchestrator(sagas=[place_order(browse)], resources=[settings])) == (
        "saga 'place-order', step browse, parameter shop: no resource provides Resource[Shop]; provided are: "
        "dict[str, str]. Add a function that returns it to Orchestrator(…, resources=[…])"
    )


def test_the_compensation_needs_its_resources_too() -> None:
    @step
    def book(order: Order) -> None: ...

    @book.compensation
    def unbook(shop: Resource[Shop | None]) -> None: ...

    assert mistake(lambda: orchestrator(sagas=[place_order(book)])) == (
        "saga 'place-order', the compensation of book, parameter shop: no resource provides Resource[Shop | None]; "
        "provided are: none. Add a function that returns it to Orchestrator(…, resources=[…])"
    )


def test_two_resources_of_one_type_are_refused() -> None:
    def another_shop() -> Iterator[Shop]:
        yield Shop()

    assert mistake(lambda: orchestrator(resources=[open_shop, another_shop])) == (
        "resources: another_shop and open_shop both provide Shop; give one of them a NewType of its own"
    )


def test_a_new_type_tells_two_resources_apart() -> None:
    def backup() -> Backup:
        return Backup(Shop())

    orchestrator(sagas=[place_order(browse)], resources=[open_shop, backup])


def test_resources_that_need_each_other_are_refused() -> None:
    def first(second: Resource[int]) -> str:
        return ""

    def second(first: Resource[str]) -> int:
        return 0

    def third(first: Resource[str]) -> float:
        return 0.0

    assert mistake(lambda: orchestrator(resources=[third, first, second])) == (
        "resources: first needs itself: first → second → first"
    )


def test_a_resource_that_needs_what_nobody_provides_is_refused() -> None:
    def desk(shop: Resource[Shop]) -> str:
        return ""

    assert mistake(lambda: orchestrator(resources=[desk])) == (
        "the resource desk, parameter shop: no resource provides Resource[Shop]; provided are: str. Add a function "
        "that returns it to Orchestrator(…, resources=[…])"
    )


def test_a_resource_says_what_it_gives() -> None:
    def silent():  # type: ignore[no-untyped-def]
        return Shop()

    def nothing() -> None: ...

    for fn in map(untyped, (silent, nothing)):
        assert mistake(partial(orchestrator, resources=[fn])) == (
            f"the resource {fn.__name__}: annotate what it returns or yields; the type is the resource's key"
        )


def test_a_resource_that_yields_says_so() -> None:
    def wrong() -> Shop:  # type: ignore[misc]
        yield Shop()

    def bare() -> Iterator:  # type: ignore[type-arg]
        yield Shop()

    for fn in map(untyped, (wrong, bare)):
        assert mistake(partial(orchestrator, resources=[fn])) == (
            f"the resource {fn.__name__}: it yields, so annotate Iterator[…] or AsyncIterator[…]"
        )


def test_what_a_resource_asks_for_is_a_resource() -> None:
    def desk(order: Order) -> str:
        return ""

    assert mistake(lambda: orchestrator(resources=[desk])) == (
        "the resource desk: its parameter order must be annotated Resource[…]"
    )


@pytest.mark.parametrize("wrong", [Shop, Shop(), "shop", print])
def test_a_resource_is_a_function(wrong: Any) -> None:
    assert ": a function that returns or yields the resource is expected, not " in mistake(
        lambda: orchestrator(resources=[wrong])
    )


@pytest.mark.parametrize("wrong", [Shop, Shop()])
def test_how_a_class_or_an_object_is_made_a_resource_is_said(wrong: Any) -> None:
    assert mistake(lambda: orchestrator(resources=[wrong])).endswith("; such as: def open_shop() -> Shop: …")


def test_resources_and_sagas_are_lists() -> None:
    assert mistake(lambda: orchestrator(resources=open_shop)).startswith(
        "resources=…: a list of functions is expected, not <function open_shop"
    )
    assert mistake(lambda: orchestrator(sagas=place_order(reserve))) == (
        "sagas=…: a list of sagas is expected, not Saga('place-order')"
    )


def test_only_sagas_are_sagas() -> None:
    assert mistake(lambda: orchestrator(sagas=[reserve])) == "sagas=[…]: a Saga is expected, not reserve"


def test_two_sagas_of_one_name_need_a_version() -> None:
    assert mistake(lambda: orchestrator(sagas=[place_order(reserve), place_order(charge)])) == (
        "two sagas are called 'place-order'; if one is the changed form of the other, give that one a version="
    )


def test_the_versions_of_a_saga_stand_side_by_side() -> None:
    old, new = place_order(reserve, version="1"), place_order(reserve, charge, version="2")

    registry = orchestrator(sagas=[old, new]).config.registry

    assert registry.named("place-order") is new
    assert set(registry.by_fingerprint.values()) == {old, new}


def test_what_is_no_service_is_refused_by_name() -> None:
    assert mistake(lambda: orchestrator(services=[7])) == "Orchestrator(services=[…]): a Service is expected, not 7"


def test_a_broker_that_nobody_knows_is_refused_with_those_that_are_known() -> None:
    words = mistake(lambda: orchestrator(broker="smoke://signals"))

    assert words.startswith("Orchestrator(broker=…): a broker's URL begins with one of local://")


@pytest.mark.parametrize("url", ["sqlite:///orders.db?mode=ro", "sqlite:///shop#2.db", "sqlite:///:memory:"])
def test_what_a_database_url_says_is_never_silently_left_out(url: str) -> None:
    words = mistake(lambda: Orchestrator(url, sagas=[]))

    assert url in words
    assert "# is %23" in words or "memory://" in words


def test_a_database_that_nobody_knows_is_refused() -> None:
    expected = "'redis://localhost' is no database that amends knows: sqlite:///orders.db is a file in this directory"
    assert mistake(lambda: Orchestrator("redis://localhost", sagas=[])).startswith(expected)
    assert mistake(lambda: orchestrator(effects="redis://localhost")).startswith(expected)


@pytest.mark.parametrize("url", ["sqlite:orders.db", "sqlite:/orders.db", "sqlite://orders.db", "orders.db"])
def test_a_url_with_too_few_slashes_is_refused_and_means_no_other_file(url: str) -> None:
    assert mistake(lambda: Orchestrator(url, sagas=[])).startswith(f"{url!r} is no database that amends knows: ")


def test_a_password_is_not_repeated_in_an_error() -> None:
    assert "secret" not in mistake(lambda: Orchestrator("mysql://user:secret@host/orders", sagas=[]))


def test_a_url_of_postgresql_names_a_database() -> None:
    assert mistake(lambda: Orchestrator("postgresql://localhost", sagas=[])) == (
        "'postgresql://localhost' names no database: postgresql://user@host/orders is expected"
    )


@pytest.mark.parametrize("password", ["sec#ret", "s@ec/ret", "sec/r@et", "s:ec/ret", "sec?ret", "se[cret"])
def test_a_password_that_breaks_the_url_is_not_repeated_and_what_to_do_is_said(password: str) -> None:
    said = mistake(lambda: Orchestrator(f"postgresql://user:{password}@host/orders", sagas=[]))

    assert "'postgresql://user:***@host/orders'" in said
    assert "percent-encode" in said


@pytest.mark.parametrize("port", ["5432:1", "abc", "70000"])
def test_a_port_that_is_none_is_refused(port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"postgresql://host:{port}/orders"
    monkeypatch.setenv("AMENDS_DATABASE", url)

    for wrong in (
        lambda: Orchestrator(url, sagas=[]),
        lambda: Orchestrator(sagas=[], effects=url),
        lambda: store_of(None, "default"),
    ):
        assert f"{port!r} is no port" in mistake(wrong)


@pytest.mark.parametrize(
    "url", ["postgresql://a,b:6432,[::1]:5432/orders", "postgresql:///orders?host=/run", "postgresql://[::1]/orders"]
)
def test_every_way_to_name_a_server_is_taken(url: str) -> None:
    Orchestrator(url, sagas=[])


def test_what_stands_around_attempts_is_a_function() -> None:
    assert mistake(lambda: orchestrator(around=[3])) == (
        "Orchestrator(around=…): a function of the context is expected, not 3"
    )


def test_a_namespace_is_a_name() -> None:
    assert mistake(lambda: orchestrator(namespace="a b")).startswith("Orchestrator(namespace=…): 'a b' is no name; ")


def test_a_saga_that_was_not_given_is_unknown_and_the_known_ones_are_listed() -> None:
    registry = orchestrator(sagas=[place_order(reserve), Saga("refund", charge, input=Order)]).config.registry

    with pytest.raises(UnknownSaga) as by_name:
        registry.named("retun")
    with pytest.raises(UnknownSaga) as by_saga:
        registry.check_known(place_order(charge))

    assert str(by_name.value) == "no saga is called 'retun'; this orchestrator knows: place-order, refund"
    assert str(by_saga.value) == (
        "Saga('place-order') is not among this orchestrator's sagas (place-order, refund); add it to sagas=[…]"
    )


def test_an_orchestrator_without_sagas_knows_none() -> None:
    with pytest.raises(UnknownSaga, match="this orchestrator knows: none"):
        orchestrator(sagas=[]).config.registry.named("place-order")


def test_a_saga_is_known_by_its_plan_not_by_its_object() -> None:
    def build() -> Saga[Any, Any]:
        return place_order(reserve)

    orchestrator(sagas=[build()]).config.registry.check_known(build())
