"""What needs somebody: sagas that are stuck, and workers that are not there.

Guarantees: what is parked, stuck, stalled, stranded or late is found, whatever its age and however many
sagas are open. What waits for a signal, or is slow, is looked for among the newest `LOOK_MAX` open sagas.
Must not: repair anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from amends.decide.expected import SPARE_SECONDS, overdue_seconds
from amends.decide.plan import Plan
from amends.decide.state import State
from amends.decide.watching import watched_of
from amends.operate.preview import open_waits
from amends.operate.sight import Sight, command_of
from amends.operate.values import Finding, StuckLine, StuckPage, Trouble
from amends.run import journal
from amends.run.crew import LATE_SECONDS, Crew
from amends.run.session import state_of
from amends.store.base import OPEN, Filter, Loaded, SagaRow

MOVING = ("running", "compensating")
LOOK_MAX = 1000
PAGES_MAX = 100
WAITS_LOOK_MAX = 200
REMOTE_LOOK_MAX = 200
SLOW_LOOK_MAX = 200
ASKED_TIMES = 3
IN_FLIGHT = ("running", "waiting")


async def stuck(sight: Sight, limit: int, wanted: Collection[Trouble]) -> StuckPage:
    """The sagas that wait for somebody, the troubled ones first, each list newest first."""
    crew = await sight.crew()
    found = await _in_trouble(sight, crew, limit, wanted)
    looked_at = 0
    if Trouble.WAITING in wanted:
        moving = await _moving(sight)
        found += await _waiting(sight, crew, moving)
        looked_at = len(moving)
    if Trouble.STRANDED in wanted:
        rows = await _stranded(sight, crew, limit)
        found += [StuckLine(sight.line(row, crew), Trouble.STRANDED, crew.nobody(row)) for row in rows]
    if Trouble.SILENT in wanted:
        found += await _silent(sight, crew, limit)
    if Trouble.SLOW in wanted:
        found += await _slow(sight, crew, await _moving(sight))
    fits = [line for line in found if line.trouble in wanted]
    return StuckPage(tuple(fits[:limit]), len(fits) > limit or looked_at == LOOK_MAX)


async def counted(sight: Sight, crew: Crew) -> tuple[Mapping[Trouble, int], bool]:
    """How many sagas are in each trouble, of the same that `stuck` lists, and whether there may be more. What is
    parked, stuck or stalled is counted whole; of each other trouble no more than `LOOK_MAX` are."""
    by_head = await sight.session.store.finder.troubled()
    moving = await _moving(sight)
    found = {trouble: by_head.get(str(trouble), 0) for trouble in Trouble}
    found[Trouble.WAITING] = len(await _waiting(sight, crew, moving))
    found[Trouble.STRANDED] = len(await _stranded(sight, crew, LOOK_MAX - 1))
    found[Trouble.SILENT] = len(await _silent_rows(sight, crew))
    found[Trouble.SLOW] = len(await _slow(sight, crew, moving))
    looked = (found[Trouble.STRANDED], found[Trouble.SILENT], len(moving))
    return found, max(looked) >= LOOK_MAX


async def _moving(sight: Sight) -> list[SagaRow]:
    """The newest of those that go on by themselves."""
    return await sight.session.store.find(Filter(MOVING, None, False, None, LOOK_MAX))


async def _in_trouble(sight: Sight, crew: Crew, limit: int, wanted: Collection[Trouble]) -> list[StuckLine]:
    """The parked, stuck and stalled that are wanted: at least one more than `limit`, if there are."""
    found: list[StuckLine] = []
    before: bytes | None = None
    for _ in range(PAGES_MAX):
        rows = await sight.session.store.find(Filter(OPEN, None, True, before, LOOK_MAX))
        found += [line for row in rows if (line := _troubled(sight, crew, row)).trouble in wanted]
        if len(found) > limit or len(rows) < LOOK_MAX:
            break
        before = rows[-1].id
    return found


def _troubled(sight: Sight, crew: Crew, row: SagaRow) -> StuckLine:
    line = sight.line(row, crew)
    if row.stalled is not None:
        return StuckLine(line, Trouble.STALLED, row.stalled)
    if row.status == "parked":
        return StuckLine(line, Trouble.PARKED, row.reason or row.stuck or "")
    return StuckLine(line, Trouble.STUCK, row.stuck or "")


async def _stranded(sight: Sight, crew: Crew, limit: int) -> list[SagaRow]:
    """Those that nobody runs, at least one more than `limit` if there are: of the plans that nobody has,
    and of those that are due for long. Nothing is looked through where every plan has a worker."""
    store = sight.session.store
    found: dict[bytes, SagaRow] = {}
    before: bytes | None = None
    for _ in range(PAGES_MAX if (plans := crew.strange + crew.left) else 0):
        rows = await store.find(Filter(MOVING, plans, False, before, LOOK_MAX))
        found.update({row.id: row for row in rows if _goes_on(row) and crew.nobody(row)})
        if len(found) > limit or len(rows) < LOOK_MAX:
            break
        before = rows[-1].id
    late = await store.overdue(store.now() - LATE_SECONDS, limit + 1)
    found.update({row.id: row for row in late if row.status in MOVING and _goes_on(row) and crew.nobody(row)})
    return [found[saga] for saga in sorted(found, reverse=True)]


async def _silent(sight: Sight, crew: Crew, limit: int) -> list[StuckLine]:
    """Those of which nothing is heard that should be, longest first: at least one more than `limit`, if there are."""
    silent = await _silent_rows(sight, crew)
    lines = [await sight.told(row, crew) for row in silent[: limit + 1]]
    return [StuckLine(line, Trouble.SILENT, line.silent) for line in lines]


async def _silent_rows(sight: Sight, crew: Crew) -> list[SagaRow]:
    if not crew.watches:
        return []
    rows = await sight.session.store.overdue(sight.session.store.now(), LOOK_MAX)
    return [row for row in rows if row.stuck is None and crew.silent(row)]


async def _slow(sight: Sight, crew: Crew, moving: Sequence[SagaRow]) -> list[StuckLine]:
    """Those of the newest that a live worker has, and with which nothing has happened for much longer than expected:
    looked for among those that have not moved for longest."""
    store = sight.session.store
    now = store.now()
    still = [row for row in moving if _goes_on(row) and row.owner is not None and row.updated_at < now - SPARE_SECONDS]
    still = [row for row in still if not crew.nobody(row) and not crew.home(row.plan)]
    found: list[StuckLine] = []
    for row in sorted(still, key=lambda row: row.updated_at)[:SLOW_LOOK_MAX]:
        loaded = await store.load(row.key)
        if loaded is None:
            continue
        seconds = slow_seconds(sight, loaded)
        if seconds:
            why = f"worker {row.owner} has it, and nothing has happened for {seconds:.0f} s, much longer than expected"
            found.append(StuckLine(sight.line(loaded.head, crew), Trouble.SLOW, why))
    return found


def slow_seconds(sight: Sight, loaded: Loaded) -> float:
    """For how long nothing has happened with a saga, where that is much longer than expected; else nothing."""
    since = journal.decode(loaded.rows[-1]).at
    return overdue_seconds(sight.plan_of(loaded.head.plan), state_of(loaded), since, sight.session.store.now())


def _goes_on(row: SagaRow) -> bool:
    """Whether it is not told of anyhow."""
    return row.stuck is None and row.stalled is None


async def _waiting(sight: Sight, crew: Crew, moving: Sequence[SagaRow]) -> list[StuckLine]:
    """Those of the newest that wait for a signal. Only what nobody holds can wait for long."""
    rows = [row for row in moving if _goes_on(row) and not crew.nobody(row)]
    may = [row for row in rows if row.owner is None and sight.plan_of(row.plan).waits][:WAITS_LOOK_MAX]
    seen = {row: sight.waits[row] for row in may if row in sight.waits}  # a head that is the same has the same journal
    found: list[StuckLine] = []
    for row in may:
        head, waits = row, seen.get(row)
        if waits is None:
            loaded = await sight.session.store.load(row.key)
            if loaded is None:
                continue
            head, waits = loaded.head, open_waits(sight.plan_of(loaded.head.plan), state_of(loaded))
            seen[head] = waits
        if waits:
            found.append(StuckLine(sight.line(head, crew), Trouble.WAITING, f"for the signal {', '.join(waits)}"))
    sight.waits = seen
    return found


async def workers(sight: Sight) -> list[Finding]:
    """The workers, and what they leave alone."""
    crew = await sight.crew()
    counts = await sight.session.store.count(open_only=True)
    strange: dict[str, int] = {}
    for (plan, status), count in counts.items():
        if status != "parked" and plan in crew.strange:
            name = sight.name_of(plan)
            strange[name] = strange.get(name, 0) + count
    level = "error" if crew.live else "warning"
    found = [_watchers(sight, crew) if crew.watches else _workers(sight, crew)]
    for name, count in sorted(strange.items()):
        detail = f"{count} of {name!r} {_are(count)} open, and no live worker runs that saga"
        found.append(Finding(level, "stranded", detail))
    found += await _left(sight, crew)
    found += await _asked_again(sight)
    found += await _stuck_counts(sight, counts)
    if silent := len(await _silent(sight, crew, LOOK_MAX)):
        detail = f"{_sagas(silent)} of which nothing is heard: `amends stuck` names who did not react"
        found.append(Finding("warning", "silent", detail))
    return found


async def _asked_again(sight: Sight) -> list[Finding]:
    """The services that sagas ask again and again, among the newest `REMOTE_LOOK_MAX` with such steps."""
    store = sight.session.store
    rows_of = sight.session.plans.rows
    plans = tuple(number for number, row in rows_of.items() if not watched_of(row.fingerprint))
    plans = tuple(number for number in plans if sight.plan_of(number).services)
    rows = await store.find(Filter(MOVING, plans, False, None, REMOTE_LOOK_MAX)) if plans else []
    asking: dict[str, list[str]] = {}
    for row in rows:
        loaded = await store.load(row.key)
        if loaded is None:
            continue
        services = {command.partition(".")[0] for command in asked_again(sight.plan_of(row.plan), state_of(loaded))}
        for service in services:
            asking.setdefault(service, []).append(row.key)
    return [
        Finding(
            "warning",
            "services",
            f"{service} was asked {ASKED_TIMES} times and more for a step of {_sagas(len(keys))}, such as {keys[0]}: "
            "it does not answer, or fails each time. Does `amends worker` run its participant, with the same broker?",
        )
        for service, keys in sorted(asking.items())
    ]


def asked_again(plan: Plan, state: State) -> list[str]:
    """The commands that were sent several times and are in flight still."""
    found = []
    for address, step in state.steps.items():
        half = step.action if step.undo is None else step.undo
        command = command_of(plan.node(address))
        if command and half.attempts >= ASKED_TIMES and str(half.status) in IN_FLIGHT:
            found.append(command)
    return found


def _sagas(count: int) -> str:
    return f"{count} saga{'' if count == 1 else 's'}"


async def _left(sight: Sight, crew: Crew) -> list[Finding]:
    """Of versions that no live worker has, what those with another have neither taken over nor refused."""
    if not crew.left:
        return []
    rows = await sight.session.store.find(Filter(MOVING, crew.left, False, None, LOOK_MAX))
    counts = Counter(sight.name_of(row.plan) for row in rows if _goes_on(row) and crew.nobody(row))
    return [
        Finding("error", "stranded", f"{count} of {name!r} {_are(count)} on a version that no live worker has")
        for name, count in sorted(counts.items())
    ]


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


async def _stuck_counts(sight: Sight, counts: dict[tuple[int, str], int]) -> list[Finding]:
    """Those that need a person; the stalled are the store's to tell."""
    parked = sum(count for (_, status), count in counts.items() if status == "parked")
    rows = await sight.session.store.find(Filter(MOVING, None, True, None, LOOK_MAX))
    stuck = sum(row.stuck is not None for row in rows)
    found: list[Finding] = []
    if parked:
        found.append(Finding("warning", "parked", f"{parked} parked: a person is needed, `amends stuck` lists them"))
    if stuck:
        detail = f"{stuck} going on, but with a step that needs a person: `amends stuck` lists them"
        found.append(Finding("warning", "stuck", detail))
    return found or [Finding("ok", "sagas", "none is parked, none has a stuck step")]


def _watchers(sight: Sight, crew: Crew) -> Finding:
    if not crew.watchers:
        return Finding("warning", "watchers", "none is alive: what is told of sagas here is as old as their last lines")
    texts = []
    for watcher in crew.watchers:
        names = sorted({sight.name_of(plan) for plan in watcher.plans})
        hears = f"hears all of {', '.join(names)}" if names else "has not heard all yet, so none counts as silent"
        texts.append(f"watcher {watcher.id} ({watcher.host}, process {watcher.pid}) {hears}")
    return Finding("ok", "watchers", "; ".join(texts))


def _workers(sight: Sight, crew: Crew) -> Finding:
    if not crew.live:
        return Finding("warning", "workers", "none is alive: nothing moves until `amends worker` runs")
    texts = []
    for worker in crew.live:
        names = sorted({sight.name_of(plan) for plan in worker.plans})
        texts.append(f"worker {worker.id} ({worker.host}, process {worker.pid}) runs {', '.join(names) or 'nothing'}")
    return Finding("ok", "workers", "; ".join(texts))
