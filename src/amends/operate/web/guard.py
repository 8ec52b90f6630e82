"""Before every request: the host, the origin, who asks, the size, the rate; and after it the headers.

A browser sends cookies along whoever wrote the page. So a request that may change something must come from the
dashboard's own origin, and, unless it carries a bearer token, which no browser adds by itself, also a token that only
the dashboard's own pages know.

Guarantees: nothing behind it sees a request for a foreign host, from a foreign page, of more than `body_bytes`, or
more of them at once than `requests` in each of its lines; every answer has the headers that keep a page to itself.
Must not: know which right a route demands.
"""

from __future__ import annotations

import asyncio
import hmac
import math
import re
from collections import Counter
from urllib.parse import parse_qsl, unquote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from amends.errors import AmendsError
from amends.operate.web.access import PERSON, Person, bearer
from amends.operate.web.answering import refused, unforeseen
from amends.operate.web.context import SLASH, Web
from amends.operate.web.problems import Busy, Foreign, Malformed, TooLarge, TooMuch
from amends.operate.web.rates import Rate

BODY_SECONDS = 20.0
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
PROBES = frozenset({"/healthz", "/readyz"})  # asked by addresses, and they tell nothing
UNCOUNTED = PROBES | {"/live"}  # streams are counted by themselves
OF_NOBODY = frozenset({"/login", "/logout"})  # whose bodies are read whoever asks
STATIC = "/static/"
ACT = re.compile(r"(?:/api/v1)?/sagas/[^/]+/(?!preview$)[^/]+")  # which may wait for a worker
FORM, JSON = "application/x-www-form-urlencoded", "application/json"
FIELDS_MAX = 2000
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # `no-referrer` would have forms come from the origin `null`
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


class Guard:
    """The middleware around all routes."""

    def __init__(self, app: ASGIApp, web: Web) -> None:
        limits = web.limits
        self._app = app
        self._web = web
        self._in_work = Counter[str]()  # by line
        self._acts = Rate(limits.acts_per_second, limits.acts_burst)
        self._logins = Rate(limits.logins_per_minute / 60, limits.logins_burst)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(self._prepared(scope), receive, send)
        else:  # there are no websockets here
            await send({"type": "websocket.close", "code": 1008})

    def _prepared(self, scope: Scope) -> Scope:
        """A scope of our own: with what handlers ask for, and with the slashes of ids kept apart from those between
        the parts of a path."""
        state = {**scope.get("state", {}), "amends_web": self._web, PERSON: None}
        return {**scope, "state": state, "path": _path(scope)}

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        request, inner = Request(scope, receive), _inner(scope)
        static = inner.startswith(STATIC)
        headed = _Headed(send, static=static)
        counts, line = inner not in UNCOUNTED and not static, _line(request.method, inner)
        try:
            if counts and self._in_work[line] >= self._web.limits.requests:
                raise Busy("as many requests are in work as are taken at once; try again soon", Retry_After="1")
            self._in_work[line] += counts
            try:
                body = await self._admitted(request, receive)
                await self._app(scope, receive if body is None else _again(body, receive), headed)
            finally:
                self._in_work[line] -= counts
        except AmendsError as error:
            if not headed.begun:
                await refused(request, error)(scope, receive, headed)
        except Exception as error:
            if headed.begun:
                raise
            await unforeseen(request, error)(scope, receive, headed)

    async def _admitted(self, request: Request, receive: Receive) -> bytes | None:
        """The body of a request that may go on; None of one that has none to be read. Raises WebError."""
        headers, path = request.headers, _inner(request.scope)
        if path not in PROBES:
            _check_host(headers, self._web.hosts)
        if request.method not in SAFE:
            _check_origin(request, self._web.origins)
        if path in PROBES or path.startswith(STATIC):
            return None  # whose it is does not matter
        person = await self._web.access.person(request)
        setattr(request.state, PERSON, person)
        if person is None and bearer(headers.get("authorization", "")) is not None:
            self._count_failure(request)
        if request.method in SAFE or (person is None and path not in OF_NOBODY):
            return None  # whoever is nobody is told so, however much they would send
        body = await _body(request, receive, self._web.limits.body_bytes)
        _check_kind(headers, body)
        if path == "/login" and not self._known(body):
            self._count_failure(request)
        if person is not None and path != "/login":  # there the token that is shown is enough, whoever shows it
            self._check_csrf(request, person, body)
            _hold_back(self._acts.take(person.name), "acts of yours")
        return body

    def _known(self, body: bytes) -> bool:
        """Whether a form that logs in has a good token: the one that whoever logs in will look at, the first."""
        given = next((value for name, value in _fields(body) if name == "token"), "")
        return self._web.access.by_text(given.strip()) is not None

    def _count_failure(self, request: Request) -> None:
        """Who shows a wrong token does so only now and then. It makes guessing no harder than it is, and keeps it from
        being work. A good one is always taken: behind a proxy all have one address."""
        client = request.client.host if request.client else "?"
        _hold_back(self._logins.take(client), "attempts to log in from your address")

    def _check_csrf(self, request: Request, person: Person, body: bytes) -> None:
        if bearer(request.headers.get("authorization", "")):
            return
        given = request.headers.get("x-csrf-token")
        if given is None and _kind(request.headers) == FORM:
            given = next((value for name, value in _fields(body) if name == "csrf"), None)
        known = self._web.access.csrf(request, person)
        if given is None or not hmac.compare_digest(given.encode("utf-8", "surrogatepass"), known.encode()):
            raise Foreign(
                "this may come from a page that is not the dashboard's: the CSRF token is missing or old. Load the "
                "page anew; a program sends `Authorization: Bearer …`, or the token of GET /api/v1/me as X-CSRF-Token"
            )


class _Headed:
    """Sends an answer with the headers that every one has."""

    def __init__(self, send: Send, *, static: bool) -> None:
        self._send = send
        self._static = static
        self.begun = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            headers = MutableHeaders(raw=list(message.get("headers", [])))
            for name, value in HEADERS.items():
                headers[name] = value
            if not self._static:
                headers["cache-control"] = "no-store"
            message = {**message, "headers": headers.raw}
        await self._send(message)


def _path(scope: Scope) -> str:
    """The path, with a quoted slash as `SLASH`. Where the raw path is another one, as behind some proxies, as it is."""
    raw, path = scope.get("raw_path"), str(scope["path"])
    if not raw or b"%" not in raw:
        return path
    parts = [unquote(part.decode("latin-1")) for part in raw.partition(b"?")[0].split(b"/")]
    if "/".join(parts) != path:
        return path
    return "/".join(part.replace("/", SLASH) for part in parts)


def _inner(scope: Scope) -> str:
    """The path as it is below wherever this is mounted."""
    return str(scope["path"]).removeprefix(str(scope.get("root_path", ""))) or "/"


def _line(method: str, path: str) -> str:
    """In which line a request stands: those who wait for an outcome, or for a worker to answer an act, and strangers
    whose bodies may come slowly, hold up only each other."""
    if path in OF_NOBODY:
        return "door"
    if method not in SAFE and ACT.fullmatch(path):
        return "acts"
    return "outcome" if path.endswith("/outcome") else ""


def _check_host(headers: Headers, hosts: frozenset[str]) -> None:
    """A page of another host that has its name lead here (DNS rebinding) has that name in its requests."""
    if not hosts:
        return
    host = headers.get("host", "")
    if _name_of(host) not in hosts:
        raise Foreign(
            f"this dashboard is not to be asked as {host!r:.80}; if it should be, name it: `amends dashboard "
            "--allow-host NAME`"
        )


def _name_of(host: str) -> str:
    """A host without its port."""
    if host.startswith("["):
        return host.partition("]")[0].removeprefix("[").lower()
    return host.rpartition(":")[0].lower() if ":" in host else host.lower()


def _check_origin(request: Request, origins: frozenset[str]) -> None:
    """A browser says from which page a request comes; a program says nothing."""
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    if origin is not None and origin in origins:
        return
    if site not in (None, "same-origin", "none"):
        raise Foreign("this comes from a page of another site, and is not taken from there")
    if origin is None:
        return
    try:
        parts = urlsplit(origin)
    except ValueError:
        parts = urlsplit("")
    own = parts.netloc and parts.netloc.lower() == request.headers.get("host", "").lower()
    if not own or (request.scope.get("scheme") == "https" and parts.scheme != "https"):
        raise Foreign(
            f"this comes from {origin!r:.80}, another origin than this dashboard's. Behind a proxy that renames the "
            "host say so: `amends dashboard --allow-origin https://NAME`"
        )


async def _body(request: Request, receive: Receive, most: int) -> bytes:
    """The whole body. Raises TooLarge, Malformed."""
    too_large = f"the body is larger than {most:,} bytes"
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > most:
        raise TooLarge(too_large, Connection="close")
    found = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise Malformed("the request ended before its body did")
                found += message.get("body", b"")
                if len(found) > most:
                    raise TooLarge(too_large, Connection="close")
                if not message.get("more_body", False):
                    return bytes(found)
    except TimeoutError:
        raise Malformed(f"the body has not come within {BODY_SECONDS:g} s", Connection="close") from None


def _again(body: bytes, receive: Receive) -> Receive:
    """A body that was read already, and then whatever comes."""
    told = False

    async def given() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return given


def _kind(headers: Headers) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def _check_kind(headers: Headers, body: bytes) -> None:
    """Only what pages of other sites cannot send without asking first, and forms, which carry the token."""
    if body and _kind(headers) not in (FORM, JSON):
        raise Malformed(f"the body is to be {JSON}, or a form's {FORM}; say which in Content-Type")


def _fields(body: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=FIELDS_MAX)
    except ValueError:
        raise Malformed(f"a form may have {FIELDS_MAX} fields at most") from None


def _hold_back(wait: float, what: str) -> None:
    if wait:
        raise TooMuch(f"too many {what}; wait {math.ceil(wait)} s", Retry_After=str(math.ceil(wait)))
