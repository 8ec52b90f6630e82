"""A Django project whose models are written by steps; a process of its own, since Django is configured once.

    python tx_django.py URL

Says one line for each rule that holds, and ends with an error where one does not.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any
from urllib.parse import urlsplit

import django
from django.conf import settings
from engine import Order

from amends import Compensated, Completed, Context, Orchestrator, Parked, Reject, Retry, Saga, pivot, step


def configure(url: str) -> None:
    """Django, on a database."""
    parts = urlsplit(url)
    place = {"NAME": parts.path[1:], "USER": parts.username, "PASSWORD": parts.password, "HOST": parts.hostname}
    databases = {"default": {"ENGINE": "django.db.backends.postgresql", "PORT": parts.port, **place}}
    settings.configure(DATABASES=databases, INSTALLED_APPS=["django.contrib.contenttypes"], USE_TZ=True)
    django.setup()


configure(sys.argv[1])

from django.contrib.contenttypes.models import ContentType  # noqa: E402
from django.db import IntegrityError, connection  # noqa: E402
from django.db.backends.base.base import BaseDatabaseWrapper  # noqa: E402

SOON = Retry(attempts=3, first_delay=0.01)


def saga(body: Any, *, refuse: bool = False) -> Saga[Order, None]:
    """A step that makes a row through a model."""

    @step(retry=SOON, rejects=(IntegrityError,))
    def book(order: Order, tx: BaseDatabaseWrapper, ctx: Context) -> int:
        made = ContentType.objects.create(app_label=ctx.saga_id, model="booked")
        body(tx, ctx)
        return int(made.pk)

    @book.compensation(retry=SOON)
    def unbook(made: int, tx: BaseDatabaseWrapper) -> None:
        ContentType.objects.filter(pk=made).delete()

    @step
    async def decide() -> None:
        if refuse:
            raise Reject("no")

    return Saga("saga", book, pivot(decide), input=Order)


def run(body: Any, name: str, *, refuse: bool = False) -> tuple[Any, int]:
    """The outcome, and how many rows stand."""

    async def main() -> Any:
        made = saga(body, refuse=refuse)
        async with Orchestrator("memory://", sagas=[made], effects=connection, migrate=True) as orchestrator:
            return await orchestrator.run(made, Order(), id=name)

    return asyncio.run(main()), ContentType.objects.filter(app_label=name).count()


def fails_first(tx: Any, ctx: Context) -> None:
    if ctx.attempt == 1:
        raise ValueError("not yet")


def doubles(tx: Any, ctx: Context) -> None:
    ContentType.objects.create(app_label=ctx.saga_id, model="booked")


def rejects(tx: Any, ctx: Context) -> None:
    raise Reject("sold out")


def loses(tx: Any, ctx: Context) -> None:
    if not lost:
        lost.append(ctx.attempt)
        tx.cursor().execute("SELECT pg_terminate_backend(pg_backend_pid())")


def tears(tx: Any, ctx: Context) -> None:
    tx.cursor().execute("COMMIT")


def sleeps(tx: Any, ctx: Context) -> None:
    if ctx.attempt == 1:
        ctx.heartbeat()
        tx.cursor().execute("SELECT pg_sleep(600)")


lost: list[int] = []


def main() -> None:
    """Every rule once."""
    with connection.schema_editor() as editor:
        editor.create_model(ContentType)
    found = {
        "done": run(lambda tx, ctx: None, "done") == (Completed(None), 1),
        "undone": run(lambda tx, ctx: None, "undone", refuse=True)[1] == 0,
        "again": run(fails_first, "again") == (Completed(None), 1),
        "rejected": run(rejects, "rejected") == (Compensated("book: sold out", "rejected", "book"), 0),
        "constraint": run(doubles, "constraint")[1] == 0,
        "lost": run(loses, "lost") == (Completed(None), 1),
        "torn": isinstance(run(tears, "torn")[0], Parked),
        "slow": run(sleeps, "slow") == (Completed(None), 1),
    }
    sys.stdout.write("".join(f"{name} {'holds' if held else 'DOES NOT HOLD'}\n" for name, held in found.items()))


if __name__ == "__main__":
    main()
