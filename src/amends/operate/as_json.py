"""Operations' values as JSON data: the shapes that scripts may rely on.

Every shape is written out here by hand, so that renaming something inside amends changes none
of them. Instants are ISO 8601 in UTC; what is not there is null; payloads stand as the JSON that
they are.

Guarantees: fields are added, never renamed or removed.
Must not: hold anything that `docs/reference/cli.md` does not show.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from amends.operate.instants import utc
from amends.operate.services import Keeping
from amends.operate.values import (
    Act,
    Answer,
    Ends,
    Finding,
    Group,
    Lag,
    Line,
    OpenStep,
    Overview,
    Page,
    Preview,
    Pruned,
    SagaLine,
    SagaView,
    SchemaVersion,
    StepLine,
    StuckPage,
    WorkerLine,
)
from amends.run.inbox_upkeep import Sizes

Json = dict[str, Any]


def instant(at: float | None) -> str | None:
    """An instant, to the millisecond."""
    if at is None:
        return None
    return utc(at).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def payload(value: bytes | None) -> Any:
    """A stored payload as data; null where there is none."""
    return None if value is None else msgspec.json.decode(value)


def saga(line: SagaLine) -> Json:
    """A saga in a list."""
    return {
        "id": line.id,
        "saga": line.saga,
        "status": line.status,
        "started_at": instant(line.started_at),
        "changed_at": instant(line.changed_at),
        "due_at": instant(line.due_at),
        "worker": line.worker,
        "reason": line.reason or None,
        "stuck": line.stuck or None,
        "stalled": line.stalled or None,
        "stranded": line.stranded or None,
        "home": line.home or None,
        "silent": line.silent or None,
        "holder": line.holder or None,
        "error_fingerprint": line.fingerprint or None,
        "error_step": line.step or None,
        "state_version": line.version or None,
        "assigned": line.assigned or None,
        "note": line.note or None,
    }


def page(found: Page) -> Json:
    """`amends list`."""
    return {"sagas": [saga(line) for line in found.sagas], "more": found.more, "next": found.next or None}


def groups(found: Iterable[Group]) -> Json:
    """`amends list --group`."""
    return {
        "groups": [
            {
                "fingerprint": group.fingerprint,
                "saga": group.saga,
                "step": group.step or None,
                "reason": group.reason or None,
                "count": group.count,
                "first_at": instant(group.first_at),
                "last_at": instant(group.last_at),
                "example": group.example,
            }
            for group in found
        ]
    }


def workers(found: Iterable[WorkerLine]) -> Json:
    """`amends workers`."""
    return {
        "workers": [
            {
                "worker": line.id,
                "host": line.host,
                "pid": line.pid,
                "started_at": instant(line.started_at),
                "expires_at": instant(line.expires_at),
                "owned": line.owned,
                "sagas": list(line.sagas),
                "alive": line.alive,
            }
            for line in found
        ]
    }


def lag(found: Lag | None) -> Json | None:
    """How far something is behind."""
    return None if found is None else {"lag_seconds": found.lag_seconds, "waiting": found.waiting, "more": found.more}


def ends(found: Ends) -> Json:
    """How many sagas have ended within a span."""
    return {"completed": found.completed, "compensated": found.compensated, "more": found.more}


def overview(found: Overview) -> Json:
    """How all sagas fare."""
    rates = found.rates
    return {
        "at": instant(found.at),
        "open": dict(found.counts),
        "stuck": found.stuck,
        "troubles": {str(trouble): count for trouble, count in found.troubles.items()},
        "troubles_more": found.troubles_more,
        "ended_in_an_hour": ends(found.hour),
        "ended_in_a_day": ends(found.day),
        "per_minute": {
            "since": instant(rates.since),
            "started": list(rates.started),
            "completed": list(rates.completed),
            "compensated": list(rates.compensated),
            "parked": list(rates.parked),
        },
        **groups(found.groups),
        "outbox": lag(found.outbox),
        "timers": lag(found.timers),
        **workers(found.workers),
    }


def stuck(found: StuckPage) -> Json:
    """`amends stuck`."""
    lines = [{**saga(line.saga), "trouble": str(line.trouble), "why": line.why} for line in found.lines]
    return {"sagas": lines, "more": found.more}


def step(line: StepLine) -> Json:
    """One step of a saga."""
    return {
        "step": line.address,
        "kind": line.kind,
        "place": line.place or None,
        "status": line.status,
        "action": line.action,
        "undo": line.undo or None,
        "attempts": line.attempts,
        "undo_attempts": line.undo_attempts,
        "round": line.round,
        "due_at": instant(line.due_at),
        "reason": line.reason or None,
        "result": payload(line.result),
        "items": dict(line.items) or None,
        "contract": line.contract or None,
    }


def history_line(line: Line) -> Json:
    """One line of a history."""
    return {
        "at": instant(line.at),
        "event": line.event,
        "text": line.text,
        "step": line.step or None,
        "phase": str(line.phase) or None,
        "attempt": line.attempt or None,
        "round": line.round or None,
        "worker": line.worker or None,
        "actor": line.actor or None,
        "reason": line.reason or None,
        "value": payload(line.value),
    }


def open_step(entry: OpenStep) -> Json:
    """One unsettled step."""
    return {
        "step": entry.step,
        "action": entry.action,
        "undo": entry.undo or None,
        "reason": entry.reason or None,
    }


def act(found: Act, command: str) -> Json:
    """Something that may be done now, and the command that does it."""
    return {
        "verb": found.verb,
        "step": found.step or None,
        "needs_value": found.needs_value,
        "command": command,
        "effect": found.effect or None,
        "may_change": found.may_change,
    }


def view(found: SagaView, command: Callable[[Act], str]) -> Json:
    """`amends show`."""
    return {
        **saga(found.line),
        "version": found.plan.version or None,
        "fingerprint": found.plan.fingerprint,
        "deadline": instant(found.state.deadline),
        "input": payload(found.input),
        "result": payload(found.result),
        "pivot_passed": found.state.passed,
        "steps": [step(line) for line in found.steps],
        "unsettled": [open_step(entry) for entry in found.unsettled],
        "not_reached": list(found.not_reached),
        "closed": list(found.closed),
        "waiting_mail": found.waiting_mail,
        "history": [history_line(line) for line in found.history],
        "next": [act(entry, command(entry)) for entry in found.acts],
    }


def answer(found: Answer) -> Json:
    """An act that was accepted."""
    return {
        "id": found.id,
        "verb": found.verb,
        "step": found.step or None,
        "answer": "accepted",
        "detail": found.detail or None,
    }


def preview(saga_id: str, found: Preview) -> Json:
    """What an act would do, with `--dry-run`."""
    return {
        "id": saga_id,
        "verb": found.verb,
        "step": found.step or None,
        "answer": "would be accepted" if found.accepted else "would be refused",
        "detail": found.why or None,
        "state_version": found.version,
        "effects": [{**effect._asdict(), "contract": effect.contract or None} for effect in found.effects],
        "status_after": found.status_after,
    }


def outcome(found: SagaView) -> Json:
    """How a saga ended, or where it stands."""
    turned = found.state.turned
    return {
        "id": found.line.id,
        "saga": found.line.saga,
        "status": found.line.status,
        "result": payload(found.result),
        "reason": found.line.reason or None,
        "cause": None if turned is None else turned.cause,
        "step": (None if turned is None else turned.address) or None,
        "unsettled": [open_step(entry) for entry in found.unsettled],
        "not_reached": list(found.not_reached) if found.line.status == "parked" else [],
        "closed": list(found.closed),
    }


def findings(found: Iterable[Finding], worst: str) -> Json:
    """`amends doctor`."""
    return {"worst": worst, "findings": [finding._asdict() for finding in found]}


def outbox(keeping: Keeping, found: Sizes) -> Json:
    """`amends outbox status`."""
    return {"service": keeping.service, "database": keeping.where, **found._asdict()}


def republished(keeping: Keeping, count: int) -> Json:
    """`amends outbox republish`."""
    return {"service": keeping.service, "database": keeping.where, "republished": count}


def pruned(found: Pruned, ended_before: float, *, dry_run: bool) -> Json:
    """`amends prune`."""
    return {
        "pruned": 0 if dry_run else found.pruned,
        "would_prune": found.pruned if dry_run else None,
        "kept": found.kept,
        "ended_before": instant(ended_before),
    }


def schema(found: SchemaVersion, database: str, applied: int | None) -> Json:
    """`amends db`."""
    shape: Json = {
        "database": database,
        "version": found.version,
        "floor": found.floor,
        "code": found.code,
        "fits": found.fits,
    }
    return shape if applied is None else {**shape, "applied": applied}


def text(data: object) -> str:
    """JSON text that no terminal takes for anything else: every character beyond ASCII is written out."""
    return json.dumps(data, indent=2, ensure_ascii=True).replace("\x7f", "\\u007f")
