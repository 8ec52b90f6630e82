"""`amends db`: the database's schema.

Guarantees: `version` and `check` change nothing.
Must not: touch sagas.
"""

from __future__ import annotations

import asyncio

import click

from amends.errors import SchemaMismatch
from amends.operate import as_json as shapes
from amends.operate.cli.app import object_of
from amends.operate.cli.exits import Exit
from amends.operate.cli.output import console, emit_json, word
from amends.operate.cli.place import Place
from amends.operate.cli.verb import Verb, json_option, place_options
from amends.operate.database import check, rotate_token_key, upgrade, version_of
from amends.operate.services import Keeping, check_tables, keeping_of, upgrade_tables, with_app
from amends.operate.values import SchemaVersion
from amends.run.participant import Participant

_POSTGRES = "postgresql://app@db/orders"


@click.group("db", help="Look after the database's schema.")
def db() -> None:
    """Nothing by itself."""


@db.command(
    "version",
    cls=Verb,
    help="Print the schema's version, the oldest code that may use it, and what this code knows.",
    examples=["amends db version --database=sqlite:///orders.db"],
)
@place_options
@json_option
def version(as_json: bool, **given: str | None) -> None:
    place = Place(**given)
    _print(asyncio.run(version_of(place.config())), place, as_json)


@db.command(
    "check",
    cls=Verb,
    help="Print the same, and say whether this amends can work with it as it is: ends with 0 if it can, with "
    f"{int(Exit.STORE)} if `amends db upgrade` or a newer amends is needed. With --app also whether its steps that "
    "take a transaction find what they need where their effects are; of a participant, whether its inbox and outbox "
    "fit.",
    examples=[
        f"amends db check --database={_POSTGRES}",
        "amends db check --app=shop:orchestrator",
    ],
)
@place_options
@json_option
def check_(as_json: bool, **given: str | None) -> int:
    place = Place(**given)
    service = service_of(place)
    if service is not None:
        try:
            asyncio.run(check_tables(service))
        except SchemaMismatch as error:
            raise with_app(error, place.app or "") from error
        return _print_service(service, as_json)
    found = asyncio.run(check(place.config()))
    _print(found, place, as_json)
    return _judge(found, as_json)


@db.command(
    "upgrade",
    cls=Verb,
    help="Bring a database to this code's schema, before workers of this code start; a new one is created. Any number "
    "of processes may do so at once, and it may be killed at any point and run again. With --app also the database of "
    "its effects=; of a participant the inbox and the outbox of its service. SQLite files are upgraded by whatever "
    "works with them, too; what only looks at sagas changes no schema.",
    examples=[
        f"amends db upgrade --database={_POSTGRES}",
        "amends db upgrade --app=shop:orchestrator",
        "amends db upgrade --app=inventory:app",
        "amends db upgrade --database=sqlite:///orders.db",
    ],
)
@place_options
@json_option
def upgrade_(as_json: bool, **given: str | None) -> int:
    place = Place(**given)
    service = service_of(place)
    if service is not None:
        return _print_service(service, as_json, asyncio.run(upgrade_tables(service)))
    found, applied = asyncio.run(upgrade(place.config()))
    _print(found, place, as_json, applied)
    return _judge(found, as_json)


@db.command(
    "rotate-token-key",
    cls=Verb,
    help="Have the replies of services authenticated with a new key from now on: of one namespace, when somebody may "
    "have seen the database or its messages. Replies on their way are taken with the keys before it, of which four are "
    "kept. Workers that run learn of it with the first reply that is made with it.",
    examples=[f"amends db rotate-token-key --database={_POSTGRES}"],
)
@place_options
@json_option
def rotate_token_key_(as_json: bool, **given: str | None) -> None:
    place = Place(**given)
    number = asyncio.run(rotate_token_key(place.config()))
    if as_json:
        emit_json({"database": place.url, "key": number})
    else:
        console().print(word(f"{place.url}: replies are authenticated with key {number} from now on", ""))


def service_of(place: Place) -> Keeping | None:
    """The database of the participant that `--app` names; None where it names something else, or `--database` does."""
    value = participant_of(place)
    return None if value is None else keeping_of(value)


def participant_of(place: Place) -> Participant | None:
    """The participant that `--app` names; None likewise."""
    if place.app is None or place.database is not None:
        return None
    value = object_of(place.app)
    return value if isinstance(value, Participant) else None


def _print_service(service: Keeping, as_json: bool, applied: int | None = None) -> int:
    if as_json:
        shape = {"database": service.where, "service": service.service, "fits": True}
        emit_json(shape if applied is None else {**shape, "applied": applied})
        return Exit.OK
    text = f"{service.where}: the inbox and the outbox of {service.service} fit this amends"
    if applied is not None:
        text += f". {_applied(applied)}"
    console().print(word(text, ""))
    return Exit.OK


def _applied(count: int) -> str:
    return f"{count or 'No'} migration{'' if count == 1 else 's'} applied"


def _judge(found: SchemaVersion, as_json: bool) -> int:
    """Say what is to be done where it does not fit."""
    if not found.fits and not as_json:
        newer = "run `amends db upgrade`" if found.version < found.code else "upgrade this process"
        console().print(word(f"It does not fit: {newer}", "bad"))
    return Exit.OK if found.fits else Exit.STORE


def _print(found: SchemaVersion, place: Place, as_json: bool, applied: int | None = None) -> None:
    if as_json:
        emit_json(shapes.schema(found, place.url, applied))
        return
    there = f"schema {found.version}, usable from {found.floor} on" if found.version else "no tables of amends"
    text = f"{place.url}: {there}; this amends knows {found.code}"
    if applied is not None:
        text += f". {_applied(applied)}"
    console().print(word(text, ""))
