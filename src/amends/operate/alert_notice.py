"""What an alert says: what is stuck that was not, and what no longer is.

Guarantees: pure; a notice is bounded, however much is stuck; equal lists of what is stuck give no notice.
Must not: send, or read a clock.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import quote

from amends.operate.instants import utc
from amends.operate.values import StuckLine, StuckPage

LISTED_MAX = 20
REASON_CHARACTERS_MAX = 300
KNOWN_MAX = 5000  # sagas whose standing is kept
TYPE = "amends.stuck.changed"


class Pending(NamedTuple):
    """A notice that is not known to have arrived. known: what is known once it has."""

    id: str
    body: str
    known: dict[str, str]


@dataclass(frozen=True)
class Position:
    """How far the webhook was told. known: what is stuck, by the saga's id: its trouble and its fingerprint."""

    known: Mapping[str, str] = field(default_factory=dict)
    pending: Pending | None = None

    def json(self) -> str:
        """As it is kept."""
        pending = None if self.pending is None else self.pending._asdict()
        return json.dumps({"known": dict(self.known), "pending": pending}, ensure_ascii=True)


def position_of(text: str) -> Position:
    """What was kept. Raises ValueError for what is none."""
    try:
        read = json.loads(text)
        known = {str(key): str(value) for key, value in read["known"].items()}
        found = read["pending"]
        if found is None:
            return Position(known)
        after = {str(key): str(value) for key, value in found["known"].items()}
        return Position(known, Pending(str(found["id"]), str(found["body"]), after))
    except (AttributeError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"that is no position of an alert ({type(error).__name__})") from None


class Pages(NamedTuple):
    """A dashboard on which these sagas are shown. url: of its overview. at: the service whose choreographed sagas they
    are."""

    url: str
    at: str = ""

    def link(self, *parts: str) -> str:
        """The address of one of its pages."""
        path = "/".join([self.url.rstrip("/"), *(quote(part, safe="") for part in parts)])
        return f"{path}?at={quote(self.at, safe='')}" if self.at else path


class Change(NamedTuple):
    """What differs. new: stuck now, or stuck otherwise. settled: no longer stuck; empty where not all was seen."""

    new: tuple[StuckLine, ...]
    settled: tuple[str, ...]
    known: dict[str, str]

    def __bool__(self) -> bool:
        return bool(self.new or self.settled)


def standing(line: StuckLine) -> str:
    """What is kept of one: told again only if this changes."""
    return f"{line.trouble} {line.saga.fingerprint}".rstrip()


def compare(known: Mapping[str, str], page: StuckPage) -> Change:
    """What is stuck now beside what was told. A page that has more behind it says of no saga that it is settled."""
    now = {line.saga.id: standing(line) for line in page.lines}
    new = tuple(line for line in page.lines if known.get(line.saga.id) != standing(line))
    gone = () if page.more else tuple(sorted(known.keys() - now.keys()))
    kept = {**known, **now} if page.more else now
    return Change(new, gone, dict(list(kept.items())[-KNOWN_MAX:]))


def notice(
    change: Change, page: StuckPage, at: float, place: str, *, reasons: bool = True, pages: Pages | None = None
) -> bytes:
    """The body: JSON, bounded. place: where these sagas are, for people. reasons: whether it says why; a reason is a
    text of the services', and may name what should stay in the house. pages: where whoever reads it can look."""
    data = {
        "place": place,
        **({} if pages is None else {"link": pages.link("stuck")}),
        "stuck": len(page.lines),
        "more": page.more,
        "new": [_saga(line, reasons=reasons, pages=pages) for line in change.new[:LISTED_MAX]],
        "new_total": len(change.new),
        "settled": list(change.settled[:LISTED_MAX]),
        "settled_total": len(change.settled),
        "groups": _groups(page.lines),
    }
    said = {"type": TYPE, "timestamp": _instant(at), "data": data}
    return json.dumps(said, ensure_ascii=True, separators=(",", ":")).encode()


def _saga(line: StuckLine, *, reasons: bool, pages: Pages | None) -> dict[str, str]:
    made = {
        "id": line.saga.id,
        "saga": line.saga.saga,
        "trouble": str(line.trouble),
        "since": _instant(line.saga.changed_at),
        "step": line.saga.step,
        "fingerprint": line.saga.fingerprint,
        "assigned": line.saga.assigned,
    }
    if reasons:
        why = line.why
        made["why"] = why if len(why) <= REASON_CHARACTERS_MAX else why[: REASON_CHARACTERS_MAX - 1] + "…"
    if pages is not None:
        made["link"] = pages.link("sagas", line.saga.id)
    return made


def _groups(lines: Sequence[StuckLine]) -> list[dict[str, object]]:
    """What is stuck now, by what went wrong, the most first."""
    counts = Counter((str(line.trouble), line.saga.saga, line.saga.fingerprint) for line in lines)
    example = {(str(line.trouble), line.saga.saga, line.saga.fingerprint): line.saga.id for line in reversed(lines)}
    return [
        {"trouble": key[0], "saga": key[1], "fingerprint": key[2], "count": count, "example": example[key]}
        for key, count in counts.most_common(LISTED_MAX)
    ]


def summary(change: Change) -> str:
    """In a few words, for a log."""
    counts: Iterable[str] = (
        f"{len(sagas)} {word}" for word, sagas in (("new", change.new), ("settled", change.settled)) if sagas
    )
    return ", ".join(counts)


def _instant(at: float) -> str:
    return utc(at).isoformat(timespec="milliseconds").replace("+00:00", "Z")
