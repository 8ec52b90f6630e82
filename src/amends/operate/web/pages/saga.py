"""The page of one saga: where it stands and why, its flow, its times, its steps, what happened, and what may be done.

Guarantees: the whole page is of one reading; payloads are shown to those who may read them.
Must not: act.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from uuid import uuid4

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from amends.decide.plan import Plan
from amends.decide.state import State
from amends.define.secret import MASK
from amends.errors import AmendsError
from amends.operate.drawing_svg import flow_svg
from amends.operate.timeline_svg import timeline_svg
from amends.operate.values import Act, Line, SagaView, StepLine
from amends.operate.web.access import Person
from amends.operate.web.context import desk_of, person_of, saga_id_of
from amends.operate.web.pages import telling
from amends.operate.web.pages.payloads import Shown, shown
from amends.operate.web.pages.render import link, live, page
from amends.operate.web.pages.verbs import VERBS, title_of
from amends.operate.web.pages.words import Mark, day
from amends.operate.web.problems import Forbidden, problem_of

HISTORY_LINES = 200
STEP_LINES = 100
ACT_LINES = 24
CONFLICT = 409
FITS_WIDTH = 1150.0
_MASK = json.dumps(MASK).encode()
_WIDTH = re.compile(r'<svg[^>]* width="([0-9.]+)"')
ORDER = tuple(VERBS)
DONE = {"assign": "It is assigned.", "note": "The note is kept."}


class Step(NamedTuple):
    """One step in the table. extra: what its details open."""

    line: StepLine
    result: Shown | None
    kind: str


class Told(NamedTuple):
    """One line of the history. newday: the date, where a day begins with it."""

    line: Line
    tone: str
    value: Shown | None
    newday: str


class Typed(NamedTuple):
    """What somebody typed into the forms of this page, and why it was not done. person: None where that was not
    changed."""

    error: AmendsError
    person: str | None = None
    reason: str = ""
    note: str = ""


class Button(NamedTuple):
    """One act that the saga's state allows."""

    act: Act
    title: str
    button: str
    effect: str
    link: str
    danger: bool


async def saga(request: Request) -> Response:
    """The page."""
    return await saga_page(request)


async def saga_page(request: Request, typed: Typed | None = None) -> Response:
    """The page; with what was typed, where that was not done. What is marked as secret is shown to who may read
    payloads and asks for it, once: such a page does not follow the saga. Raises UnknownSaga, Forbidden."""
    now, person, saga_id, revealed = time.time(), person_of(request), saga_id_of(request), reveals(request)
    view = await (await desk_of(request)).show(saga_id, reveal=revealed, reader=person.name)
    everything = "all" in request.query_params
    steps = view.steps if everything else _standing_out(view.steps)
    return page(
        request,
        "saga.html",
        status=200 if typed is None else CONFLICT,
        current="sagas",
        live="" if revealed or typed else live(request, saga=saga_id),
        revealed=revealed,
        masked=person.payloads and not revealed and is_masked(view),
        typed=typed,
        problem=None if typed is None else problem_of(typed.error),
        view=view,
        line=view.line,
        stand=telling.stand(view, now),
        unsettled=[(entry.step, telling.unsettled(entry)) for entry in view.unsettled],
        flow=drawn(view.plan, view.state, view.steps),
        times=timed(view, now),
        steps=[Step(step, shown(step.result, person), _kind(step)) for step in steps],
        steps_left=len(view.steps) - len(steps),
        input=shown(view.input, person),
        result=shown(view.result, person) if view.line.status == "completed" else None,
        history=tuple(told(view.history if everything else view.history[-HISTORY_LINES:], person)),
        history_left=0 if everything else max(len(view.history) - HISTORY_LINES, 0),
        buttons=buttons(request, view),
        message=uuid4().hex,
        flash=flash(request, view),
        lasted=(view.line.changed_at if view.state.ended else now) - view.line.started_at,
    )


def reveals(request: Request) -> bool:
    """Whether marked fields are to be shown. Raises Forbidden."""
    wanted = "reveal" in request.query_params
    if wanted and not person_of(request).payloads:
        raise Forbidden("to reveal what is marked as secret takes the right to read payloads")
    return wanted


def is_masked(view: SagaView) -> bool:
    """Whether something in it is marked, and so not shown."""
    payloads = (view.input, view.result, *(step.result for step in view.steps), *(line.value for line in view.history))
    return any(_MASK in payload for payload in payloads if payload)


def drawn(plan: Plan, state: State | None = None, steps: Sequence[StepLine] = ()) -> tuple[Markup, Markup, bool]:
    """The flow, for wide screens and for narrow ones; and whether it is so wide that it is scrolled, not shrunk."""
    wide = flow_svg(plan, state, steps)
    narrow = flow_svg(plan, state, steps, narrow=True)
    width = _WIDTH.search(wide)
    long = width is not None and float(width[1]) > FITS_WIDTH
    return Markup(wide), Markup(narrow), long  # noqa: S704  # drawings escape what they are given


def timed(view: SagaView, now: float) -> tuple[Markup, Markup]:
    """The timeline, likewise."""
    return Markup(timeline_svg(view, now)), Markup(timeline_svg(view, now, narrow=True))  # noqa: S704  # likewise


def told(lines: Sequence[Line], person: Person) -> Iterator[Told]:
    """The history, with the days that begin in it."""
    last = ""
    for line in lines:
        today = day(line.at)
        yield Told(line, _tone(line), shown(line.value, person), today if today != last else "")
        last = today


def buttons(request: Request, view: SagaView) -> list[Button]:
    """What the saga's state allows, the mildest first; to unpark is to retry, where one step is stuck."""
    only = sum(act.verb == "retry" for act in view.acts) == 1
    acts = [act for act in view.acts if act.verb in VERBS and not (only and act.verb == "unpark")][:ACT_LINES]
    changes = [act._replace(verb="change", effect="") for act in acts if act.may_change]
    return [_button(request, view, act) for act in sorted([*acts, *changes], key=lambda act: ORDER.index(act.verb))]


def _button(request: Request, view: SagaView, act: Act) -> Button:
    verb = VERBS[act.verb]
    half = half_of(view, act.verb, act.step)
    there = link(request, "sagas", view.line.id, "act", verb=act.verb, step=act.step or None)
    return Button(act, title_of(act.verb, half), verb.button, act.effect or verb.what, there, verb.danger)


def half_of(view: SagaView, verb: str, step: str) -> str:
    """What an act is about: a step, or its undo, in words."""
    undo = bool(step) and verb != "signal" and view.state.step(step).undo is not None
    return f"the undo of {step}" if undo else step


def flash(request: Request, view: SagaView) -> Mark | None:
    """What was just done, as the address says it: a known verb and a step that there is, in our own words; an address
    may come from anywhere."""
    verb = request.query_params.get("acted", "")
    if verb not in VERBS and verb not in DONE:
        return None
    if "unanswered" in request.query_params:
        return Mark(
            "No worker has answered yet. What you asked is kept, and is answered when one comes.", "waiting", "clock"
        )
    if verb in DONE:
        return Mark(DONE[verb], "good", "check")
    step = request.query_params.get("on", "")
    about = half_of(view, verb, step) if view.plan.node(step) is not None else ""
    return Mark(f"Accepted: {title_of(verb, about)}.", "good", "check")


def _standing_out(steps: Sequence[StepLine]) -> Sequence[StepLine]:
    """Of very many steps, those that are not simply done or to come."""
    if len(steps) <= STEP_LINES:
        return steps
    return [step for step in steps if step.status not in ("pending", "succeeded", "skipped")][:STEP_LINES]


def _kind(step: StepLine) -> str:
    words = {"step": "", "each": "for each", "when": "condition"}
    kind = words.get(step.kind, step.kind)
    return kind or {"pivot": "pivot", "after": "after the pivot"}.get(step.place, "step")


def _tone(line: Line) -> str:
    return {"good": "tone-good", "bad": "tone-bad", "person": "tone-waiting person"}.get(line.tone, "")
