"""What a service keeps in its database, its inbox and outbox, looked at and acted on from outside its process.

Guarantees: a file that has neither is not made to have them by being asked; what is to be published again is published
by the participants that work, or by the next that comes.
Must not: publish anything itself.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from amends.errors import DefinitionError, SchemaMismatch, StoreError, StoreUnavailable
from amends.operate.database import url_of
from amends.operate.reach import hub_of
from amends.operate.values import Finding
from amends.run.effects import own_inbox, source_of
from amends.run.inbox_upkeep import Sizes, Upkeep
from amends.run.outbox import republish
from amends.run.participant import Participant
from amends.run.transactions import Transactions
from amends.run.transactions_postgres import PostgresTransactions
from amends.run.transactions_sqlite import SqliteTransactions
from amends.store.effects import has_inbox
from amends.store.postgres_place import Place

UPGRADE = "`amends db upgrade`"
LAG_SECONDS = 60.0  # an event that is older has been tried in vain


class Keeping(NamedTuple):
    """The database of a service. where: for people."""

    service: str
    where: str
    transactions: Transactions
    path: Path | None = None


def keeping_of(participant: Participant) -> Keeping:
    """That of a participant. Raises DefinitionError."""
    made = participant.transactions()
    if made is None:
        raise DefinitionError(f"{participant!r} has no database, so it keeps nothing")
    database = participant.database
    known = isinstance(database, (str, Path))
    where = url_of(database) if known else "the database of its own"  # type: ignore[arg-type]  # it is one of these
    source = source_of(database, "database") if known else None
    return Keeping(participant.service.name, where, made, source if isinstance(source, Path) else None)


def keeping_at(url: str, service: str) -> Keeping:
    """That of a service by its name. Raises DefinitionError."""
    source = source_of(url, "--database")
    if isinstance(source, Path):
        return Keeping(service, url_of(source), SqliteTransactions(source, time.time), source)
    if not isinstance(source, Place):
        raise DefinitionError(f"--database={url!r:.80}: a URL is expected")
    return Keeping(service, str(source), own_inbox(source))


async def sizes_of(keeping: Keeping) -> Sizes:
    """What the inbox and the outbox hold. Raises StoreError."""
    async with opened(keeping):
        return await sizes_in(keeping)


async def sizes_in(keeping: Keeping) -> Sizes:
    """The same, of a database that is open. Raises StoreError."""
    return await Upkeep(keeping.transactions, keeping.service, 0.0, 0.0).sizes()


async def republish_since(keeping: Keeping, seconds: float) -> int:
    """Have what was published in the last `seconds` published again; gives how many events. Raises StoreError."""
    async with opened(keeping):
        return await republish_in(keeping, seconds)


async def republish_in(keeping: Keeping, seconds: float) -> int:
    """The same, of a database that is open. Raises StoreError."""
    now = float((await keeping.transactions.ask("now"))[0][0])
    return await republish(keeping.transactions, keeping.service, now - seconds)


async def upgrade_tables(keeping: Keeping) -> int:
    """Bring the inbox and the outbox, new or old, to this code's schema; gives how many migrations were applied to a
    server. A file is brought there by whoever opens it. Raises StoreError."""
    if isinstance(keeping.transactions, PostgresTransactions):
        return len(await keeping.transactions.upgrade())
    async with opened(keeping, must_exist=False):
        return 0


async def check_tables(keeping: Keeping) -> None:
    """See that this code can work with them as they are. Raises SchemaMismatch, StoreUnavailable."""
    async with opened(keeping):
        return


def with_app(error: SchemaMismatch, app: str) -> SchemaMismatch:
    """The same error; what is to be run says of which code."""
    return SchemaMismatch(str(error).replace(UPGRADE, f"`amends db upgrade --app={app}`"))


async def findings_of(participant: Participant, app: str) -> list[Finding]:
    """How a service fares, as far as its code and its database say. app: how the code is named. Raises
    DefinitionError."""
    found = declared(participant)
    if participant.transactions() is None:
        return [*found, Finding("ok", "database", "it has none, so it keeps no inbox and no outbox")]
    keeping = keeping_of(participant)
    try:
        sizes = await sizes_of(keeping)
    except SchemaMismatch as error:
        return [*found, Finding("error", "database", str(with_app(error, app)))]
    except StoreError as error:
        return [*found, Finding("error", "database", str(error))]
    return [*found, *signs_of(keeping, sizes)]


def declared(participant: Participant) -> list[Finding]:
    """What the code of a service says. Raises DefinitionError."""
    participant.check()
    found = [Finding("ok", "contract", f"every command of {participant.service.name} has who does and who undoes it")]
    if hub_of(participant.broker) is not None:
        text = "there is none: orchestrators and services in the very process of its worker are reached, and no others"
        found.append(Finding("ok", "broker", text))
    return found


def signs_of(keeping: Keeping, sizes: Sizes) -> list[Finding]:
    """What the sizes of an inbox and an outbox are a sign of, which can be read."""
    fits = Finding("ok", "database", f"{keeping.where}: the inbox and the outbox fit this amends")
    level = "warning" if sizes.unpublished and sizes.lag > LAG_SECONDS else "ok"
    waits = f", the oldest for {sizes.lag:.0f} s: is a participant at work, and is the broker there?"
    text = f"{sizes.unpublished} events are not published yet{waits if level == 'warning' else ''}"
    found = [fits, Finding(level, "outbox", text)]
    if sizes.careful:
        text = "1 message may have taken its process down; it is handled alone"
        if sizes.careful > 1:
            text = f"{sizes.careful} messages may have taken their process down; they are handled one at a time"
        found.append(Finding("warning", "inbox", text))
    return found


@asynccontextmanager
async def opened(keeping: Keeping, *, must_exist: bool = True) -> AsyncGenerator[Transactions, None]:
    """The database of a service, open. must_exist: a file is not made by being asked. Raises StoreError."""
    if keeping.path is not None and must_exist and not (keeping.path.exists() and has_inbox(keeping.path.absolute())):
        raise StoreUnavailable(f"{keeping.path}: there is no such file, or it has no inbox and no outbox")
    await keeping.transactions.open()
    try:
        yield keeping.transactions
    finally:
        await keeping.transactions.close()
