"""Acts on one saga: first what it will do, then a reason, then it is done.

A form carries the version of the saga that its reader saw, and an id, so that a second click counts once.

Guarantees: nothing is done by a link; what was refused comes back with why, what was typed, and where the saga stands
now.
Must not: judge what is allowed; whoever decides on the saga answers.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from amends.decide.plan import Payload
from amends.define.secret import MASK
from amends.errors import AmendsError, NotAnswered, Refused, TooLate, UnknownSaga, ValueRefused
from amends.operate.values import Preview, SagaView
from amends.operate.web.context import desk_of, form_of, person_of, saga_id_of
from amends.operate.web.desks import Desk
from amends.operate.web.pages.render import link, page
from amends.operate.web.pages.saga import Typed, half_of, saga_page
from amends.operate.web.pages.verbs import VERBS, Verb, title_of
from amends.operate.web.problems import Malformed, VersionNeeded, problem_of

SEE_OTHER = 303
CONFLICT = 409
Send = Callable[[Desk, str], Awaitable[None]]


class Given(NamedTuple):
    """What a form says. version: of the saga that its reader saw. message: the act's own id."""

    verb: Verb
    step: str
    reason: str = ""
    value: str = ""
    version: int | None = None
    message: str = ""
    nothing_stayed: bool = False

    @property
    def payload(self) -> bytes | None:
        """Its value as it goes with the act. Raises ValueRefused for what is no JSON."""
        text = self.value.strip()
        if not self.verb.value or not text:
            return None
        try:
            json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueRefused(f"{self.verb.value}: that is no JSON ({error})") from None
        return text.encode()


async def ask(request: Request) -> Response:
    """The form: what doing it now would call, and what it needs."""
    given = Given(_verb(request.query_params.get("verb", "")), request.query_params.get("step", ""))
    return await _form(request, given)


async def do(request: Request) -> Response:
    """Do it, and go back to the saga; or show again what was asked, with why it was not done."""
    form = await form_of(request)
    given = Given(
        _verb(form.get("verb", "")),
        form.get("step", ""),
        form.get("reason", "").strip(),
        form.get("value", ""),
        version_of(form),
        form.get("message", ""),
        bool(form.get("nothing_stayed")),
    )
    try:
        if given.verb.reason and not given.reason:
            raise Refused("a reason is needed; it stands in the saga's history for good")
        await act(await desk_of(request), saga_id_of(request), given, person_of(request).name)
    except NotAnswered:
        return _back(request, given, unanswered=1)
    except (Refused, TooLate, ValueRefused) as error:
        return await _form(request, given, error)
    return _back(request, given)


async def assign(request: Request) -> Response:
    """Say who sees to a saga."""
    form, actor = await form_of(request), person_of(request).name
    name = actor if form.get("me") else form.get("person", "").strip()
    reason, version, message = form.get("reason", "").strip(), version_of(form), form.get("message") or None

    async def send(desk: Desk, saga_id: str) -> None:
        await desk.assign(saga_id, name, actor=actor, reason=reason, if_version=version, message=message)

    return await _sent(request, "assign", send, {"person": name, "reason": reason})


async def note(request: Request) -> Response:
    """Keep a note in a saga's history, whatever has happened to it since: a note is about no version."""
    form, actor = await form_of(request), person_of(request).name
    text, message = form.get("note", "").strip(), form.get("message") or None

    async def send(desk: Desk, saga_id: str) -> None:
        if not text:
            raise ValueRefused("a note needs a text")
        await desk.note(saga_id, text, actor=actor, message=message)

    return await _sent(request, "note", send, {"note": text})


async def _sent(request: Request, verb: str, send: Send, typed: Mapping[str, str]) -> Response:
    """Have it done, and go back to the saga; or show the saga with what was typed, and why it was not done."""
    saga_id = saga_id_of(request)
    try:
        await send(await desk_of(request), saga_id)
    except NotAnswered:
        return RedirectResponse(link(request, "sagas", saga_id, acted=verb, unanswered=1), SEE_OTHER)
    except (Refused, TooLate, ValueRefused) as error:
        return await saga_page(request, Typed(error, **typed))
    return RedirectResponse(link(request, "sagas", saga_id, acted=verb), SEE_OTHER)


async def act(desk: Desk, saga_id: str, given: Given, actor: str) -> None:
    """Have it done. Raises Refused, TooLate, NotAnswered, UnknownSaga, ValueRefused."""
    step, reason, value = given.step, given.reason, given.payload
    version, message = given.version, given.message or None
    match given.verb.name:
        case "retry":
            await desk.retry(saga_id, step, actor=actor, reason=reason, if_version=version, message=message)
        case "change":
            if value is None:
                raise ValueRefused("Arguments (JSON): what is to be different is expected")
            await desk.retry(
                saga_id,
                step,
                actor=actor,
                reason=reason,
                arguments=value,
                nothing_stayed=given.nothing_stayed,
                if_version=version,
                message=message,
            )
        case "skip":
            await desk.skip(saga_id, step, actor=actor, reason=reason, if_version=version, message=message)
        case "resolve":
            await desk.resolve(
                saga_id, step, actor=actor, reason=reason, result=value, if_version=version, message=message
            )
        case "compensate":
            await desk.compensate(saga_id, actor=actor, reason=reason, if_version=version, message=message)
        case "unpark":
            await desk.unpark(saga_id, actor=actor, reason=reason, if_version=version, message=message)
        case "cancel":
            await desk.cancel(saga_id, actor=actor, reason=reason, if_version=version, message=message)
        case _:
            if value is None:
                raise ValueRefused("Value (JSON): what it waits for is expected")
            await desk.signal(saga_id, step, value, actor=actor, if_version=version, message=message)


async def _form(request: Request, given: Given, error: AmendsError | None = None) -> Response:
    desk, saga_id = await desk_of(request), saga_id_of(request)
    view = await desk.show(saga_id)
    if given.step and given.verb.name != "signal" and view.plan.node(given.step) is None:
        raise UnknownSaga(f"{saga_id} has no step {given.step!r:.80}")
    preview = await preview_of(desk, view, given)
    problem = None if error is None else problem_of(error)
    return page(
        request,
        "act.html",
        status=200 if problem is None else CONFLICT,
        current="sagas",
        view=view,
        line=view.line,
        verb=given.verb,
        given=given,
        title=title_of(given.verb.name, half_of(view, given.verb.name, given.step)),
        preview=preview,
        value=given.value or _suggested(request, view, given),
        needs_value=_needs_value(view, given),
        message=uuid4().hex,
        problem=problem,
    )


async def preview_of(desk: Desk, view: SagaView, given: Given) -> Preview:
    """What it would do, as far as can be told without its value."""
    name = "retry" if given.verb.name == "change" else given.verb.name
    try:
        value = given.payload
    except ValueRefused:
        value = None
    if value is None and _needs_value(view, given):
        value = b"{}" if name in ("resolve", "signal") else None
    if name == "retry":
        settled = given.nothing_stayed and value is not None
        return await desk.preview(view.line.id, name, given.step, arguments=value, nothing_stayed=settled)
    return await desk.preview(view.line.id, name, given.step, result=value)


def _needs_value(view: SagaView, given: Given) -> bool:
    if given.verb.name in ("change", "signal"):
        return True
    acts = (act for act in view.acts if act.verb == given.verb.name and act.step == given.step)
    return any(act.needs_value for act in acts)


def _suggested(request: Request, view: SagaView, given: Given) -> str:
    """The command that a step was last asked with, to be changed; nothing for who may not read payloads, and nothing of
    which a part is masked: a mask is not to be sent."""
    if given.verb.name != "change" or not person_of(request).payloads:
        return ""
    if view.plan.secrets_in(Payload.COMMAND, given.step):
        return ""
    sent = (line.value for line in reversed(view.history) if line.event == "built" and line.step == given.step)
    command = json.loads(next(sent, None) or b"null")
    text = json.dumps(command, indent=2, ensure_ascii=False) if isinstance(command, dict) else ""
    return "" if json.dumps(MASK) in text else text  # another version of the definition may have marked it


def _back(request: Request, given: Given, **more: object) -> Response:
    there = link(request, "sagas", saga_id_of(request), acted=given.verb.name, on=given.step or None, **more)
    return RedirectResponse(there, SEE_OTHER)


def _verb(name: str) -> Verb:
    if name not in VERBS:
        raise Malformed(f"verb={name!r:.40}: there are {', '.join(VERBS)}")
    return VERBS[name]


def version_of(form: Mapping[str, str]) -> int:
    """The version that whoever sends a form saw. Raises VersionNeeded."""
    text = form.get("version", "")
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise VersionNeeded("version: each form names the one that its reader saw, and this one names none")
    return int(text)
