"""`amends dashboard`: the pages and the HTTP API, served.

Guarantees: nobody asks without being known; it listens on this machine alone, unless it is told who may ask from
elsewhere.
Must not: run any saga.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from amends.operate.cli.app import AppError, object_of, participant_of
from amends.operate.cli.loops import factory
from amends.operate.cli.place import Place
from amends.operate.cli.safe import safe
from amends.operate.cli.verb import CodeError, Verb, place_options
from amends.operate.services import keeping_of
from amends.run.participant import Participant

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from amends.operate.web.access import Access, Authenticate
    from amends.operate.web.desks import Desks
    from amends.operate.web.serving import Tls

PORT = 8300
NEEDS = ("starlette", "uvicorn", "jinja2")


@click.command(
    "dashboard",
    cls=Verb,
    help="Serve the dashboard and the HTTP API. By default on this machine alone, and for you: a token is made once "
    "and kept where nobody else reads it, and the address that is printed logs you in, once. Others get tokens with "
    "roles of their own. To be reached from elsewhere it has to be told who may ask: --token-file or --auth. It runs "
    "no sagas; workers do.",
    examples=[
        "amends dashboard --database=sqlite:///orders.db",
        "amends dashboard shop:orchestrator",
        "amends dashboard shop:orchestrator orders:app   # also the choreographed sagas of that service",
        "amends dashboard --add-token ada:operator+payloads --token-file=/etc/amends/tokens",
        "amends dashboard shop:orchestrator --host=10.0.0.7 --token-file=/etc/amends/tokens",
    ],
)
@click.argument("targets", metavar="[MODULE:NAME]...", nargs=-1)
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Where it listens.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="Its port; 0 for any that is free."
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Who may ask: lines of a name, a role and a token. [default: one of yours, made when it is first needed]",
)
@click.option("--add-token", "added", metavar="NAME:ROLE", help="Make a token, print it once, and serve nothing.")
@click.option(
    "--auth",
    metavar="MODULE:NAME",
    help="Instead of tokens, a function of the request in your code that gives an amends.asgi.Person, or None.",
)
@click.option("--allow-host", "hosts", multiple=True, metavar="NAME", help="A name that it may be asked by.")
@click.option(
    "--allow-origin", "origins", multiple=True, metavar="URL", help="Where forms may come from, behind a proxy."
)
@click.option("--open-metrics", is_flag=True, help="Give /metrics to whoever asks, without a token.")
@click.option("--title", default="amends", show_default=True, help="What tells this dashboard from others.")
@click.option("--tls-cert", type=click.Path(path_type=Path), metavar="PATH", help="Serve HTTPS with this certificate.")
@click.option("--tls-key", type=click.Path(path_type=Path), metavar="PATH", help="Its key, if it is in another file.")
@place_options
def dashboard(
    targets: tuple[str, ...], database: str | None, app: str | None, namespace: str | None, **given: Any
) -> None:
    _check_installed()
    path: Path | None = given["token_file"]
    if given["added"] is not None:
        _add_token(path, given["added"])
        return
    _check_reach(given["host"], path, given["auth"])
    desks = _desks(targets, Place(database, app, namespace))
    _set_up_logs()
    _serve(desks, path, given)


def _serve(desks: Desks, path: Path | None, given: dict[str, Any]) -> None:
    from amends.operate.web.app import web
    from amends.operate.web.serving import bound, origin_of, serve

    host: str = given["host"]
    access = _access(path, given["auth"])
    tls = _tls(given["tls_cert"], given["tls_key"])
    app = web(
        desks,
        access=access,
        title=given["title"],
        hosts=_hosts(host, given["hosts"]),
        origins=given["origins"],
        open_metrics=given["open_metrics"],
    )
    listening = bound(host, given["port"])
    try:
        origin = origin_of(listening, host, tls)
        with asyncio.Runner(loop_factory=factory()) as runner:
            runner.run(serve(app, listening, tls=tls, ready=lambda: _say(app, origin, path)))
    finally:
        listening.close()


def _say(app: Starlette, origin: str, path: Path | None) -> None:
    """Where it is; and for whoever has made their token by this very verb, an address that logs them in."""
    from amends.operate.web import tokens

    access: Access = app.state.web.access
    if access.has_login and path is None:  # there are only those of its own file
        own = tokens.own(tokens.default_path())
        click.echo(f"The dashboard is at {origin}/login/{access.codes.issue(own.id)}")
        click.echo("That address logs you in once, within ten minutes.", err=True)
        click.echo(f"Later, and for programs: your token is in {safe(str(tokens.default_path()))}", err=True)
    else:
        click.echo(f"The dashboard is at {origin}/")


def _desks(targets: Sequence[str], place: Place) -> Desks:
    """What is shown: what `--database` or `--app` names, or the first target; and the homes of participants."""
    from amends.operate.web.desks import Desks

    participants = [(text, found) for text in targets if (found := participant_of(text)) is not None]
    others = [text for text in targets if text not in [text for text, _ in participants]]
    if len(others) > 1:
        raise click.UsageError(f"{' and '.join(others)}: one orchestrator or watcher is shown at a time")
    if others:
        place = place._replace(app=others[0])
    homes = [participant for _, participant in participants]
    home = None if place.app is None else participant_of(place.app)
    if home is not None:
        homes = [home, *(one for one in homes if one is not home)]
    if homes and not others and place.database is None and (home is not None or place.app is None):
        return _of_homes(homes)
    return Desks(place.existing(), homes)


def _of_homes(homes: list[Participant]) -> Desks:
    from amends.operate.web.desks import Desks

    for one in homes:
        keeping_of(one)  # raises where it has no database
    return Desks(homes[0], homes[1:])


def _check_reach(host: str, path: Path | None, auth: str | None) -> None:
    """See that it is said who may ask, where others can reach it."""
    from amends.operate.web.serving import is_loopback

    if path is not None and auth is not None:
        raise click.UsageError("--token-file and --auth: one of the two says who may ask")
    if path is None and auth is None and not is_loopback(host):
        raise click.UsageError(
            f"--host={host} is reached from other machines, so say who may ask: --token-file=PATH, with tokens that "
            "`amends dashboard --add-token NAME:ROLE --token-file=PATH` makes, or --auth=MODULE:NAME"
        )


def _access(path: Path | None, auth: str | None) -> Access:
    """Who may ask. Raises DefinitionError, AppError."""
    from amends.operate.web import tokens
    from amends.operate.web.access import Access

    if auth is not None:
        found: Any = object_of(auth)
        if not callable(found):
            raise AppError(f"--auth={auth}: a function of the request is expected, that gives a Person or None")
        return Access(authenticate=cast("Authenticate", found))  # what it gives is looked at with each request
    if path is not None:
        return Access(tokens.read(path))
    tokens.own(tokens.default_path())
    return Access(tokens.read(tokens.default_path()))


def _hosts(host: str, given: Iterable[str]) -> set[str]:
    """The names that it may be asked by; none for any, where it listens everywhere and nobody has named it."""
    from amends.operate.web.serving import LOOPBACK, is_loopback

    named = {name.lower().strip("[]") for name in given}
    if is_loopback(host):
        return {*named, *LOOPBACK, host.lower()}
    if host in ("0.0.0.0", "::"):  # noqa: S104  # not bound here; every address of this machine is meant
        return {*named, *LOOPBACK} if named else set()
    return {*named, host.lower()}


def _tls(certificate: Path | None, key: Path | None) -> Tls | None:
    from amends.operate.web.serving import Tls

    if certificate is None:
        if key is not None:
            raise click.UsageError("--tls-key without --tls-cert")
        return None
    for path in (certificate, key):
        if path is not None and not path.is_file():
            raise click.UsageError(f"{path}: there is no such file")
    return Tls(certificate, key)


def _add_token(path: Path | None, given: str) -> None:
    from amends.operate.web import tokens

    where = tokens.default_path() if path is None else path
    person = tokens.person_of(given)
    if path is None and not where.exists():
        tokens.own(where)  # the first one is whose the dashboard is, and logs in by the address that is printed
    text = tokens.add(where, person)
    click.echo(text)
    click.echo(f"It is in {safe(str(where))}, and good once the dashboard starts again.", err=True)


def _check_installed() -> None:
    missing = [name for name in NEEDS if find_spec(name) is None]
    if missing:
        raise CodeError(f"the dashboard needs {', '.join(missing)}: pip install 'amends[web]'")


def _set_up_logs() -> None:
    from amends.operate.cli.telemetry import SafeFormatter

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(SafeFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level="INFO")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
