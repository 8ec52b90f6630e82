"""What went wrong, as RFC 9457 has it: `application/problem+json`, with the stable code of the error.

Guarantees: each error of amends has one status; what is unforeseen says nothing of itself and stands in the log.
Must not: decide what is an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.responses import Response

from amends import errors
from amends.errors import AmendsError

MEDIA = "application/problem+json"


class WebError(AmendsError):
    """A request that is refused before any saga is asked. status: of HTTP. headers: that belong to it."""

    status = 400
    title = "The request cannot be taken"

    def __init__(self, text: str, **headers: str) -> None:
        super().__init__(text)
        self.headers: dict[str, str] = {name.replace("_", "-"): value for name, value in headers.items()}


class Malformed(WebError):
    """Written wrongly: no JSON, a field that is not there, a value of another kind."""

    code = "malformed"
    title = "The request is written wrongly"


class Unknown(WebError):
    """Nobody is known by what the request carries."""

    code = "unauthenticated"
    status = 401
    title = "Nobody is known by this request"

    def __init__(self, text: str, **headers: str) -> None:
        super().__init__(text, **{"WWW-Authenticate": 'Bearer realm="amends"', **headers})


class Forbidden(WebError):
    """Whoever asks is known and may not."""

    code = "forbidden"
    status = 403
    title = "That is not allowed to you"


class Foreign(WebError):
    """A request that another site may have made, or for another host."""

    code = "foreign"
    status = 403
    title = "The request does not come from here"


class NotHere(WebError):
    """What is asked is not to be had of this kind of place."""

    code = "not-here"
    status = 501
    title = "That is not to be had here"


class TooMuch(WebError):
    """More than is taken at once, or in this time."""

    code = "too-much"
    status = 429
    title = "Too much at once"


class TooLarge(WebError):
    """A body over the limit."""

    code = "too-large"
    status = 413
    title = "The request is too large"


class Busy(WebError):
    """As many requests are in work as are taken at once."""

    code = "busy"
    status = 503
    title = "Too busy just now"


class VersionNeeded(WebError):
    """An act that does not say which version of the saga it means."""

    code = "version-needed"
    status = 428
    title = "Say which version you looked at"


@dataclass(frozen=True, slots=True)
class Problem:
    """One error, told. code: stable, of `errors.py` or of here."""

    status: int
    code: str
    title: str
    detail: str
    headers: tuple[tuple[str, str], ...] = ()

    def data(self) -> dict[str, Any]:
        """As its JSON has it."""
        return {
            "type": f"urn:amends:error:{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
        }


_TABLE: tuple[tuple[type[AmendsError], int, str], ...] = (
    (errors.UnknownSaga, 404, "There is no such saga"),
    (errors.UnknownBulk, 404, "There is no such bulk operation"),
    (errors.IdConflict, 409, "The id belongs to something else"),
    (errors.TooLate, 409, "It is too late for that"),
    (errors.Refused, 409, "The saga does not allow that now"),
    (errors.LimitExceeded, 422, "Over a limit"),
    (errors.ValueRefused, 422, "The value cannot be taken"),
    (errors.DefinitionError, 422, "Written wrongly"),
    (errors.NotAnswered, 504, "No worker has answered yet; what was asked is kept"),
    (errors.NotRunning, 503, "Not running"),
    (errors.StoreUnavailable, 503, "The database cannot be reached"),
    (errors.StoreError, 500, "Something is wrong with the database"),
    (errors.TransportError, 503, "Something is wrong with the broker"),
)


def problem_of(error: AmendsError) -> Problem:
    """How an error is told."""
    if isinstance(error, WebError):
        return Problem(error.status, error.code, error.title, str(error), tuple(error.headers.items()))
    if error.code == "changed":
        return Problem(412, error.code, "The saga has moved on since you looked", str(error))
    for kind, status, title in _TABLE:
        if isinstance(error, kind):
            return Problem(status, error.code, title, str(error))
    return Problem(500, error.code, "That was not expected", str(error))


def problem_response(problem: Problem) -> Response:
    """The answer to whoever asked for JSON."""
    return Response(msgspec.json.encode(problem.data()), problem.status, dict(problem.headers), MEDIA)
