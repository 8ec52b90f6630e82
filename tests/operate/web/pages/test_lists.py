"""Lists: what each filter leaves, and what a page says that has nothing to list."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from page_shop import HTML, Shop, opened, words_of
from scene import Order, Trip, book_trip, place_order
from web_scene import TOKENS, access, client_of

from amends import Orchestrator
from amends.operate.operations import Operations
from amends.operate.values import SagaLine
from amends.operate.web.app import web


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    with opened(full=False) as made:
        made.wait(made.scene.park(2))
        run = made.scene.orchestrator.run
        made.wait(run(place_order, Order("tea"), id="done-1"))
        made.wait(made.scene.orchestrator.start(book_trip, Trip("Ada", ["Athens"]), id="trip-1"))
        yield made


def listed(shop: Shop, query: str) -> set[str]:
    """The sagas on a page of the list."""
    found = shop.get(f"/sagas?{query}")
    assert found.status_code == 200, words_of(found)
    return set(re.findall(r'data-key="row-([^"]+)"', found.text))


def line(shop: Shop, id_: str) -> SagaLine:
    """A saga as it stands."""
    return shop.wait(Operations(shop.scene.orchestrator.session).show(id_)).line


@pytest.mark.parametrize(
    ("query", "fit"),
    [
        ("", {"order-1", "order-2", "done-1", "trip-1"}),
        ("version=2", {"order-1", "order-2", "done-1"}),
        (f"version={book_trip.plan.fingerprint[:12]}", {"trip-1"}),
        ("step=charge_card", {"order-1", "order-2"}),
        ("step=ship", set()),
        ("version=2&status=completed", {"done-1"}),
    ],
)
def test_a_version_and_a_step_narrow_the_list(shop: Shop, query: str, fit: set[str]) -> None:
    assert listed(shop, query) == fit


@pytest.mark.parametrize(
    ("name", "field", "fit"),
    [
        ("older", "started_at", "order-1"),
        ("newer", "started_at", "order-2"),
        ("quiet", "changed_at", "order-1"),
    ],
)
def test_when_a_saga_was_started_and_has_changed_narrows_the_list(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, name: str, field: str, fit: str
) -> None:
    between = (getattr(line(shop, "order-1"), field) + getattr(line(shop, "order-2"), field)) / 2
    monkeypatch.setattr("amends.operate.web.pages.sagas.time", SimpleNamespace(time=lambda: between + 3600.0))

    assert listed(shop, f"status=parked&{name}=1h") == {fit}
    assert listed(shop, f"status=parked&{name}=60min&version=2") == {fit}


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/workers", "None is alive Sagas wait until a worker runs them."),
        ("/definitions", "None is known yet A definition is written down when an orchestrator that has it"),
    ],
)
def test_where_nobody_works_and_nothing_is_known_a_page_says_what_to_do(tmp_path: Path, path: str, says: str) -> None:
    url = f"sqlite:///{tmp_path}/empty.db"

    async def main() -> httpx.Response:
        async with Orchestrator(url, sagas=[]).client():
            pass  # it makes its tables
        async with client_of(web(url, access=access())) as client:
            return await client.get(path, headers={**HTML, "authorization": f"Bearer {TOKENS['viewer']}"})

    found = asyncio.run(main())

    assert found.status_code == 200
    assert says in words_of(found)
    assert "amends worker shop:orchestrator" in words_of(found)
