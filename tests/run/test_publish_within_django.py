"""`app.publish(…, within=django.db.connection)`: an event is told if and only if `transaction.atomic()` commits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import django
import psycopg
import pytest
from django.conf import settings
from django.db import connection, connections, transaction
from publish_scene import SECONDS, Placed, Shop, database, shop
from user_drivers import INVOICE

from amends.errors import NotEnlisted

__all__ = ["database", "shop"]


@pytest.fixture
def site(shop: Shop) -> Iterator[Shop]:
    """A Django project whose default database is the service's."""
    parts = urlsplit(shop.url)
    names = {"NAME": parts.path[1:], "USER": parts.username, "PASSWORD": parts.password, "HOST": parts.hostname}
    engine = {"ENGINE": "django.db.backends.postgresql", "PORT": parts.port, **names}
    if not settings.configured:
        settings.configure(USE_TZ=True)
        django.setup()
    connections.databases["default"] = connections.configure_settings({"default": engine})["default"]
    yield shop
    connections["default"].close()
    del connections["default"]
    del connections.databases["default"]


def invoice() -> None:
    with connection.cursor() as cursor:
        cursor.execute(INVOICE)


def requests(site: Shop, *views: Callable[[], None], orders: tuple[str, ...]) -> None:
    """Views, one after the other in a thread of theirs, beside the service at work; and what is heard then."""

    def serve() -> None:
        try:
            for view in views:
                view()
        finally:
            connection.close()  # of this thread

    async def main() -> None:
        async with asyncio.timeout(SECONDS), site.open():
            await asyncio.to_thread(serve)
            await site.hears(*orders)

    asyncio.run(main())


def test_an_event_is_told_once_the_block_commits(site: Shop) -> None:
    seen: list[tuple[int, list[str]]] = []

    def view() -> None:
        with transaction.atomic():
            invoice()
            site.app.publish(site.placed, Placed("100 % o-1"), within=connection)
            seen.append((site.outbox, site.heard[:]))

    requests(site, view, orders=("100 % o-1",))

    assert seen == [(0, [])]
    assert site.invoices == 1


def test_what_a_block_rolls_back_was_never_told(site: Shop) -> None:
    def fails() -> None:
        with suppress(ValueError), transaction.atomic():
            invoice()
            site.app.publish(site.placed, Placed("never"), within=connection)
            raise ValueError

    def inner_fails() -> None:
        with transaction.atomic():
            invoice()
            site.app.publish(site.placed, Placed("o-1"), within=connection)
            with suppress(ValueError), transaction.atomic():
                site.app.publish(site.placed, Placed("never"), within=connection)
                raise ValueError

    requests(site, fails, inner_fails, orders=("o-1",))

    assert (site.outbox, site.invoices) == (1, 1)


def test_outside_of_a_block_it_is_refused_in_words_of_events(site: Shop) -> None:
    with pytest.raises(NotEnlisted, match=r"transaction.atomic\(\)") as told:
        site.app.publish(site.placed, Placed("never"), within=connection)

    assert "saga" not in str(told.value)


def test_a_block_that_has_failed_is_refused(site: Shop) -> None:
    with suppress(psycopg.Error), transaction.atomic():
        transaction.set_rollback(True)
        with pytest.raises(NotEnlisted, match="has failed"):
            site.app.publish(site.placed, Placed("never"), within=connection)


def test_on_an_event_loop_it_is_refused_with_the_way_out(site: Shop) -> None:
    async def view() -> None:
        site.app.publish(site.placed, Placed("never"), within=connection)

    with pytest.raises(NotEnlisted, match=r"this call into one plain function .* sync_to_async"):
        asyncio.run(view())
