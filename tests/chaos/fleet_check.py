"""The money checker of the chaos on PostgreSQL: ledger, clients' history, fault log, held against what the sagas say.

What it is: functions from what independent parties wrote down to a list of sentences, empty if all is well. The rules
(S1 to S13) are those of `docs/internals/chaos.md`; what it has in common with the chaos on one file is in
`chaos_check.py`. One pass over each record.
Guarantees: trusts the sagas' own tables only where they are what is accused.
Must not: excuse.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from chaos_books import Books, Entry, arrivals
from chaos_check import (
    Told,
    accounts,
    amounts,
    effects_and_ends,
    lists_of_the_parked,
    logs,
    ugly_words,
    what_clients_were_told,
    who_exists,
)
from chaos_laws import Journals, calls_were_decided, laws
from fleet_scene import Zombie

from amends.decide import events as e
from amends.decide.outcome import POISON_KILLS
from amends.decide.state import CAREFUL_DEATHS
from amends.operate.values import SagaView
from amends.run.journal import decode

DEATHS_OF_POISON = CAREFUL_DEATHS + POISON_KILLS
ENDS = ("completed", "compensated", "parked")
BY_A_PERSON = {"operated"}
SERVES_WITHIN_SECONDS = 12.0  # a zombie that lives so long after waking, while sagas begin, must have served one
BEFORE: dict[str, tuple[tuple[str, str], ...]] = {
    "buy": (
        *((first, then) for first in ("reserve",) for then in ("charge", "pack", "wrap")),
        ("pack", "label"),
        ("wrap", "label"),
        *((first, "ship") for first in ("charge", "pack", "wrap", "label")),
        ("ship", "receipt"),
        ("ship", "inspect"),
    ),
    "decide": (("reserve", "settle"), ("settle", "ship")),
    "approved": (("reserve", "charge"), ("charge", "ship")),
    "bulk": tuple(("reserve", f"pay_part[{index}]") for index in range(8)),
    "nap": (("reserve", "charge"),),
}

IN_ALL_FORMS = {"reserve", "charge", "settle"}  # of the definitions that contain `ship`


class JournalRow(NamedTuple):
    """A row of the journal, as it lies there."""

    saga: bytes
    seq: int
    row: str


class Evidence(NamedTuple):
    """What was found in the end, and where the rest was written down."""

    books: Path
    ledger: Books
    orders: set[str]
    accounts: dict[str, int]
    journal: Sequence[JournalRow]
    sagas: dict[str, SagaView]
    zombies: Sequence[Zombie]
    histories: Journals


@dataclass
class Peace:
    """The time without faults, in which poison that was given before kills on: each such saga may take down
    `DEATHS_OF_POISON` workers before a person has to look, and each death is a fault of its own."""

    began: float
    poisons: int
    workers: int
    deaths: list[float] = field(default_factory=list)  # when they were seen

    @property
    def _deaths_most(self) -> int:
        """Of all that is poison; besides, each worker may be dead as peace begins, or its next life be cut short."""
        return self.poisons * DEATHS_OF_POISON + 2 * self.workers

    @property
    def broken(self) -> bool:
        """Whether more have died than poison accounts for."""
        return len(self.deaths) > self._deaths_most

    def lasts(self, now: float) -> float:
        """For how many seconds nothing has happened to anybody."""
        return now - max([self.began, *self.deaths])

    def troubles(self, rest_seconds: float, bound_seconds: float) -> Iterator[str]:
        """L1, in the end."""
        if rest_seconds > bound_seconds:
            yield (
                f"L1 all was at rest only {rest_seconds:.1f} s after the last fault; the bound is {bound_seconds:g} s"
            )
        if self.broken:
            yield f"L1 {len(self.deaths)} workers died in peace; poison accounts for {self._deaths_most} at most"


def check(found: Evidence) -> list[str]:
    """Everything that does not hold."""
    told, effects, entries = logs(found.books), found.ledger.effects(), found.ledger.entries()
    untouched = {name: view for name, view in found.sagas.items() if not touched(view)}
    return [
        *one_end(found.sagas),
        *what_clients_were_told(told, found.sagas),
        *who_exists(told, found.orders, found.sagas),
        *whose_input(told, found.sagas),
        *effects_and_ends(effects, found.sagas),
        *one_key_a_step(entries, untouched),
        *lists_of_the_parked(effects, found.sagas),
        *amounts(effects, found.sagas),
        *accounts(found.accounts, found.sagas),
        *order_of_steps(entries, untouched),
        *conservation(found.ledger, entries, found.sagas),
        *fences(found.journal),
        *laws(found.sagas, found.histories),
        *calls_were_decided(arrivals(found.books), found.histories),
        *words(found.books),
    ]


def touched(view: SagaView) -> bool:
    """Whether an operator acted on it: then a step may have had another round, with other keys."""
    return any(line.event in BY_A_PERSON for line in view.history)


def one_end(sagas: dict[str, SagaView]) -> Iterator[str]:
    """S1: one of three ends, and nothing in a terminal saga goes on."""
    for name, view in sagas.items():
        if view.line.status not in ENDS:
            yield f"S1 {name}: it is {view.line.status}"
        if view.line.worker is not None:
            yield f"S1 {name}: it is {view.line.status}, and worker {view.line.worker} owns it"


def whose_input(told: Iterable[Told], sagas: dict[str, SagaView]) -> Iterator[str]:
    """S12: of several that wanted one id, all that were told yes had the same order; it is the one that ran."""
    for line in told:
        if line["what"] == "started" and "cents" in line and line["id"] in sagas:
            ran = json.loads(sagas[line["id"]].input)["cents"]
            if ran != line["cents"]:
                yield f"S12 {line['id']}: a start with {line['cents']} cents was acknowledged, and it ran with {ran}"


def one_key_a_step(entries: Iterable[Entry], sagas: dict[str, SagaView]) -> Iterator[str]:
    """S2: without a person's word a step has one key for its action and one for its undo, whatever happens."""
    keys: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for entry in entries:
        keys[entry.saga, entry.step, "do" if entry.op == "do" else "undo"].add(entry.key)
    for (saga, step, op), found in keys.items():
        if len(found) > 1 and saga in sagas:
            yield f"S2 {saga}: {step} has {len(found)} keys with an effect of its {op}"


def order_of_steps(entries: Iterable[Entry], sagas: dict[str, SagaView]) -> Iterator[str]:
    """S9: an action after those before it, an undo after the undos of those behind it; S4: none is undone unasked."""
    done: dict[str, dict[str, int]] = defaultdict(dict)
    undone: dict[str, dict[str, int]] = defaultdict(dict)
    for entry in entries:
        (done if entry.op == "do" else undone)[entry.saga].setdefault(entry.step, entry.seq)
    for name, view in sagas.items():
        forward, back = done.get(name, {}), undone.get(name, {})
        for first, then in BEFORE.get(view.line.saga, ()):
            if then in forward and first not in forward and first in IN_ALL_FORMS:
                yield f"S9 {name}: {then} happened, and {first}, which stands before it, did not"
            if first in forward and then in forward and forward[first] > forward[then]:
                yield f"S9 {name}: {then} happened before {first}"
            if first in back and then in back and back[then] > back[first]:
                yield f"S9 {name}: {first} was undone before {then}"
        if view.line.status == "completed" and back:
            yield f"S3 {name}: it is completed, and {sorted(back)} were undone"


def conservation(ledger: Books, entries: Sequence[Entry], sagas: dict[str, SagaView]) -> Iterator[str]:
    """S11: what customers paid is what completed orders cost, and what is listed as unsettled or closed by a person."""
    for seq in ledger.unbalanced():
        yield f"S11 the ledger does not balance at position {seq}"
    cents = Counter[str]()
    for entry in entries:
        cents[entry.saga] += entry.cents
    for name, left in cents.items():
        if left and name not in sagas:
            yield f"S11 {name}: it does not exist, and {left} cents were paid for it"
        elif left and sagas[name].line.status == "compensated" and not sagas[name].closed:
            yield f"S11 {name}: it is compensated, and {left} cents are not back"
    paid = -ledger.account("customer")
    if paid != sum(cents.values()):
        yield f"S11 customers paid {paid} cents, and the sagas account for {sum(cents.values())}"


def fences(journal: Iterable[JournalRow]) -> Iterator[str]:
    """S10: once a saga was taken over from a worker, that worker has written nothing more into it; no gap, no fork."""
    retired: dict[bytes, set[int]] = defaultdict(set)
    after: dict[bytes, int] = {}
    for saga, seq, row in journal:
        if seq != after.get(saga, -1) + 1:
            yield f"S10 {saga.hex()}: row {seq} follows row {after.get(saga, -1)}"
        after[saga] = seq
        told = decode(row.encode())
        for event in told.events:
            if isinstance(event, e.Adopted) and event.worker != told.worker:
                retired[saga].add(event.worker)
        if told.worker in retired[saga]:
            yield f"S10 {saga.hex()}: worker {told.worker} wrote row {seq} after the saga was taken over from it"


def words(books: Path) -> Iterator[str]:
    """What processes said that nobody should have to read."""
    for path in sorted(books.glob("stderr-*.txt")):
        yield from ugly_words(path)


def zombies_that_serve(books: Path, zombies: Iterable[Zombie], lived_until: dict[int, float]) -> tuple[int, list[str]]:
    """How many of those that woke up after their lease served a saga that began later; and who should have."""
    calls: dict[int, list[tuple[float, str]]] = defaultdict(list)
    for line in arrivals(books):
        calls[line["pid"]].append((line["at"], line["saga"]))
    began: dict[str, float] = {}
    for found in calls.values():
        for at, saga in found:
            began[saga] = min(at, began.get(saga, at))
    last = max(began.values(), default=0.0)  # from then on there was nothing new to serve
    served, troubles = 0, []
    for zombie in zombies:
        if any(at > zombie.awake and began[saga] > zombie.awake for at, saga in calls.get(zombie.pid, ())):
            served += 1
        elif min(lived_until.get(zombie.pid, 0.0), last) - zombie.awake > SERVES_WITHIN_SECONDS:
            troubles.append(f"process {zombie.pid} woke up after its lease and has served no new saga since")
    return served, troubles


def count_words(books: Path, phrase: str) -> int:
    """How often processes said something."""
    return sum(path.read_text(errors="replace").count(phrase) for path in books.glob("stderr-*.txt"))


def duplicates(books: Path, entries: Sequence[Entry]) -> tuple[int, int]:
    """How many calls arrived, and how many of them were repeated ones."""
    calls: list[dict[str, Any]] = arrivals(books)
    return len(calls), len(calls) - len({(call["op"], call["key"]) for call in calls})
