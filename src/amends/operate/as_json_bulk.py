"""Bulk operations as JSON data: the shapes that scripts may rely on, as those in `as_json.py`.

Guarantees: fields are added, never renamed or removed; what was given as a result or as arguments is not shown, as it
may be somebody's secret.
Must not: hold anything that `docs/guides/repair-in-bulk.md` does not show.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from amends.define.secret import MASK
from amends.operate.as_json import Json, instant, saga
from amends.operate.bulk_values import Bulk, BulkLine, BulkOutcome, BulkPage, BulkPlan, BulkResult, BulkResults
from amends.operate.values import Search

_INSTANTS = ("started_after", "started_before", "changed_before")


def search(wanted: Search | None) -> Json | None:
    """What was looked for: only what was given."""
    if wanted is None:
        return None
    found: Json = {name: value for name, value in asdict(wanted).items() if value not in ((), "", False, None)}
    if wanted.assigned == "":
        found["assigned"] = ""  # to nobody
    shown: dict[str, Any] = {name: _plain(value) for name, value in found.items() if name not in _INSTANTS}
    return shown | {name: instant(found[name]) for name in _INSTANTS if name in found}


def bulk(found: Bulk, *, hidden: bool = False) -> Json:
    """One bulk operation. hidden: without the values of inputs that were looked for, for who may not read payloads."""
    act, looked_for = found.act, search(found.search)
    if hidden and looked_for is not None and "input" in looked_for:
        looked_for["input"] = [[field, MASK] for field, _ in looked_for["input"]]
    return {
        "id": found.id,
        "verb": act.verb,
        "step": act.step or None,
        "text": act.text or None,
        "has_result": act.result is not None,
        "has_arguments": act.arguments is not None,
        "nothing_stayed": act.nothing_stayed,
        "search": looked_for,
        "actor": act.actor,
        "reason": act.reason or None,
        "per_second": act.per_second,
        "even_if_changed": act.even_if_changed,
        "state": str(found.state),
        "total": found.total,
        "done": found.done,
        "refused": found.refused,
        "failed": found.failed,
        "left": found.left,
        "created_at": instant(found.created_at),
        "changed_at": instant(found.changed_at),
        "version": found.version,
        "runner": found.runner,
    }


def bulk_page(found: BulkPage, *, hidden: bool = False) -> Json:
    """Some bulk operations."""
    return {"bulks": [bulk(one, hidden=hidden) for one in found.bulks], "more": found.more}


def outcome(found: BulkOutcome) -> Json:
    """What would come of it, for some of them."""
    return {
        "accepted": found.accepted,
        "why": found.why or None,
        "count": found.count,
        "example": found.example,
        "effects": [
            {"step": effect.step, "phase": effect.phase, "what": effect.what, "contract": effect.contract or None}
            for effect in found.effects
        ],
        "status_after": found.status_after or None,
    }


def bulk_plan(found: BulkPlan) -> Json:
    """A dry run."""
    return {
        "verb": found.verb,
        "step": found.step or None,
        "total": found.total,
        "more": found.more,
        "previewed": found.previewed,
        "outcomes": [outcome(one) for one in found.outcomes],
        "examples": [saga(line) for line in found.examples],
        "digest": found.digest,
    }


def bulk_result(found: BulkResult) -> Json:
    """What became of one saga."""
    return {
        "n": found.n,
        "saga": found.saga,
        "sequence": found.version,
        "result": found.word or None,
        "detail": found.detail or None,
        "at": instant(found.at),
    }


def bulk_results(found: BulkResults) -> Json:
    """What became of some."""
    return {"results": [bulk_result(line) for line in found.lines], "more": found.more}


def bulk_log(found: tuple[BulkLine, ...]) -> list[Json]:
    """What happened to it."""
    return [
        {
            "version": line.version,
            "at": instant(line.at),
            "move": line.move,
            "actor": line.actor,
            "reason": line.reason or None,
        }
        for line in found
    ]


def _plain(value: Any) -> Any:
    return (
        [_plain(one) for one in value] if isinstance(value, tuple) else value if isinstance(value, bool) else str(value)
    )
