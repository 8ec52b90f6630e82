"""The money checker of the chaos of services: ledgers, calls and what clients were told, against what sagas say.

What it is: functions from what independent parties wrote down to a list of sentences, empty if all is well. The rules
have the numbers of `docs/internals/chaos.md`. One pass over each record.
Guarantees: trusts the sagas' own tables only where they are what is accused.
Must not: excuse, but for what a process was seen to die of.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from chaos_check import ugly_words
from services_books import Entry
from services_shop import HANDLER_SECONDS

from amends.operate.values import SagaView
from amends.run.inbox_careful import DEATHS_MAX
from amends.run.participant_work import POISON

ENDS = ("completed", "compensated", "parked")
PATH = ("reserve", "charge", "book", "ship")  # every saga's, if it completes
BEFORE: dict[str, tuple[tuple[str, str], ...]] = {
    "buy": (("reserve", "charge"), ("charge", "book"), ("book", "ship")),
    "hasty": (("reserve", "charge"), ("charge", "book"), ("book", "ship")),
    "pair": (("reserve", "book"), ("charge", "book"), ("book", "ship")),
}
_ENTRY = re.compile(r"\d{4}-\d\d-\d\d ")
_DRIVERS = re.compile(
    r"\S+ \S+ [A-Z]+ ((aiormq|aiokafka|nats|redis)\b|asyncio: .*(<aiokafka|MessageAccumulator\._pop_batch))"
)
REJECTED_BY = {"declined": "charge", "returned": "book", "sold out": "reserve"}


class Evidence(NamedTuple):
    """What was found in the end. ledgers: of each service. told: what clients were told, in order. may_park: the ids
    of sagas that may be parked in the end, or how such ids begin. killed: when processes died of kill -9, by their
    ids, by the clock of the calls."""

    sagas: Mapping[str, SagaView]
    ledgers: Mapping[str, Sequence[Entry]]
    calls: Sequence[Mapping[str, Any]]
    told: Sequence[Mapping[str, Any]] = ()
    may_park: tuple[str, ...] = ()
    killed: Mapping[int, float] = {}


def check(found: Evidence) -> list[str]:
    """Everything that does not hold."""
    entries = [entry for ledger in found.ledgers.values() for entry in ledger]
    return [
        *ends(found.sagas, found.may_park, frozenset(struck_down(found))),
        *one_effect(entries),
        *what_stands(entries, found.sagas),
        *rejections(found.sagas, entries),
        *order_of_steps(entries, found.sagas),
        *conservation(entries, found.sagas),
        *calls_behind_effects(entries, found.calls),
        *what_clients_were_told(found.told, found.sagas),
    ]


def ends(sagas: Mapping[str, SagaView], may_park: tuple[str, ...], poison: frozenset[str]) -> Iterator[str]:
    """S1: one of three ends, owned by nobody; parked only what a person is to see, and what is rightly poison."""
    for name, view in sagas.items():
        if view.line.status not in ENDS:
            yield f"S1 {name}: it is {view.line.status}"
        elif view.line.status == "parked" and not (name in poison or name.startswith(may_park)):
            yield f"S1 {name}: it is parked: {[tuple(entry) for entry in view.unsettled]}"
        if view.line.worker is not None:
            yield f"S1 {name}: it is {view.line.status}, and worker {view.line.worker} owns it"


def struck_down(found: Evidence) -> Iterator[str]:
    """The sagas that are rightly taken for poison: a handler was called for them, and in the middle of that call its
    process was killed, so often as makes a message poison. Dice that kill anybody do this now and then."""
    victims: dict[tuple[str, str, str], set[int]] = defaultdict(set)
    for call in found.calls:
        if call["at"] <= found.killed.get(call["pid"], 0.0) <= call["at"] + HANDLER_SECONDS:
            victims[call["saga"], call["op"], call["step"]].add(call["pid"])
    for (name, _, step), pids in victims.items():
        why = [entry.reason for entry in found.sagas[name].unsettled] if name in found.sagas else []
        if len(pids) >= DEATHS_MAX and any(reason in (POISON, f"{step}: {POISON}") for reason in why):
            yield name


def one_effect(entries: Iterable[Entry]) -> Iterator[str]:
    """S2: a step has one effect, and one that takes it back, and that behind it; each under one key."""
    lines: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in entries:
        lines[entry.saga, entry.step].append(entry)
    for (saga, step), found in lines.items():
        story = [entry.op for entry in found]
        if story not in (["do"], ["do", "undo"]):
            yield f"S2 {saga}: the ledger says of {step} {story}"
        elif len(found) == 2 and found[0].cents + found[1].cents != 0:
            yield f"S2 {saga}: {step} took {found[0].cents} cents and gave back {-found[1].cents}"
        if len({entry.key for entry in found}) != len(found):
            yield f"S2 {saga}: an effect of {step} and another have one key"


def what_stands(entries: Iterable[Entry], sagas: Mapping[str, SagaView]) -> Iterator[str]:
    """S3, S5: all effects of a completed saga, none of a compensated one, of a parked one those that it lists."""
    standing: dict[str, Counter[str]] = defaultdict(Counter)
    for entry in entries:
        standing[entry.saga][entry.step] += 1 if entry.op == "do" else -1
    for saga in sorted(set(standing) - set(sagas)):
        yield f"S3 {saga}: it does not exist, and its effects stand: {dict(standing[saga])}"
    for name, view in sagas.items():
        mine = {step for step, count in standing[name].items() if count}
        if view.line.status == "completed" and mine != set(PATH):
            yield f"S3 {name}: it is completed, and what stands is {sorted(mine)}"
        if view.line.status == "compensated" and mine:
            yield f"S3 {name}: it is compensated, and these effects stand: {sorted(mine)}"
        listed = {entry.step for entry in view.unsettled}
        passed = {address for address, step in view.state.steps.items() if str(step.action.status) == "succeeded"}
        if view.line.status == "parked" and mine - listed - (passed if view.state.passed else set()):
            yield f"S5 {name}: it is parked, and these effects stand unlisted: {sorted(mine - listed)}"


def rejections(sagas: Mapping[str, SagaView], entries: Iterable[Entry]) -> Iterator[str]:
    """S4: what a service said no to has no effect, and its saga does not complete."""
    written = {(entry.saga, entry.step) for entry in entries}
    for name, view in sagas.items():
        step = REJECTED_BY.get(json.loads(view.input)["mood"])
        if step is not None and (name, step) in written:
            yield f"S4 {name}: {step} was rejected, and has an effect"
        if step is not None and view.line.status == "completed":
            yield f"S4 {name}: {step} was rejected, and it is completed"


def order_of_steps(entries: Iterable[Entry], sagas: Mapping[str, SagaView]) -> Iterator[str]:
    """S9: an action after those before it, an undo after the undos of those behind it, by the clock of the machine."""
    done: dict[str, dict[str, float]] = defaultdict(dict)
    undone: dict[str, dict[str, float]] = defaultdict(dict)
    for entry in entries:
        (done if entry.op == "do" else undone)[entry.saga].setdefault(entry.step, entry.at)
    for name, view in sagas.items():
        forward, back = done[name], undone[name]
        for first, then in BEFORE[view.line.saga]:
            if then in forward and forward.get(first, float("inf")) > forward[then]:
                yield f"S9 {name}: {then} happened, and {first}, which stands before it, had not"
            if first in back and then in back and back[then] > back[first]:
                yield f"S9 {name}: {first} was undone before {then}"


def conservation(entries: Sequence[Entry], sagas: Mapping[str, SagaView]) -> Iterator[str]:
    """S11: what customers paid is what completed orders cost, and what parked ones list, to the cent."""
    cents = Counter[str]()
    for entry in entries:
        cents[entry.saga] += entry.cents
    for name, view in sagas.items():
        price = json.loads(view.input)["cents"]
        if view.line.status == "completed" and cents[name] != len(PATH) * price:
            yield f"S11 {name}: it is completed, {len(PATH)} times {price} cents were due, and {cents[name]} were paid"
        if view.line.status == "compensated" and cents[name]:
            yield f"S11 {name}: it is compensated, and {cents[name]} cents are not back"


def calls_behind_effects(entries: Iterable[Entry], calls: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """S16: no effect without a call of the handler that wrote it."""
    called = {(call["op"], call["saga"], call["step"]) for call in calls}
    for entry in entries:
        if (entry.op, entry.saga, entry.step) not in called:
            yield f"S16 {entry.saga}: {entry.op} of {entry.step} is in the ledger, and no handler was called for it"


def what_clients_were_told(told: Iterable[Mapping[str, Any]], sagas: Mapping[str, SagaView]) -> Iterator[str]:
    """S12 and S13: what was acknowledged exists, with that input; an end that was seen is the end."""
    asked: set[str] = set()
    for line in told:
        name, what = line["id"], line["what"]
        view = sagas.get(name)
        asked |= {name} if what == "asked" else set()
        if what == "ugly":
            yield f"a client was told something ugly ({name}): {line['text']}"
        elif what == "started" and view is None:
            yield f"S12 {name}: its start was acknowledged, and it does not exist"
        elif view is None:
            continue
        elif what == "started" and json.loads(view.input)["cents"] != line["cents"]:
            yield f"S12 {name}: it was started with {line['cents']} cents, and ran with {view.input!r}"
        elif what == "cancelled" and view.line.status == "completed":
            yield f"S13 {name}: its cancel was accepted, and it completed"
        elif what == "outcome" and line["status"] != view.line.status and line["status"] != "parked":
            yield f"S13 {name}: a client saw it {line['status']}, and it is {view.line.status}"
    if told:
        for name in sorted(set(sagas) - asked):
            yield f"S12 {name}: it exists, and nobody asked for it"


def words(books: Path) -> Iterator[str]:
    """What processes said that nobody should have to read, but for what the drivers of brokers say of themselves."""
    for path in sorted(books.glob("stderr-*.txt")):
        ours = path.with_name(path.name.replace("stderr", "ours"))
        ours.write_text("".join(our_lines(path.read_text(errors="replace").splitlines(keepends=True))))
        yield from ugly_words(ours)


def our_lines(lines: Iterable[str]) -> Iterator[str]:
    """Without the entries, of many lines perhaps, of drivers' loggers."""
    driver = False
    for line in lines:
        if _ENTRY.match(line):
            driver = bool(_DRIVERS.match(line))
        if not driver:
            yield line
