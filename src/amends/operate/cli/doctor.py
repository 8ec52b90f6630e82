"""`amends doctor`: whether the database is sound, and whether anybody works.

Guarantees: a database that cannot even be opened is a finding like another.
Must not: repair anything.
"""

from __future__ import annotations

import asyncio
import platform
from importlib.metadata import PackageNotFoundError, version

import click

from amends.errors import StoreError
from amends.operate import as_json as shapes
from amends.operate.cli.db import participant_of
from amends.operate.cli.exits import Exit
from amends.operate.cli.output import console, emit_json, print_table, word
from amends.operate.cli.place import Place
from amends.operate.cli.verb import Verb, json_option, place_options
from amends.operate.operations import operations
from amends.operate.reach import alone
from amends.operate.services import findings_of
from amends.operate.values import Finding
from amends.run.session import Config

_LIBRARIES = ("amends", "msgspec", "click", "rich", "uvloop", "asyncpg")
_LEVELS = ("ok", "warning", "error")
_EXITS = {"ok": Exit.OK, "warning": Exit.TROUBLE, "error": Exit.ERRORS}


@click.command(
    "doctor",
    cls=Verb,
    help="Check the file and its integrity, or the server and its settings, the libraries, what is overdue, unanswered "
    "mail, the workers, sagas that no worker can run, and services that do not answer; of a participant its contract, "
    "its inbox and its outbox. Ends with 0 if all is well, "
    f"{int(Exit.TROUBLE)} if a warning is the worst, {int(Exit.ERRORS)} for an error.",
    examples=[
        "amends doctor",
        "amends doctor --app=inventory:app",
        "amends doctor --database=sqlite:///orders.db --json | jq .worst",
    ],
)
@place_options
@json_option
def doctor(as_json: bool, **given: str | None) -> int:
    place = Place(**given)
    service = participant_of(place)

    async def look() -> tuple[Finding, ...]:
        if service is not None:
            return (_software(), *await findings_of(service, place.app or ""))
        async with operations(place.existing()) as found:
            return (_software(), *_reach(found.session.config), *await found.doctor())

    try:
        findings = asyncio.run(look())
    except StoreError as error:
        findings = (Finding("error", "database", str(error)),)
    worst = max((finding.level for finding in findings), key=_LEVELS.index)
    if as_json:
        emit_json(shapes.findings(findings, worst))
    else:
        out = console()
        out.print(word(place.url if service is None else f"the service {service.service.name}", "dim"))
        rows = [(word(finding.level), finding.what, finding.detail) for finding in findings]
        print_table(out, ("level", "what", "found"), rows)
    return _EXITS[worst]


def _reach(config: Config) -> list[Finding]:
    """What the code says of who is reached: a way to begin, or a variable that was forgotten."""
    text = alone(config)
    return [Finding("ok", "services", text)] if text else []


def _software() -> Finding:
    """What this process runs on."""
    found = [f"Python {platform.python_version()}"]
    for name in _LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return Finding("ok", "software", ", ".join(found))
