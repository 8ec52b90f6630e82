"""How all sagas fare: what is open, what ended and how fast, what went wrong, how far timers are behind, and who works.

Guarantees: a dozen small reads of bounded cost, however many sagas there are; what was not counted to its end says so.
A journal is read only to tell whether a saga waits for a signal, or is slow, and of as many as `stuck` reads.
Must not: act.
"""

from __future__ import annotations

from collections.abc import Mapping

from amends.operate import health
from amends.operate.finding import GROUPS_LIMIT, groups
from amends.operate.sight import Sight
from amends.operate.values import Ends, Lag, Overview, Rates, Search, WorkerLine
from amends.run.crew import Crew
from amends.store.base import OPEN
from amends.store.finding import Tally

MINUTES = 60
RATE_LOOK_MAX = 50_000
ENDS_LOOK_MAX = 10_000
LAG_LOOK_MAX = 10_000
HOUR_SECONDS = 3600.0
DAY_SECONDS = 24 * HOUR_SECONDS


async def overview(sight: Sight, *, groups_limit: int = GROUPS_LIMIT) -> Overview:
    """How all sagas of the namespace fare now."""
    crew = await sight.crew()
    store = sight.session.store
    now = store.now()
    counts: dict[str, int] = dict.fromkeys(OPEN, 0)
    for (_, status), count in (await store.count(open_only=True)).items():
        counts[status] = counts.get(status, 0) + count
    since = now - MINUTES * 60
    ended = await store.finder.ended_per_minute(since, RATE_LOOK_MAX)
    day = await store.finder.ended_per_minute(now - DAY_SECONDS, ENDS_LOOK_MAX)
    started = await store.finder.started_per_minute(since, RATE_LOOK_MAX)
    parked = await store.finder.parked_per_minute(since, RATE_LOOK_MAX)
    troubles, troubles_more = await health.counted(sight, crew)
    due = await store.finder.due(now, LAG_LOOK_MAX)
    late = 0.0 if due.oldest is None else max(now - due.oldest, 0.0)
    return Overview(
        at=now,
        counts=counts,
        troubles=troubles,
        troubles_more=troubles_more,
        hour=_ends(ended),
        day=_ends(day),
        rates=Rates(
            _row(started, "started"),
            _row(ended, "completed"),
            _row(ended, "compensated"),
            _row(parked, "parked"),
            max(ended.since, started.since, parked.since),
        ),
        groups=await groups(sight, Search(), groups_limit),
        outbox=None,
        timers=Lag(0.0, 0) if crew.watches else Lag(late, due.sagas, due.sagas >= LAG_LOOK_MAX),
        workers=await workers_of(sight, crew),
        watches=crew.watches,
    )


async def workers(sight: Sight) -> tuple[WorkerLine, ...]:
    """The workers that are alive, and those that are gone and still own sagas, the newest first."""
    return await workers_of(sight, await sight.crew())


async def workers_of(sight: Sight, crew: Crew) -> tuple[WorkerLine, ...]:
    """The same, of a look that was taken already."""
    rows = await sight.session.store.workers()
    owned = await sight.session.store.finder.owned_by()
    alive = {row.id for row in (*crew.live, *crew.watchers)}
    shown = [row for row in rows if row.id in alive or row.id in owned]
    return tuple(
        WorkerLine(
            row.id,
            row.host,
            row.pid,
            row.started_at,
            row.expires_at,
            owned.get(row.id, 0),
            tuple(sorted({sight.name_of(plan) for plan in row.plans})),
            row.id in alive,
        )
        for row in sorted(shown, key=lambda row: row.id, reverse=True)
    )


def _ends(tally: Tally) -> Ends:
    words: Mapping[str, int] = {
        word: sum(count for (status, _), count in tally.counts.items() if status == word)
        for word in ("completed", "compensated")
    }
    return Ends(words["completed"], words["compensated"], tally.more)


def _row(tally: Tally, word: str) -> tuple[int, ...]:
    """The numbers of the minutes; the running one takes what lies at the very end."""
    found = [0] * MINUTES
    for (status, minute), count in tally.counts.items():
        if status == word:
            found[min(max(minute, 0), MINUTES - 1)] += count
    return tuple(found)
