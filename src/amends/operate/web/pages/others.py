"""The smaller pages: workers, definitions, logging in and out, and what went wrong.

Guarantees: a page that tells of an error says what to do next; nobody is told why a token is wrong.
Must not: show a payload.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from amends.decide.plan import Plan, StepNode, walk
from amends.errors import UnknownSaga
from amends.operate.drawing import kind_of, lasting
from amends.operate.operations import Operations
from amends.operate.web.access import known_of
from amends.operate.web.context import desk_of, form_of, next_of, web_of
from amends.operate.web.desks import Desk
from amends.operate.web.pages.render import link, live, page
from amends.operate.web.pages.saga import drawn
from amends.operate.web.plans import PlanLine, plans_of
from amends.operate.web.problems import Problem

SEE_OTHER, UNAUTHORIZED = 303, 401
WRONG = "That token is not known here."
NEXT_STEPS: dict[str, str] = {
    "unknown-saga": "Look whether it is written as your application gave it. One that ended long ago may be pruned.",
    "unknown-bulk": "The list of bulk operations has all that there are.",
    "no-such-page": "The address may be from an older version; the pages are in the bar above.",
    "forbidden": "Ask an admin of this dashboard for a token with another role.",
    "foreign": "Load the page anew and send the form from there.",
    "version-needed": "Load the page anew and send the form from there.",
    "changed": "Go back and look again: the page you saw is older than the saga.",
    "too-late": "Go back and look again: the saga has moved on.",
    "refused": "Go back and look at what may be done now.",
    "too-much": "Wait a moment, then try again.",
    "busy": "Wait a moment, then load the page again.",
    "not-answered": "See under Workers whether one is alive. What was asked is kept.",
    "store-unavailable": "See whether the database runs, then load the page again. Nothing was lost.",
    "schema-mismatch": "Run `amends db version` to see which version it has, and `amends db upgrade` to bring it up.",
    "unforeseen": "Load the page again. If it stays so, the dashboard's log says what happened.",
}


class Step(NamedTuple):
    """One step of a definition, in words."""

    name: str
    kind: str
    contract: str
    undo: str
    retry: str
    timeout: str


class Definition(NamedTuple):
    """The stored forms of one saga. versions: newest first."""

    name: str
    versions: tuple[PlanLine, ...]


async def workers(request: Request) -> Response:
    """Who works, with what, until when."""
    desk = await desk_of(request)
    found = await desk.workers() if isinstance(desk, Operations) else ()
    return page(
        request,
        "workers.html",
        current="workers",
        current_part="workers",
        live=live(request, about="overview"),
        workers=found,
        alive=sum(worker.alive for worker in found),
        choreographed=not isinstance(desk, Operations),
    )


async def definitions(request: Request) -> Response:
    """What sagas there are."""
    lines = await plans_of(await desk_of(request))
    return page(
        request, "definitions.html", current="definitions", current_part="definitions", definitions=grouped(lines)
    )


async def definition(request: Request) -> Response:
    """One of them: its flow, and its steps."""
    desk, name = await desk_of(request), str(request.path_params["name"])
    plan = await _plan(desk, name)
    versions = next((found.versions for found in grouped(await plans_of(desk)) if found.name == name), ())
    return page(
        request,
        "definition.html",
        current="definitions",
        plan=plan,
        versions=versions,
        flow=drawn(plan),
        steps=steps_of(plan),
        deadline="" if plan.deadline is None else lasting(plan.deadline),
    )


async def login(request: Request) -> Response:
    """The door."""
    if known_of(request) is not None:
        return RedirectResponse(link(request, "", at=None), SEE_OTHER)
    wrong = WRONG if "wrong" in request.query_params else ""
    return _door(request, request.query_params.get("next", ""), wrong)


async def log_in(request: Request) -> Response:
    """Open it, to a token."""
    form, access = await form_of(request), web_of(request).access
    token = access.by_text(form.get("token", "").strip())
    if token is None:
        return _door(request, form.get("next", ""), WRONG, UNAUTHORIZED)
    answer = RedirectResponse(next_of(form.get("next", ""), request), SEE_OTHER)
    access.cookie_on(request, answer, token)
    return answer


async def log_out(request: Request) -> Response:
    """Close it."""
    answer = RedirectResponse(link(request, "login"), SEE_OTHER)
    web_of(request).access.cookie_off(request, answer)
    return answer


def problem_page(request: Request, problem: Problem) -> Response:
    """What went wrong, as a page; whoever is not known is led to the door."""
    if problem.status == UNAUTHORIZED and web_of(request).access.has_login:
        query = f"?{request.url.query}" if request.url.query else ""
        wanted = f"{request.url.path}{query}" if request.method == "GET" else None
        return RedirectResponse(link(request, "login", next=wanted, at=None), SEE_OTHER)
    given = page(
        request,
        "problem.html",
        status=problem.status,
        problem=problem,
        todo=NEXT_STEPS.get(problem.code, "Go back and look again."),
    )
    for name, value in problem.headers:
        given.headers[name] = value
    return given


def grouped(lines: Sequence[PlanLine]) -> tuple[Definition, ...]:
    """Definitions by name, the newest form of each first."""
    found: dict[str, list[PlanLine]] = {}
    for line in lines:
        found.setdefault(line.name, []).insert(0, line)
    return tuple(Definition(name, tuple(found[name])) for name in sorted(found))


def steps_of(plan: Plan) -> tuple[Step, ...]:
    """Its steps in flow order."""
    nodes = [getattr(node, "step", node) for node in walk(plan.root)]
    return tuple(_step(node) for node in nodes if isinstance(node, StepNode))


def _step(node: StepNode) -> Step:
    attempts = "without end" if node.retry.attempts is None else f"{node.retry.attempts} at most"
    undo = "none: it changes nothing" if node.readonly else "yes" if node.compensated else "none"
    return Step(node.address, kind_of(node), node.command, undo, attempts, lasting(node.timeout))


async def _plan(desk: Desk, name: str) -> Plan:
    """The newest form of a definition. Raises UnknownSaga."""
    if isinstance(desk, Operations):
        return await desk.plan(name)
    found = next((plan for plan in reversed(desk.plans()) if plan.name == name), None)
    if found is None:
        raise UnknownSaga(f"no saga that {desk.service} knows is called {name!r:.80}")
    return found


def _door(request: Request, following: str, wrong: str, status: int = 200) -> HTMLResponse:
    return page(request, "login.html", status=status, following=following, wrong=wrong)
