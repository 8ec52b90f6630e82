"""How errors are answered: as problem+json, or as a page to whoever looks with a browser.

Guarantees: whatever is raised behind it is answered here; what is unforeseen tells nothing of itself.
Must not: answer anything that went well.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from http import HTTPStatus
from importlib import import_module
from importlib.util import find_spec

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from amends.errors import AmendsError
from amends.operate.web.problems import Problem, problem_of, problem_response

PAGES = "amends.operate.web.pages"
UNFORESEEN = Problem(
    500,
    "unforeseen",
    "That was not expected",
    "something went wrong that nobody foresaw; the dashboard's log says what",
)
_log = logging.getLogger("amends.web")
ProblemPage = Callable[[Request, Problem], Response]


def refused(request: Request, error: Exception) -> Response:
    """The answer to a request that ended with an error of amends."""
    if not isinstance(error, AmendsError):
        return unforeseen(request, error)
    problem = problem_of(error)
    if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.warning("%s %s: %s", request.method, request.scope["path"], error)
    return answer(request, problem)


def failed(request: Request, error: Exception) -> Response:
    """The answer where no route fits, or none with this method."""
    if not isinstance(error, HTTPException):
        return unforeseen(request, error)
    status = HTTPStatus(error.status_code)
    code = {404: "no-such-page", 405: "method"}.get(error.status_code, "refused")
    told = {404: "there is nothing under this address", 405: f"{request.method} is not what this address takes"}
    detail = told.get(error.status_code, status.phrase)
    return answer(request, Problem(status, code, status.phrase, detail, tuple((error.headers or {}).items())))


def unforeseen(request: Request, error: Exception) -> Response:
    """The answer where something broke."""
    _log.error("%s %s: unforeseen", request.method, request.scope["path"], exc_info=error)
    return answer(request, UNFORESEEN)


def answer(request: Request, problem: Problem) -> Response:
    """A problem, for whoever asked."""
    page = _problem_page() if wants_page(request) else None
    return problem_response(problem) if page is None else page(request, problem)


def wants_page(request: Request) -> bool:
    """Whether a browser shows the answer to somebody."""
    return not is_api(request) and "text/html" in request.headers.get("accept", "")


def is_api(request: Request) -> bool:
    """Whether the HTTP API was asked."""
    path, root = str(request.scope["path"]), str(request.scope.get("root_path", ""))
    return path.removeprefix(root).startswith("/api/")


@cache
def _problem_page() -> ProblemPage | None:
    if not has_pages():
        return None
    found: ProblemPage = import_module(PAGES).problem_page
    return found


@cache
def has_pages() -> bool:
    """Whether the pages can be shown: they need Jinja."""
    return find_spec(PAGES) is not None and find_spec("jinja2") is not None
