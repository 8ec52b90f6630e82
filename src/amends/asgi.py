"""The dashboard and its HTTP API as an ASGI application, to serve or to mount: `pip install "amends[web]"`.

    app.mount("/amends", amends.asgi.web(orchestrator, authenticate=whoever_is_logged_in))

Mounted it asks the orchestrator's own session, where that runs in the same process; else it is a client of its own,
opened when somebody first asks and closed with the event loop. No lifespan of its own has to be run.

Guarantees: an application that nobody could log in to, or that everybody could, is not made.
Must not: be imported without Starlette.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence

from starlette.applications import Starlette

from amends.operate.web.access import Access, Authenticate, Person, Role, Token
from amends.operate.web.app import web as _web
from amends.operate.web.context import Limits
from amends.operate.web.desks import Desks, Source
from amends.run.participant import Participant

__all__ = ["Authenticate", "Limits", "Person", "Role", "new_token", "web"]


def web(
    source: Source,
    *,
    authenticate: Authenticate | None = None,
    tokens: Mapping[str, Person] | None = None,
    homes: Sequence[Participant] = (),
    namespace: str = "default",
    title: str = "amends",
    hosts: Iterable[str] = (),
    origins: Iterable[str] = (),
    limits: Limits | None = None,
    secret: str = "",
    open_metrics: bool = False,
    hints: Sequence[str] = (),
) -> Starlette:
    """The dashboard, as a Starlette application.

    source: an orchestrator, a watcher, a participant (its choreographed sagas), or a database's URL.
    authenticate: a function of the request, async or not, that says who asks: a `Person`, or None for nobody. tokens:
        instead of it, the tokens that are good and whose they are; then one logs in with them.
    homes: participants whose choreographed sagas are shown besides. namespace: of a database's URL; an orchestrator has
        its own.
    title: in the pages' head. hosts: the names it may be asked by; any, where none is given. origins: where forms may
        come from besides its own, as behind a proxy that renames the host. limits: what one may ask for.
    secret: some text that nobody knows, the same in all processes that serve this beside each other with
        `authenticate`: a form that one has shown is good at another then.
    open_metrics: whoever asks may read `/metrics`, as a scraper that is nobody does. hints: lines that the first page
        shows, of what one may try.

    Raises DefinitionError.
    """
    known = [Token.of(text, person) for text, person in (tokens or {}).items()]
    access = Access(known, authenticate, secret)
    desks = Desks(source, homes, namespace=namespace)
    return _web(
        desks,
        access=access,
        title=title,
        limits=limits,
        hosts=hosts,
        origins=origins,
        open_metrics=open_metrics,
        hints=hints,
    )


def new_token() -> str:
    """A token that nobody guesses."""
    return secrets.token_urlsafe(32)
