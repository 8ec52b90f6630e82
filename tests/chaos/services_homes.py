"""What homes and the watcher of choreographed sagas say in the end, and what holds between them.

What it is: beside the rules of `services_check.py`, those of sagas with nobody in the middle: a saga is there if and
only if the transaction that started it was committed, and the watcher tells nothing that its home does not.
Guarantees: trusts homes only where they are what is accused.
Must not: excuse.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import psycopg
from services_books import placed
from services_check import ENDS
from services_shop import WATCHING
from services_yard import Yard

from amends.decide.state import ENDED, State, Status
from amends.run.journey import rows_of, state_of_text

_HOMES = "SELECT key, plan, stand, history, at FROM amends.home"
_WATCHED = """
SELECT s.key, s.status, array_agg(j.row ORDER BY j.seq) FROM amends.saga s
JOIN amends.journal j ON (j.ns, j.saga) = (s.ns, s.id) GROUP BY s.key, s.status
"""
_LATEST = """
SELECT coalesce(max(due) - extract(epoch FROM clock_timestamp()), 0) FROM amends.home WHERE stand <> 'ended'
"""
_REVIVED = "SELECT count(*) FROM amends.home WHERE tries > 0"
SETTLED_SECONDS = 10.0  # after a broker was harmed, or a watcher began, what was under way has come or is lost


class Open(NamedTuple):
    """A step that a person is to settle."""

    step: str
    reason: str


class HomeLine(NamedTuple):
    """A saga in short. status: what its history comes to, or `running` while its home has not heard of its end."""

    status: str
    saga: str
    worker: int | None = None


class HomeView(NamedTuple):
    """What its home knows of a saga. at: when that was last told."""

    line: HomeLine
    input: bytes
    unsettled: tuple[Open, ...]
    state: State
    rows: tuple[bytes, ...]
    at: float


def homes_of(url: str) -> dict[str, HomeView]:
    """All sagas that began there."""
    with psycopg.connect(url, autocommit=True) as connection:
        return {row[0]: _view(*row[1:]) for row in connection.execute(_HOMES).fetchall()}


def _view(plan: str, stand: str, history: str, at: float) -> HomeView:
    state = state_of_text(history)
    rests = state.status in ENDED or state.status is Status.PARKED
    status = str(state.status) if rests and stand in ("ended", "parked") else f"{stand} ({state.status})"
    parked = state.status is Status.PARKED
    unsettled = tuple(Open(address, state.parked) for address in state.steps) if parked else ()
    return HomeView(HomeLine(status, plan), state.input, unsettled, state, tuple(rows_of(history.encode())), at)


def revived_at(url: str) -> int:
    """How many were sent again from their beginning, as nothing was heard of them."""
    return int(_number(url, _REVIVED))


def longest_wait(url: str) -> float:
    """In how many seconds the last of those that are open is sent again from its beginning: the longer nothing was
    heard of one, the later that is."""
    return max(_number(url, _LATEST), 0.0)


def _number(url: str, query: str) -> float:
    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute(query.encode()).fetchone()
        return 0.0 if found is None else float(found[0])


class Watched(NamedTuple):
    """What the watcher has of a saga."""

    status: str
    rows: tuple[bytes, ...]


def watched_at(url: str) -> dict[str, Watched]:
    """All that it has."""
    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute(_WATCHED).fetchall()
        return {key: Watched(status, tuple(map(str.encode, rows))) for key, status, rows in found}


def check_homes(
    sagas: Mapping[str, HomeView], told: Sequence[Mapping[str, Any]], placed: Mapping[str, int]
) -> Iterator[str]:
    """H1: a saga is there if and only if its transaction was committed. H2: where it is parked, somebody says why."""
    rolled_back = {line["id"] for line in told if line["what"] == "rolled back"}
    for name in sorted(set(placed) - set(sagas)):
        yield f"H1 {name}: its order was placed, and it does not exist"
    for name in sorted(set(sagas) - set(placed)):
        yield f"H1 {name}: it exists, and its order was not placed"
    for name in sorted(rolled_back & set(sagas)):
        yield f"H1 {name}: the transaction that started it was rolled back, and it exists"
    for name, view in sagas.items():
        if view.line.status == "parked" and not view.state.parked:
            yield f"H2 {name}: it is parked, and nobody says why"


def check_watched(watched: Mapping[str, Watched], sagas: Mapping[str, HomeView], since: float) -> Iterator[str]:
    """W1: what the watcher has of a saga is how its home's history begins. W2: it is all of it, where the saga's end
    came home after anything could be lost. since: when that was."""
    for name, seen in watched.items():
        home = sagas.get(name)
        if home is None:
            yield f"W1 {name}: the watcher has it, and its home has not"
        elif (both := min(len(seen.rows), len(home.rows))) and seen.rows[:both] != home.rows[:both]:
            yield f"W1 {name}: the watcher has {seen.rows}, and its home {home.rows}"
        elif len(seen.rows) > len(home.rows) and home.line.status in ENDS:
            yield f"W1 {name}: it is {home.line.status}, and the watcher has more of it: {seen.rows[len(home.rows) :]}"
        elif seen.status in ENDS and seen.status != home.line.status:
            yield f"W1 {name}: the watcher has it {seen.status}, and its home {home.line.status}"
    for name, home in sagas.items():
        if home.at > since and name not in watched:
            yield f"W2 {name}: it ended after everything, and the watcher has never heard of it"
        elif home.at > since and watched[name].status != home.line.status:
            yield f"W2 {name}: it is {home.line.status}, and the watcher has it {watched[name].status}"


def is_watching(yard: Yard) -> bool:
    """Whether the watcher of this moment has begun to listen."""
    told, began = yard.books / WATCHING, time.time() - time.monotonic() + yard.watcher.began
    return told.exists() and told.stat().st_mtime > began


def known_since(yard: Yard) -> float:
    """The instant from which on the watcher has to hear of every end. Once it is watching, and there are no faults any
    more, it does not move."""
    lost = [record.at for record in yard.records if "broker" in record.kind or "watcher" in record.kind]
    since = time.time() - time.monotonic() + max(lost, default=0.0)
    return max(since, (yard.books / WATCHING).stat().st_mtime) + SETTLED_SECONDS


def ends_of_homes(
    yard: Yard, sagas: Mapping[str, HomeView], told: Sequence[Mapping[str, Any]]
) -> tuple[list[str], Counter[str]]:
    """All that does not hold of a run, and how much of what was seen that is worth a word."""
    since = known_since(yard)
    watched = watched_at(yard.databases["watcher"])
    seen = Counter({f"died at {point}, a baton in hand": times for point, times in yard.died_at.items()})
    seen["sagas that the watcher has"] = len(watched)
    seen["sagas that it must have in full"] = sum(view.at > since for view in sagas.values())
    seen["cancels accepted"] = sum(line["what"] == "cancelled" for line in told)
    seen["cancels too late"] = sum(line["what"] == "too late" for line in told)
    seen["starts rolled back"] = sum(line["what"] == "rolled back" for line in told)
    seen["revived by their homes"] = revived_at(yard.databases["orders"])
    placed_ = placed(yard.databases["orders"])
    return [*check_homes(sagas, told, placed_), *check_watched(watched, sagas, since)], seen
