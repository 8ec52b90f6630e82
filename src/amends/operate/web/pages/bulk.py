"""Bulk operations: many sagas repaired by one act. First which and what, then a dry run, then a reason, then it goes.

Guarantees: nothing is done by a link; the sagas that are acted on are those that were looked at, or none.
Must not: act on sagas itself; whoever runs the operation does.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import NamedTuple
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from amends.errors import AmendsError, Changed, IdConflict, LimitExceeded, Refused, ValueRefused
from amends.operate.bulk_values import Bulk, BulkAct, BulkPlan
from amends.operate.operations import Operations
from amends.operate.values import Search
from amends.operate.web.context import desk_of, form_lists_of, person_of, saga_id_of
from amends.operate.web.pages import filters as f
from amends.operate.web.pages.acting import version_of
from amends.operate.web.pages.render import link, live, page
from amends.operate.web.pages.sagas import allowed
from amends.operate.web.problems import Malformed, NotHere, problem_of

SEE_OTHER, CONFLICT = 303, 409
RESULTS = 100
FOLLOWED_MAX = 20
LOOKING = "a look at what it would do"
PER_SECOND = ("5", "20", "100", "500")
WORDS = ("accepted", "refused", "changed", "too late", "gone", "not answered", "")


class Offer(NamedTuple):
    """One verb in bulk. step: it is for one; text: what else it takes; value: what JSON it may take."""

    name: str
    title: str
    what: str
    step: bool = False
    text: str = ""
    value: str = ""
    danger: bool = False


OFFERS: dict[str, Offer] = {
    offer.name: offer
    for offer in (
        Offer("unpark", "Try all that is stuck again", "Everything that is stuck in each is tried again."),
        Offer("retry", "Try one step again", "One step, or its undo, is tried again in each.", step=True),
        Offer(
            "change",
            "Try a step again with other arguments",
            "A new round of it in each, with the arguments that you give, under new keys.",
            True,
            value="Arguments (JSON)",
        ),
        Offer(
            "resolve", "A step was done by hand", "You did it; they go on as if they had.", True, value="Result (JSON)"
        ),
        Offer(
            "signal",
            "Answer what they wait for",
            "A value is sent to what each of them waits for, such as an approval.",
            True,
            value="Answer (JSON)",
        ),
        Offer("skip", "Skip a step", "It is left as it is in each, and counts as settled.", step=True, danger=True),
        Offer("compensate", "Go back and undo", "What each did is undone, the last step first.", danger=True),
        Offer("cancel", "Cancel them", "Each goes back, if it has not passed its point of no return.", danger=True),
        Offer("assign", "Assign them", "Somebody sees to them.", text="Person"),
        Offer("note", "Note something", "A line in the history of each.", text="Note"),
    )
}


class Meant(NamedTuple):
    """Which sagas are meant: those ticked, or all that fit the filters. pairs: as forms and addresses carry them."""

    ids: tuple[str, ...]
    filters: f.Filters

    @property
    def pairs(self) -> f.Pairs:
        """As fields of a form."""
        return tuple(("id", one) for one in self.ids) or self.filters.pairs

    @property
    def targets(self) -> Search | tuple[str, ...]:
        """As operations take them."""
        return self.ids or self.filters.search

    @property
    def words(self) -> str:
        """As a person would say it."""
        if self.ids:
            return "the one that is ticked" if len(self.ids) == 1 else f"the {len(self.ids)} that are ticked"
        return f.in_words(self.filters)


class Form(NamedTuple):
    """What is to be done to them."""

    verb: str = ""
    step: str = ""
    text: str = ""
    value: str = ""
    reason: str = ""
    per_second: str = "20"
    even_if_changed: bool = False
    nothing_stayed: bool = False


async def bulks(request: Request) -> Response:
    """All of them, newest first."""
    desk = await _desk(request)
    found = await desk.bulks(before=request.query_params.get("before"))
    older = link(request, "bulk", before=found.bulks[-1].id) if found.more else ""
    moving = tuple(bulk.id for bulk in found.bulks if not _over(bulk))[:FOLLOWED_MAX]
    return page(
        request,
        "bulks.html",
        current="bulk",
        live=live(request, bulk=moving) if moving else "",
        bulks=[(bulk, title_of(bulk.act)) for bulk in found.bulks],
        older=older,
        offers=OFFERS,
    )


async def new(request: Request) -> Response:
    """Which and what; with a verb, also what would come of it."""
    query = request.query_params
    return await _new(request, _meant(request, query.multi_items()), _form(dict(query)), dry="verb" in query)


async def look(request: Request) -> Response:
    """What would come of it. What goes with it may be somebody's secret, and stands in no address."""
    meant, fields = await _sent(request)
    return await _new(request, meant, _form(fields), dry=True)


async def start(request: Request) -> Response:
    """Begin, if those fit that the person saw."""
    meant, fields = await _sent(request)
    form, seen = _form(fields), fields.get("seen", "")
    if not seen:
        raise Malformed("seen: which sagas were looked at is missing; go by the form")
    desk, id_, actor = await _desk(request), fields.get("message") or None, person_of(request).name
    try:
        act = _act(form, actor)
        if not form.reason:
            raise Refused("a reason is needed; it stands in the history of every one of them for good")
    except (Refused, ValueRefused) as error:
        return await _new(request, meant, form, dry=True, error=error)
    try:
        begun = await desk.bulk_start(act, meant.targets, seen=seen, id=id_, paused=bool(fields.get("paused")))
    except IdConflict:  # the form once more: what it names by age is another instant by now
        begun = await desk.bulk(id_ or "")
        if (begun.act.actor, begun.act.verb, begun.act.step) != (act.actor, act.verb, act.step):
            raise
    except (Refused, Changed, ValueRefused, LimitExceeded) as error:
        return await _new(request, meant, form, dry=True, error=error)
    return RedirectResponse(link(request, "bulk", begun.id), SEE_OTHER)


async def bulk(request: Request) -> Response:
    """One of them: how far it is, and what became of each saga."""
    desk, id_ = await _desk(request), saga_id_of(request)
    found, log = await desk.bulk(id_), await desk.bulk_log(id_)
    word = request.query_params.get("word")
    words = (word,) if word is not None and word in WORDS else ()
    after = request.query_params.get("after", "")
    results = await desk.bulk_results(
        id_, after=int(after) if after.isdecimal() and len(after) < 10 else 0, limit=RESULTS, words=words
    )
    further = link(request, "bulk", id_, word=word, after=results.lines[-1].n) if results.more else ""
    return page(
        request,
        "bulk.html",
        current="bulk",
        live="" if _over(found) else live(request, bulk=id_),
        bulk=found,
        title=title_of(found.act),
        log=log,
        results=results,
        further=further,
        word=word,
        moves=moves_of(found),
        eta=_eta(found),
    )


async def move(request: Request) -> Response:
    """Pause it, resume it or cancel it."""
    lists = await form_lists_of(request)
    fields = {name: values[0] for name, values in lists.items()}
    desk, id_ = await _desk(request), saga_id_of(request)
    moves = {"pause": desk.bulk_pause, "resume": desk.bulk_resume, "cancel": desk.bulk_cancel}
    todo = moves.get(fields.get("move", ""))
    if todo is None:
        raise Malformed(f"move: there are {', '.join(moves)}")
    version, reason = version_of(fields), fields.get("reason", "").strip()
    await todo(id_, actor=person_of(request).name, reason=reason, if_version=version)
    return RedirectResponse(link(request, "bulk", id_), SEE_OTHER)


def moves_of(found: Bulk) -> tuple[tuple[str, str], ...]:
    """What may be done to it, with what it is called."""
    return {
        "counting": (("cancel", "Cancel"),),
        "running": (("pause", "Pause"), ("cancel", "Cancel")),
        "paused": (("resume", "Go on"), ("cancel", "Cancel")),
    }.get(str(found.state), ())


def title_of(act: BulkAct) -> str:
    """What it does, in a few words."""
    offer = OFFERS.get(act.verb if act.arguments is None else "change")
    title = act.verb if offer is None else offer.title
    return f"{title}: {act.step or act.text}" if act.step or act.text else title


async def _new(request: Request, meant: Meant, form: Form, *, dry: bool, error: AmendsError | None = None) -> Response:
    desk = await _desk(request)
    plan: BulkPlan | None = None
    if dry and form.verb:
        try:
            plan = await desk.bulk_plan(_act(form._replace(reason=form.reason or LOOKING), LOOKING), meant.targets)
        except (Refused, ValueRefused, LimitExceeded) as refused:
            error = error or refused
    example = plan.examples[0].step if plan is not None and plan.examples else ""
    step = form.step or meant.filters.first("step") or example
    return page(
        request,
        "bulk_new.html",
        status=200 if error is None else CONFLICT,
        current="bulk",
        meant=meant,
        form=form._replace(step=step),
        offers=OFFERS,
        offer=OFFERS.get(form.verb),
        plan=plan,
        problem=None if error is None else problem_of(error),
        message=uuid4().hex,
        speeds=PER_SECOND,
        back=link(request, "sagas", **_lists(meant.filters.pairs)),
    )


def _act(form: Form, actor: str) -> BulkAct:
    """What is to be done. Raises ValueRefused."""
    offer = OFFERS.get(form.verb)
    if offer is None:
        raise ValueRefused(f"what is to be done to them? There are {', '.join(OFFERS)}")
    value, change = _value(offer, form), form.verb == "change"
    if change and value is None:
        raise ValueRefused(f"{offer.value}: what is to be different is expected")
    return BulkAct(
        "retry" if change else form.verb,
        actor,
        form.reason,
        form.step if offer.step else "",
        None if change else value,
        value if change else None,
        change and form.nothing_stayed,
        form.text if offer.text else "",
        float(form.per_second),
        form.even_if_changed,
    )


def _value(offer: Offer, form: Form) -> bytes | None:
    """What JSON goes with it. Raises ValueRefused."""
    text = form.value.strip()
    if not offer.value or not text:
        return None
    try:
        json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueRefused(f"{offer.value}: that is no JSON ({error})") from None
    return text.encode()


def _form(fields: dict[str, str]) -> Form:
    speed = fields.get("per_second", "")
    return Form(
        fields.get("verb", ""),
        fields.get("on", "").strip(),
        fields.get("text", "").strip(),
        fields.get("value", ""),
        fields.get("reason", "").strip(),
        speed if speed in PER_SECOND else "20",
        bool(fields.get("even_if_changed")),
        bool(fields.get("nothing_stayed")),
    )


async def _sent(request: Request) -> tuple[Meant, dict[str, str]]:
    """Which are meant, and the other fields of a form."""
    lists = await form_lists_of(request)
    meant = _meant(request, [(name, value) for name, values in lists.items() for value in values])
    return meant, {name: values[0] for name, values in lists.items()}


def _meant(request: Request, pairs: Sequence[tuple[str, str]]) -> Meant:
    """Raises Forbidden for a search by what somebody may not read, and Malformed for what would mean more sagas than
    somebody has in mind: a filter that is not understood, and ticks of which there are none."""
    wanted = allowed(f.read(pairs, time.time()), person_of(request))
    ids = tuple(value for name, value in pairs if name == "id")
    if wanted.wrong:
        raise Malformed(f"which sagas are meant? {'; '.join(wanted.wrong)}")
    if not ids and any(name == "ticked" for name, _ in pairs):
        raise Malformed("none is ticked: go back and tick those that are meant")
    return Meant(ids, wanted)


async def _desk(request: Request) -> Operations:
    """Raises NotHere for the home of choreographed sagas, which has none."""
    desk = await desk_of(request)
    if not isinstance(desk, Operations):
        raise NotHere(
            "sagas at the home of a service are repaired one by one; bulk operations are for orchestrated ones"
        )
    return desk


def _over(found: Bulk) -> bool:
    return str(found.state) in ("done", "cancelled")


def _eta(found: Bulk) -> float | None:
    """About how long it still takes."""
    return found.left / found.act.per_second if str(found.state) == "running" and found.left else None


def _lists(pairs: f.Pairs) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found
