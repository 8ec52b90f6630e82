"""Who may do what: persons, their roles, and how a request shows whose it is.

A request is somebody's by a bearer token, by the cookie that logging in with a token gives, or, where the dashboard
stands in an application of yours, by what its `authenticate` says.

Guarantees: tokens are compared in constant time and are kept as digests; a request that carries a wrong token is
nobody's, whatever else it carries.
Must not: judge what a route demands; `routing.py` does.
"""

from __future__ import annotations

import hashlib
import hmac
import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from amends.errors import DefinitionError
from amends.operate.web.problems import Forbidden, Unknown, WebError
from amends.operate.web.sessions import SESSION_SECONDS, Codes, Session, Sessions

TOKEN_CHARACTERS_MIN = 20
TOKEN_CHARACTERS_MAX = 200
NAME_CHARACTERS_MAX = 100
PERSON = "amends_person"  # under which it is kept with a request: a host application may have a `person` of its own


class Right(IntEnum):
    """What a route demands of whoever asks."""

    OPEN = 0  # nobody has to be known
    VIEW = 1
    OPERATE = 2
    ADMIN = 3


class Role(StrEnum):
    """What somebody may do: each includes what the one before may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    @property
    def right(self) -> Right:
        """The most that it may."""
        return {Role.VIEWER: Right.VIEW, Role.OPERATOR: Right.OPERATE, Role.ADMIN: Right.ADMIN}[self]


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who is known. name: stands as the actor in histories. payloads: may read inputs, results and values."""

    name: str
    role: Role = Role.VIEWER
    payloads: bool = False

    def __post_init__(self) -> None:
        if not self.name or not self.name.isprintable() or len(self.name) > NAME_CHARACTERS_MAX:
            raise DefinitionError(
                f"Person({self.name!r:.80}): a printable name of at most {NAME_CHARACTERS_MAX} characters is expected"
            )
        given: object = self.role
        if not isinstance(given, Role):
            roles = ", ".join(Role)
            raise DefinitionError(f"Person({self.name!r}, {self.role!r:.80}): a role is expected: {roles}")

    def may(self, right: Right) -> bool:
        """Whether that may be done."""
        return self.role.right >= right


Authenticate = Callable[[Request], "Person | Awaitable[Person | None] | None"]


@dataclass(frozen=True, slots=True)
class Token:
    """What somebody shows to be known. digest: of its text, which is kept nowhere."""

    digest: bytes
    person: Person

    @classmethod
    def of(cls, text: str, person: Person) -> Token:
        """Of its text. Raises DefinitionError for one that could be guessed."""
        if not TOKEN_CHARACTERS_MIN <= len(text) <= TOKEN_CHARACTERS_MAX or not text.isascii() or " " in text:
            raise DefinitionError(
                f"the token of {person.name}: {TOKEN_CHARACTERS_MIN} to {TOKEN_CHARACTERS_MAX} ASCII characters "
                "without blanks are expected; `amends dashboard --add-token` makes one"
            )
        return cls(digest_of(text), person)

    @property
    def id(self) -> str:
        """Names the token, and tells nothing of it."""
        return hashlib.sha256(b"id\0" + self.digest).hexdigest()[:16]


def digest_of(text: str) -> bytes:
    """What is kept of a token."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


class Access:
    """How requests are known. tokens: of the dashboard's own; authenticate: the host application's; one of the two.
    secret: what several processes of one host share, so that each takes the forms of all."""

    def __init__(
        self, tokens: Sequence[Token] = (), authenticate: Authenticate | None = None, secret: str = ""
    ) -> None:
        if bool(tokens) is (authenticate is not None):
            raise DefinitionError(
                "who may ask? Give tokens, or `authenticate`, a function of the request that gives a Person or None; "
                "one of the two"
            )
        self._tokens = tuple(tokens)
        self._authenticate = authenticate
        self.codes: Codes = Codes()
        digests = [token.digest for token in tokens]
        self.sessions: Sessions = Sessions([*digests, digest_of(secret)] if secret else digests)

    @property
    def has_login(self) -> bool:
        """Whether one logs in here, by a token; else the host application knows its people."""
        return self._authenticate is None

    async def person(self, connection: HTTPConnection) -> Person | None:
        """Whose a request is; None of nobody's. Raises Unknown, Forbidden, and whatever the host's function raises."""
        if self._authenticate is not None:
            return await _asked(self._authenticate, Request(connection.scope))
        given = bearer(connection.headers.get("authorization", ""))
        if given is not None:
            token = self.by_text(given)
            return None if token is None else token.person
        session = self.session(connection)
        token = None if session is None else self.by_id(session.token)
        return None if token is None else token.person

    def session(self, connection: HTTPConnection) -> Session | None:
        """The session of a request's cookie, if it is a good one."""
        return self.sessions.read(connection.cookies.get(self.sessions.cookie, ""))

    def cookie_on(self, request: HTTPConnection, response: Response, token: Token) -> None:
        """Begin a session with an answer."""
        response.set_cookie(
            self.sessions.cookie,
            self.sessions.begin(token.id),
            max_age=int(SESSION_SECONDS),
            path=_root(request),
            secure=request.url.scheme == "https" or request.headers.get("origin", "").startswith("https://"),
            httponly=True,
            samesite="lax",  # so that a link in a chat leads in; by GET nothing is changed
        )

    def cookie_off(self, request: HTTPConnection, response: Response) -> None:
        """End a request's session with an answer."""
        session = self.session(request)
        if session is not None:
            self.sessions.leave(session)
        response.delete_cookie(self.sessions.cookie, path=_root(request), httponly=True, samesite="lax")

    def by_text(self, text: str) -> Token | None:
        """The token with this text. Takes as long whichever it is."""
        asked, found = digest_of(text), None
        for token in self._tokens:
            if hmac.compare_digest(token.digest, asked):
                found = token
        return found

    def by_id(self, id_: str) -> Token | None:
        """The token that a session was begun with; None once it is taken back."""
        return next((token for token in self._tokens if hmac.compare_digest(token.id, id_)), None)

    def csrf(self, connection: HTTPConnection, person: Person) -> str:
        """What a form, or the header X-CSRF-Token, must carry for this person's cookie to count."""
        session = self.session(connection) if self.has_login else None
        bound = f"host\0{person.name}" if session is None else f"session\0{session.nonce}"
        return self.sessions.csrf(bound)


def known_of(connection: HTTPConnection) -> Person | None:
    """Whose a request was found to be; None of nobody's."""
    found: Person | None = getattr(connection.state, PERSON, None)
    return found


def bearer(header: str) -> str | None:
    """The token of an Authorization header, perhaps an empty one; None of a header of another kind, which a proxy may
    have asked for."""
    scheme, _, text = header.strip().partition(" ")
    return text.strip() if scheme.lower() == "bearer" else None


async def _asked(authenticate: Authenticate, request: Request) -> Person | None:
    """What the host application says. Frameworks have refusing be an exception, so that is one of ours then."""
    try:
        found = authenticate(request)
        person = await found if inspect.isawaitable(found) else found
    except HTTPException as error:
        refusal: type[WebError] | None = {401: Unknown, 403: Forbidden}.get(error.status_code)
        if refusal is None:
            raise
        raise refusal(str(error.detail), **(error.headers or {})) from error
    if person is not None and not isinstance(person, Person):
        raise TypeError(f"authenticate gave {person!r:.80}; a Person or None is expected")  # nothing for whoever asks
    return person


def _root(connection: HTTPConnection) -> str:
    return str(connection.scope.get("root_path", "")) or "/"
