"""`amends db`: the database's schema.

Guarantees: `version` changes nothing.
Must not: touch sagas.
"""

from __future__ import annotations

import asyncio

import click

from amends.operate import as_json as shapes
from amends.operate.cli.output import console, emit_json, word
from amends.operate.cli.place import Place
from amends.operate.cli.verb import Verb, json_option, place_options
from amends.operate.database import upgrade, version_of
from amends.operate.values import SchemaVersion


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
    _print(version_of(place.config().database), place, as_json)


@db.command(
    "upgrade",
    cls=Verb,
    help="Bring a database to this code's schema; a new one is created. SQLite files are also upgraded by whatever "
    "opens them.",
    examples=["amends db upgrade --database=sqlite:///orders.db"],
)
@place_options
@json_option
def upgrade_(as_json: bool, **given: str | None) -> None:
    place = Place(**given)
    _print(asyncio.run(upgrade(place.config().database)), place, as_json)


def _print(found: SchemaVersion, place: Place, as_json: bool) -> None:
    if as_json:
        emit_json(shapes.schema(found, place.url))
        return
    text = f"{place.url}: schema {found.version}, usable from {found.floor} on; this amends knows {found.code}"
    console().print(word(text, ""))
