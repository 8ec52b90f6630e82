"""`amends alert`: tell a webhook when the set of stuck sagas changes.

Guarantees: nothing is sent to an address of this machine or of a private network unless that is asked for; the secret
is read from a file and never printed; SIGTERM ends it between two looks.
Must not: act on a saga.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import signal
from pathlib import Path
from typing import NamedTuple

import click

from amends.errors import DefinitionError
from amends.operate.alert import EVERY_SECONDS, TROUBLES, Alert, Look
from amends.operate.alert_notice import Pages
from amends.operate.alert_post import Webhook, secrets_of
from amends.operate.alert_target import target_of
from amends.operate.cli.app import participant_of
from amends.operate.cli.desk import desk
from amends.operate.cli.exits import Exit
from amends.operate.cli.output import console, word
from amends.operate.cli.place import Place
from amends.operate.cli.verb import Verb, place_options
from amends.operate.database import url_of
from amends.operate.services import keeping_at, keeping_of
from amends.operate.values import Trouble
from amends.run.database import store_of
from amends.store.sqlite import SqliteStore

SECRET_BYTES_MAX = 4096


def _dashboard(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """An address that may stand in a message."""
    if value is not None and not re.fullmatch(r"https?://[^\s?#@]+", value):
        raise click.BadParameter("the address of a dashboard is expected, such as https://amends.example.com")
    return value


@click.command(
    "alert",
    cls=Verb,
    help="Tell a webhook when the set of stuck sagas changes: which are new, which are settled, how many there are of "
    "each kind. One signed POST per change, as Standard Webhooks has it; one that does not arrive is sent again, under "
    "the same id. How far the webhook was told is kept in a file, one for each webhook, database, app and set of "
    "troubles, so a restart repeats nothing. Sagas that wait for a signal are told of only with --trouble=waiting.",
    examples=[
        "amends alert --webhook https://hooks.example.com/sagas --secret-file webhook.secret --dashboard "
        "https://amends.example.com",
        "amends alert --webhook https://hooks.example.com/sagas --secret-file webhook.secret --once   # from cron",
        "amends alert --webhook http://127.0.0.1:9000/ --secret-file webhook.secret --allow-http --allow-private",
    ],
)
@click.option(
    "--webhook",
    "url",
    metavar="URL",
    envvar="AMENDS_WEBHOOK",
    required=True,
    help="Where to send. Else AMENDS_WEBHOOK.",
)
@click.option(
    "--secret-file",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="Holds the secret to sign with: `whsec_` and base64, up to four lines while a new one is brought in.",
)
@click.option(
    "--every",
    type=click.FloatRange(1, 86_400),
    default=EVERY_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="How often to look.",
)
@click.option(
    "--once", is_flag=True, help=f"Look once; ends with {int(Exit.NOT_ANSWERED)} if the webhook was not told."
)
@click.option(
    "--trouble",
    "troubles",
    multiple=True,
    type=click.Choice([str(kind) for kind in Trouble]),
    help="Only these kinds. [default: all but waiting]",
)
@click.option(
    "--state",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where to keep how far the webhook was told. [default: a file in XDG_STATE_HOME/amends, else in "
    "~/.local/state/amends]",
)
@click.option(
    "--dashboard", metavar="URL", callback=_dashboard, help="Of a dashboard: what is sent links to its pages."
)
@click.option("--without-reasons", is_flag=True, help="Do not send why: reasons are texts of your services.")
@click.option("--allow-private", is_flag=True, help="Allow addresses of this machine and of private networks.")
@click.option("--allow-http", is_flag=True, help="Allow http://, which anybody on the way can read.")
@place_options
def alert(
    url: str,
    secret_file: Path,
    every: float,
    once: bool,
    troubles: tuple[str, ...],
    state: Path | None,
    dashboard: str | None,
    without_reasons: bool,
    allow_private: bool,
    allow_http: bool,
    **given: str | None,
) -> int:
    place = Place(**given)
    hook = Webhook(target_of(url, allow_http=allow_http), secrets_of(_read(secret_file)), allow_private=allow_private)
    kinds = frozenset(map(Trouble, troubles)) or TROUBLES

    async def watch() -> Look:
        async with desk(place) as found:
            seen = _seen(place)
            kept = state or _state_file(url, *seen.names, place.app or "", *sorted(kinds))
            pages = None if dashboard is None else Pages(dashboard, seen.service)
            made = Alert(
                found, hook, place=seen.database, troubles=kinds, state=kept, reasons=not without_reasons, pages=pages
            )
            if once:
                look = await made.look()
                _report(look)
                return look
            click.echo(f"looking every {every:g} s; what was told is kept in {kept}", err=True)
            await _until_told_to_stop(made, every)
            return Look()

    return Exit.NOT_ANSWERED if asyncio.run(watch()).wrong else Exit.OK


class _Seen(NamedTuple):
    """What is looked at. database: for people, without a password. path: of its file. service: whose choreographed
    sagas it is about, if it is about such."""

    database: str
    namespace: str
    path: Path | None
    service: str = ""

    @property
    def names(self) -> tuple[str, str]:
        """What tells it from everything else that may be looked at from this machine."""
        return self.database if self.path is None else str(self.path.resolve()), self.namespace


def _seen(place: Place) -> _Seen:
    participant = None if place.app is None else participant_of(place.app)
    if participant is None:
        config = place.config()
        store = store_of(config.database, config.namespace)
        return _Seen(url_of(config.database), config.namespace, store.path if isinstance(store, SqliteStore) else None)
    service = participant.service.name
    keeping = keeping_of(participant) if place.database is None else keeping_at(place.database, service)
    return _Seen(keeping.where, "", keeping.path, service)


async def _until_told_to_stop(made: Alert, every: float) -> None:
    """SIGTERM ends it well."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    watching = asyncio.ensure_future(made.run(every=every, report=_report))
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait([watching, stopping], return_when=asyncio.FIRST_COMPLETED)
        if watching.done():
            watching.result()
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        for task in (watching, stopping):
            task.cancel()
        await asyncio.gather(watching, stopping, return_exceptions=True)


def _report(look: Look) -> None:
    if look.wrong:
        click.echo(look.wrong, err=True)
    if look.told:
        console().print(word(f"the webhook was told: {look.told}", "good"))


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(SECRET_BYTES_MAX).decode("ascii", "replace")
    except OSError as error:
        raise DefinitionError(f"{path}: the webhook's secret cannot be read: {error.strerror}") from None


def _state_file(*about: str) -> Path:
    """The file for this webhook and these sagas."""
    digest = hashlib.blake2b("\0".join(about).encode(), digest_size=6).hexdigest()
    home = os.environ.get("XDG_STATE_HOME")
    base = Path(home) if home and Path(home).is_absolute() else Path.home() / ".local" / "state"
    return base / "amends" / f"alert-{digest}.json"
