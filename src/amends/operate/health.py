"""What needs somebody: sagas that are stuck, and workers that are not there.

Guarantees: what is parked, stuck or stalled is found by an index, whatever its age. What is
stranded or waits is looked for among the newest `LOOK_MAX` open sagas.
Must not: repair anything.
"""

from __future__ import annotations

from collections.abc import Collection

from amends.operate.preview import open_waits
from amends.operate.sight import Sight, line_of
from amends.operate.values import Finding, StuckLine, StuckPage, Trouble
from amends.run.session import state_of
from amends.store.base import OPEN, Filter, SagaRow, WorkerRow

LOOK_MAX = 1000
PAGES_MAX = 100
WAITS_LOOK_MAX = 200
LATE_SECONDS = 60.0


async def stuck(sight: Sight, limit: int, wanted: Collection[Trouble]) -> StuckPage:
    """The sagas that wait for somebody, the troubled ones first, each list newest first."""
    store = sight.session.store
    found = await _in_trouble(sight, limit, wanted)
    moving = await store.find(Filter(("running", "compensating"), None, False, None, LOOK_MAX))
    rest = [row for row in moving if row.stuck is None and row.stalled is None]
    stranded: list[StuckLine] = []
    if Trouble.STRANDED in wanted or Trouble.WAITING in wanted:
        known = {sight.name_of(plan) for worker in await sight.live_workers() for plan in worker.plans}
        stranded = [line for row in rest if (line := _stranded(sight, row, known)) is not None]
    if Trouble.WAITING in wanted:
        ids = {line.saga.id for line in stranded}
        found += await _waiting(sight, [row for row in rest if row.key not in ids])
    fits = [line for line in [*found, *stranded] if line.trouble in wanted]
    return StuckPage(tuple(fits[:limit]), len(fits) > limit or len(moving) == LOOK_MAX)


async def _in_trouble(sight: Sight, limit: int, wanted: Collection[Trouble]) -> list[StuckLine]:
    """The parked, stuck and stalled that are wanted: at least one more than `limit`, if there are."""
    found: list[StuckLine] = []
    before: bytes | None = None
    for _ in range(PAGES_MAX):
        rows = await sight.session.store.find(Filter(OPEN, None, True, before, LOOK_MAX))
        found += [line for row in rows if (line := _troubled(sight, row)).trouble in wanted]
        if len(found) > limit or len(rows) < LOOK_MAX:
            break
        before = rows[-1].id
    return found


def _troubled(sight: Sight, row: SagaRow) -> StuckLine:
    line = line_of(row, sight.name_of(row.plan))
    if row.stalled is not None:
        return StuckLine(line, Trouble.STALLED, row.stalled)
    if row.status == "parked":
        return StuckLine(line, Trouble.PARKED, row.reason or row.stuck or "")
    return StuckLine(line, Trouble.STUCK, row.stuck or "")


def _stranded(sight: Sight, row: SagaRow, known: Collection[str]) -> StuckLine | None:
    name = sight.name_of(row.plan)
    late = sight.session.store.now() - (row.wake_at or 0.0)
    if name not in known:
        return StuckLine(line_of(row, name), Trouble.STRANDED, f"no live worker runs {name!r}")
    if row.owner is None and row.wake_at is not None and late > LATE_SECONDS:
        why = f"it is due for {late:.0f} s and no worker takes it"
        return StuckLine(line_of(row, name), Trouble.STRANDED, why)
    return None


async def _waiting(sight: Sight, rows: list[SagaRow]) -> list[StuckLine]:
    """Of some sagas those that wait for a signal. Only what nobody holds can wait for long."""
    may = [row for row in rows if row.owner is None and sight.plan_of(row.plan).waits][:WAITS_LOOK_MAX]
    found: list[StuckLine] = []
    for row in may:
        loaded = await sight.session.store.load(row.key)
        if loaded is None:
            continue
        waits = open_waits(sight.plan_of(loaded.head.plan), state_of(loaded))
        if waits:
            line = line_of(loaded.head, sight.name_of(row.plan))
            found.append(StuckLine(line, Trouble.WAITING, f"for the signal {', '.join(waits)}"))
    return found


async def workers(sight: Sight) -> list[Finding]:
    """The workers, and what they leave alone."""
    live = await sight.live_workers()
    counts = await sight.session.store.count(open_only=True)
    found = [_workers(sight, live)]
    known = {sight.name_of(plan) for worker in live for plan in worker.plans}
    open_names: dict[str, int] = {}
    for (plan, status), count in counts.items():
        if status != "parked":
            name = sight.name_of(plan)
            open_names[name] = open_names.get(name, 0) + count
    for name, count in sorted(open_names.items()):
        if name not in known:
            detail = f"{count} of {name!r} are open, and no live worker runs that saga"
            found.append(Finding("error" if live else "warning", "stranded", detail))
    found += await _stuck_counts(sight, counts)
    return found


async def _stuck_counts(sight: Sight, counts: dict[tuple[int, str], int]) -> list[Finding]:
    """Those that need a person; the stalled are the store's to tell."""
    parked = sum(count for (_, status), count in counts.items() if status == "parked")
    rows = await sight.session.store.find(Filter(("running", "compensating"), None, True, None, LOOK_MAX))
    stuck = sum(row.stuck is not None for row in rows)
    found: list[Finding] = []
    if parked:
        found.append(Finding("warning", "parked", f"{parked} parked: a person is needed, `amends stuck` lists them"))
    if stuck:
        detail = f"{stuck} going on, but with a step that needs a person: `amends stuck` lists them"
        found.append(Finding("warning", "stuck", detail))
    return found or [Finding("ok", "sagas", "none is parked, none has a stuck step")]


def _workers(sight: Sight, live: list[WorkerRow]) -> Finding:
    if not live:
        return Finding("warning", "workers", "none is alive: nothing moves until `amends worker` runs")
    texts = []
    for worker in live:
        names = sorted({sight.name_of(plan) for plan in worker.plans})
        texts.append(f"worker {worker.id} ({worker.host}, process {worker.pid}) runs {', '.join(names) or 'nothing'}")
    return Finding("ok", "workers", "; ".join(texts))
