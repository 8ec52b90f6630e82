"""Finding sagas among very many: by where they stand, what went wrong, when, whose, and what their input says.

What the heads cannot tell, an input's field or whom a saga waits for, is looked up in stretches, newest first; a page
says where it has come to, and the next one goes on from there.

Guarantees: a page takes bounded work, whatever is looked for; what is looked for is never more than a value; a field
that is marked as a secret is not searched, since whoever can guess could read it then.
Must not: act.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import isfinite
from typing import NamedTuple

import msgspec

from amends.decide import events as e
from amends.decide.fingerprint import step_of
from amends.decide.plan import Payload, Plan
from amends.decide.watching import watched_of
from amends.errors import Refused, UnknownSaga, ValueRefused
from amends.operate.finding_ids import at_place
from amends.operate.health import MOVING, slow_seconds
from amends.operate.preview import open_waits
from amends.operate.redact import openable
from amends.operate.sight import Sight
from amends.operate.values import Group, Page, SagaLine, Search, Trouble
from amends.run import journal
from amends.run.crew import Crew
from amends.run.session import state_of
from amends.store.base import OPEN, Loaded, SagaRow
from amends.store.finding import Place, Wanted, fits

LIST_LIMIT = 50
LIMIT_MAX = 10_000
GROUPS_LIMIT = 20
STATUSES = (*OPEN, "completed", "compensated")
TEXT_CHARACTERS_MAX = 1000
VALUES_MAX = 100
VERSION_CHARACTERS_MIN = 6  # of a fingerprint's beginning
LOOK_FIRST = 2_000
LOOK_MAX = 50_000  # heads that one page is looked for among, where no index has them together
ROWS_MAX = 20_000  # heads that are taken one by one, where the head alone does not tell
INPUTS_MAX = 2_000  # that are read
LOADS_MAX = 300
INPUTS_CHUNK = 500
ROWS_CHUNK = 4_000
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_BY_HEAD = {Trouble.PARKED, Trouble.STUCK, Trouble.STALLED}


class _Budget:
    """What one page may still cost. judged: the versions at which sagas were judged whose journals were read for it."""

    def __init__(self) -> None:
        self.looks = LOOK_MAX
        self.rows = ROWS_MAX
        self.inputs = INPUTS_MAX
        self.loads = LOADS_MAX
        self.judged: dict[bytes, int] = {}

    @property
    def spent(self) -> bool:
        """Whether the page is to end here, wherever that is."""
        return min(self.looks, self.rows, self.inputs, self.loads) <= 0


class _Look(NamedTuple):
    """What a search comes to. heads: what the store is asked. fine: whether a head that fits may yet not be wanted."""

    heads: Wanted
    wanted: Search
    crew: Crew
    fine: bool

    def chunk(self, budget: _Budget) -> int:
        """How many heads are judged at a time, where that takes more than the head."""
        return min(INPUTS_CHUNK, budget.inputs) if self.wanted.input else min(ROWS_CHUNK, budget.rows)


async def search(sight: Sight, wanted: Search, before: str | bytes | None, limit: int) -> Page:
    """One page of what is wanted. Raises UnknownSaga, ValueRefused, Refused."""
    check(wanted, limit)
    crew = await sight.crew()
    heads = await _heads(sight, wanted)
    fine = bool(wanted.input or wanted.troubles) or wanted.changed_before is not None
    look = _Look(heads, wanted, crew, fine)
    budget = _Budget()
    first = [] if before is not None else await _named(sight, look, budget)
    if before is not None:
        place = before if isinstance(before, bytes) else (await sight.head(before)).id
        look = look._replace(heads=heads._replace(before=place))
    if len(first) >= limit:
        return Page(tuple(await _lines(sight, look, first, budget)), more=False)  # it was all that was wanted
    if first:
        budget.looks = LOOK_FIRST  # it was probably all that was wanted
    rows, last = await _page(sight, await _by_id(sight, look), limit - len(first), budget)
    lines = tuple(await _lines(sight, look, [*first, *rows], budget))
    return Page(lines, more=False) if last is None else Page(lines, True, last.key, last.id)


async def _lines(sight: Sight, look: _Look, found: Sequence[SagaRow], budget: _Budget) -> list[SagaLine]:
    """Those that were found, with versions no newer than what was judged. What has moved meanwhile is judged anew, and
    left out where it is no longer wanted: somebody may have repaired it."""
    before = {row.id: row for row in found}
    lines: list[SagaLine] = []
    for row, seen in await sight.versioned(found):
        if row != before[row.id] and not (fits(look.heads, row) and await _is_wanted(sight, look, row, budget)):
            continue
        version = min(seen, budget.judged.get(row.id, seen))
        lines.append((await sight.told(row, look.crew))._replace(version=version))
    return lines


async def groups(sight: Sight, wanted: Search, limit: int) -> tuple[Group, ...]:
    """What went wrong with those that are wanted and open. Raises UnknownSaga, ValueRefused, Refused."""
    check(wanted, limit)
    if wanted.input or not set(wanted.troubles) <= _BY_HEAD:
        raise Refused(
            "sagas are grouped by what their heads say: not by a field of the input, and not by troubles other than "
            f"{', '.join(sorted(_BY_HEAD))}. List them instead"
        )
    await sight.refresh()
    heads = await _heads(sight, wanted)
    open_only = heads._replace(statuses=tuple(status for status in heads.statuses or OPEN if status in OPEN))
    if not open_only.statuses:
        return ()
    rows = await sight.session.store.finder.groups(open_only, limit)
    examples = {row.id: row for row in await sight.session.store.finder.heads([row.newest for row in rows])}
    found = []
    for row in rows:
        example = examples.get(row.newest)
        if example is not None:  # else it was pruned meanwhile
            reason = example.stuck or example.reason or ""
            name, step = sight.name_of(example.plan), example.step or ""
            found.append(Group(row.fingerprint, name, step, reason, *row[1:4], example.key))
    return tuple(found)


def check(wanted: Search, limit: int) -> None:
    """See that a search is one. Raises ValueRefused."""
    if not 1 <= limit <= LIMIT_MAX:
        raise ValueRefused(f"limit: {limit}; a page has from 1 to {LIMIT_MAX} sagas")
    unknown = [status for status in wanted.statuses if status not in STATUSES]
    if unknown:
        raise ValueRefused(f"status: there is no {unknown[0]!r:.80}; there are {', '.join(STATUSES)}")
    lists = (wanted.statuses, wanted.sagas, wanted.steps, wanted.fingerprints, wanted.versions, wanted.troubles)
    if max(map(len, (*lists, wanted.input))) > VALUES_MAX:
        raise ValueRefused(f"more than {VALUES_MAX} values of one kind were given")
    texts = [text for texts in lists for text in texts] + [text for pair in wanted.input for text in pair]
    if any(len(text) > TEXT_CHARACTERS_MAX for text in (*texts, wanted.key, wanted.assigned or "")):
        raise ValueRefused(f"a text to look for has {TEXT_CHARACTERS_MAX} characters at most")
    instants = (wanted.started_after, wanted.started_before, wanted.changed_before)
    if not all(isfinite(at) for at in instants if at is not None):
        raise ValueRefused("an instant is a finite number of seconds since 1970")


async def _heads(sight: Sight, wanted: Search) -> Wanted:
    """What is asked of the store. Only open sagas are in trouble; with no status given, none but them is looked for by
    what went wrong or by whose they are."""
    await sight.refresh()
    narrow = wanted.stuck or wanted.troubles or wanted.steps or wanted.fingerprints or wanted.assigned is not None
    statuses = wanted.statuses or (OPEN if narrow else ())
    by_head = bool(wanted.troubles) and set(wanted.troubles) <= _BY_HEAD
    if wanted.stuck or wanted.troubles:
        statuses = tuple(status for status in statuses if status in OPEN)
    if set(wanted.troubles) == {Trouble.PARKED}:
        statuses = tuple(status for status in statuses if status == "parked")
    plans = _plans(sight, wanted)
    if wanted.input:
        _check_secrets(sight, wanted, plans)
    nothing = bool(wanted.stuck or wanted.troubles) and not statuses
    return Wanted(
        statuses,
        () if nothing else plans,
        tuple(map(_plain, wanted.fingerprints)),
        tuple(step_of(_plain(step)) for step in wanted.steps),
        _plain(wanted.key),
        None if wanted.assigned is None else _plain(wanted.assigned),
        wanted.stuck or by_head,
        wanted.started_after,
        wanted.started_before,
        wanted.changed_before,
    )


def _plans(sight: Sight, wanted: Search) -> tuple[int, ...] | None:
    if not wanted.sagas and not wanted.versions:
        return None
    rows = sight.session.plans.rows
    numbers = sight.numbers(wanted.sagas) if wanted.sagas else tuple(rows)
    if not wanted.versions:
        return numbers
    found = tuple(number for number in numbers if _is_version(sight, number, wanted.versions))
    if not found:
        known = sorted({version for number in numbers if (version := _version(sight, number))})
        raise UnknownSaga(
            f"no definition here has the version {', '.join(map(repr, wanted.versions))[:200]}; there are "
            f"{', '.join(known) or 'none with a name'}, and the beginnings of their fingerprints"
        )
    return found


def _is_version(sight: Sight, number: int, versions: Sequence[str]) -> bool:
    watched = watched_of(sight.session.plans.rows[number].fingerprint)
    fingerprint = sight.session.plans.rows[number].fingerprint if watched is None else watched.fingerprint
    begins = (version for version in versions if len(version) >= VERSION_CHARACTERS_MIN)
    return _version(sight, number) in versions or any(map(fingerprint.startswith, begins))


def _version(sight: Sight, number: int) -> str:
    """How a plan's version is named; empty where it has no name, or is not known here."""
    watched = watched_of(sight.session.plans.rows[number].fingerprint)
    return sight.plan_of(number).version if watched is None or watched.known else ""


def _check_secrets(sight: Sight, wanted: Search, plans: tuple[int, ...] | None) -> None:
    """Raises Refused where a field is marked as a secret in any definition that is looked among."""
    for number in sight.session.plans.rows if plans is None else plans:
        for plan in sight.plans_like(number):
            hidden = marked_field(plan, wanted.input)
            if hidden:
                raise Refused(hidden)


def marked_field(plan: Plan, fields: Sequence[tuple[str, str]]) -> str:
    """Why sagas of a plan are not looked for by these fields; empty where they may be."""
    marked = {pointer.split("/")[1] if pointer else "*" for pointer in plan.secrets_in(Payload.INPUT)}
    for field, _ in fields:
        if marked & {"*", "**", field.replace("~", "~0").replace("/", "~1")}:
            return (
                f"the field {field!r:.80} of the input of {plan.name!r} is marked as a secret, so nobody may look for "
                "sagas by it; narrow the search to other definitions, or use another field"
            )
    return ""


async def _named(sight: Sight, look: _Look, budget: _Budget) -> list[SagaRow]:
    """The saga with the very id that was given for a beginning: it comes first, whenever it began."""
    if not look.heads.prefix:
        return []
    row = await sight.session.store.head(look.heads.prefix)
    if row is None or not fits(look.heads, row):
        return []
    return list((await _chosen(sight, look, [row], budget))[0])


async def _by_id(sight: Sight, look: _Look) -> _Look:
    """The same, at the place of the ids that begin so, where amends has given them."""
    return look._replace(heads=await at_place(sight.session.store.finder, look.heads, LOOK_MAX))


async def _page(sight: Sight, look: _Look, limit: int, budget: _Budget) -> tuple[list[SagaRow], Place | None]:
    """As many as are asked for, and behind which saga there may be more, if there may."""
    stretch = LOOK_FIRST
    found: list[SagaRow] = []
    heads = look.heads
    while True:
        chunk = look.chunk(budget) if look.fine else limit + 2
        seen = await sight.session.store.finder.search(heads._replace(limit=chunk), min(stretch, budget.looks))
        chosen, judged = await _chosen(sight, look, seen.rows, budget)
        found += [row for row in chosen if row.key != heads.prefix]
        if len(found) > limit:
            return found[:limit], Place(found[limit - 1].id, found[limit - 1].key)
        last = seen.last if judged == len(seen.rows) else Place(seen.rows[judged - 1].id, seen.rows[judged - 1].key)
        if last is None:
            return found, None
        budget.looks -= len(seen.rows) if len(seen.rows) == chunk else stretch
        if budget.spent:
            return found, last
        heads, stretch = heads._replace(before=last.id), min(stretch * 5, LOOK_MAX)


async def _chosen(sight: Sight, look: _Look, rows: Sequence[SagaRow], budget: _Budget) -> tuple[Sequence[SagaRow], int]:
    """Those of some whose heads fit that are wanted, and how many were judged before the budget was spent."""
    if not look.fine:
        return rows, len(rows)
    budget.rows -= len(rows)
    if look.wanted.input:
        budget.inputs -= len(rows)
        told = await _with_input(sight, look.wanted.input, rows)
    else:
        told = {row.id for row in rows}
    chosen: list[SagaRow] = []
    for judged, row in enumerate(rows):
        if budget.loads <= 0:
            return chosen, judged
        if row.id in told and await _is_wanted(sight, look, row, budget):
            chosen.append(row)
    return chosen, len(rows)


async def _is_wanted(sight: Sight, look: _Look, row: SagaRow, budget: _Budget) -> bool:
    """Whether a saga whose head fits is one that is looked for, its input aside."""
    return await _is_troubled(sight, look, row, budget) and await _is_unchanged(sight, look, row, budget)


async def _is_unchanged(sight: Sight, look: _Look, row: SagaRow, budget: _Budget) -> bool:
    """Whether nothing has happened with a saga since the instant that is wanted, if one is. The head of one that a
    worker has stays as it is while step follows step: its last row tells."""
    before = look.wanted.changed_before
    if before is None or row.owner is None:
        return True
    loaded = await _loaded(sight, row, budget)
    return loaded is not None and journal.decode(loaded.rows[-1]).at < before


async def _loaded(sight: Sight, row: SagaRow, budget: _Budget) -> Loaded | None:
    """A saga with its journal. What is read twice is judged as it was when it was read first."""
    budget.loads -= 1
    loaded = await sight.session.store.load(row.key)
    if loaded is not None:
        budget.judged[row.id] = min(len(loaded.rows), budget.judged.get(row.id, len(loaded.rows)))
    return loaded


async def _is_troubled(sight: Sight, look: _Look, row: SagaRow, budget: _Budget) -> bool:
    """Whether a saga has one of the troubles that are wanted, if any are."""
    wanted = look.wanted.troubles
    if not wanted:
        return True
    trouble = _trouble_of(row)
    if trouble is not None:
        return trouble in wanted
    if row.status not in MOVING:
        return False
    if look.crew.nobody(row):
        return Trouble.STRANDED in wanted
    if look.crew.silent(row):
        return Trouble.SILENT in wanted
    plan = None if look.crew.home(row.plan) else sight.plan_of(row.plan)
    may_wait = Trouble.WAITING in wanted and row.owner is None and plan is not None and plan.waits
    may_be_slow = Trouble.SLOW in wanted and row.owner is not None and plan is not None
    if not (may_wait or may_be_slow):
        return False
    loaded = await _loaded(sight, row, budget)
    if loaded is None:
        return False
    if may_wait:
        return bool(open_waits(sight.plan_of(loaded.head.plan), state_of(loaded)))
    return bool(slow_seconds(sight, loaded))


def _trouble_of(row: SagaRow) -> Trouble | None:
    """The trouble that a head tells of."""
    if row.stalled is not None:
        return Trouble.STALLED
    if row.status == "parked":
        return Trouble.PARKED
    return None if row.stuck is None else Trouble.STUCK


async def _with_input(sight: Sight, fields: Sequence[tuple[str, str]], rows: Sequence[SagaRow]) -> set[bytes]:
    """Those whose input has all of these fields with these values. An input that cannot be opened here has none, nor
    has that of a saga whose plan is not known."""
    known = [row for row in rows if _is_known(sight, row.plan)]
    found = await sight.session.store.finder.beginnings([row.id for row in known])
    seals = sight.session.seals
    opened = {saga: openable((raw,), None if seals is None else seals.saga(saga))[0] for saga, raw in found.items()}
    return {saga for saga, row in opened.items() if has_fields(row, fields)}


def _is_known(sight: Sight, number: int) -> bool:
    row = sight.session.plans.rows.get(number)
    watched = None if row is None else watched_of(row.fingerprint)
    return row is not None and (watched is None or watched.known)


def has_fields(row: bytes, fields: Sequence[tuple[str, str]]) -> bool:
    """Whether the input in a saga's first row has these top-level fields with these values, as text or as JSON."""
    if not all(_may_have(row, text) for _, text in fields):
        return False  # most have not, and need not be read
    payload = next((event.input for event in journal.decode(row).events if isinstance(event, e.Started)), b"null")
    given = msgspec.json.decode(payload)
    return isinstance(given, dict) and all(name in given and is_value(given[name], text) for name, text in fields)


def _may_have(row: bytes, text: str) -> bool:
    """Whether a row may have a value: a plain word stands in it as it is."""
    return not _WORD.fullmatch(text) or text.encode() in row


def is_value(value: object, text: str) -> bool:
    """Whether a text says a value: a text itself, or as its JSON."""
    if value == text:
        return True
    try:
        said = msgspec.json.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False
    return isinstance(said, bool) == isinstance(value, bool) and bool(said == value)


def _plain(text: str) -> str:
    """What may be looked for in any store: halves of characters and NUL stand in none."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "\N{REPLACEMENT CHARACTER}")
