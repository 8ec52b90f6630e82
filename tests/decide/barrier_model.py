"""An explicit-state model of a remote step: network, participant and barrier, all interleavings.

The network is a set of messages. In a *sticky* scope nothing ever leaves it, so each message may be
delivered any number of times, in any order, however late, or never: that is duplication, reordering,
delay and loss without a bound. In any other scope a delivery takes a message out or does not, and a
message may be lost, so that the network can become empty and what is left can be looked at.

The participant asks the real barrier and keeps rows and effects as a database does that shows what is
committed and nothing else (READ COMMITTED): a handler's transaction begins, holds its locks, and ends
later, or never. The orchestrator is whatever obeys `Orchestrator`: `barrier_model_saga.py`, written from
the design and nothing else, or `barrier_model_core.py`, which is the real core.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from amends.decide.barrier import HORIZON_SECONDS, Arrival, Entry, Kept, Ruling, Verdict, answer, arrives
from amends.decide.events import ACTION, UNDO, Phase
from amends.decide.wire import Word

ENDS = ("completed", "compensated", "parked")
NOW = 10 * HORIZON_SECONDS
LONG_AGO = NOW - 2 * HORIZON_SECONDS


class Command(NamedTuple):
    """A command on its way. old: sent longer ago than the horizon."""

    step: int
    phase: Phase
    round: int
    known: bool = False
    closed: int = 0
    old: bool = False

    def __str__(self) -> str:
        known = (", known to have succeeded" if self.known else ", unknown") if self.phase is UNDO else ""
        closed = f", rounds up to {self.closed} closed" if self.closed else ""
        return f"the {self.phase} of step {self.step}, round {self.round}{known}{closed}{', old' if self.old else ''}"


class Reply(NamedTuple):
    """An answer on its way. park: the handler asked for a person."""

    step: int
    phase: Phase
    round: int
    word: Word
    park: bool = False

    def __str__(self) -> str:
        word = "asks for a person" if self.park else self.word
        return f"the reply '{word}' to the {self.phase} of step {self.step}, round {self.round}"


class Turn(NamedTuple):
    """What an orchestrator may do next. fair: it happens by itself, sooner or later."""

    what: str
    saga: Hashable
    commands: tuple[Command, ...] = ()
    fair: bool = True


class Claim(NamedTuple):
    """What the saga says of a round: that its effect stands, or that none does."""

    step: int
    round: int
    stands: bool


class Orchestrator(Protocol):
    """The sender of commands. A saga is a value that can be compared and hashed."""

    def begin(self) -> Turn:
        """The saga's first decision."""
        ...

    def turns(self, saga: Hashable) -> Iterable[Turn]:
        """What happens by itself, by time, or by a person's act."""
        ...

    def told(self, saga: Hashable, reply: Reply) -> Turn:
        """What follows from a reply."""
        ...

    def in_flight(self, saga: Hashable) -> tuple[Command, ...]:
        """What whoever takes the saga over sends again."""
        ...

    def status(self, saga: Hashable) -> str:
        """Of the saga."""
        ...

    def claims(self, saga: Hashable) -> tuple[Claim, ...]:
        """What it says."""
        ...

    def closed(self, saga: Hashable, step: int) -> int:
        """Rounds up to it were closed by a person, who answers for their effects."""
        ...


class Slot(NamedTuple):
    """One step's round at the participant. acted, undone: effects that were committed. told: what was
    answered for good: `settled`, so that no effect stands, or `missing`."""

    row: Entry | None = None
    acted: int = 0
    undone: int = 0
    told: str = ""
    late: bool = False  # an action was handled after the inbox was lost
    guessed: bool = False  # after that, `void` was answered to a sender who did not know, upon nothing


class Task(NamedTuple):
    """A handler at work: the command's number, and the lower rounds that it buries."""

    letter: int
    bury: tuple[int, ...] = ()


class World(NamedTuple):
    """All there is."""

    saga: Hashable
    net: int  # a bit for each message
    slots: tuple[Slot, ...]
    tasks: tuple[Task, ...] = ()
    weeks: int = 0
    lost: bool = False
    wrong: str = ""


class Move(NamedTuple):
    """One thing that may happen next. about: the message, or -1."""

    what: str
    about: int
    world: World
    fair: bool


class Scope(NamedTuple):
    """How much is explored.

    handlers: commands at work at once. weeks: how often a horizon may pass. loss: "rows" if the inbox
    may be lost once and the effects stay, "all" if both go. failures: without them what has failed is not
    answered, which is to its sender what a lost reply is. sticky: as in the head of this page. excuses:
    what is said after a loss may be wrong where the loss is to blame, as `_excused` has it.
    """

    steps: int = 1
    rounds: int = 2
    handlers: int = 2
    weeks: int = 1
    loss: str = ""
    failures: bool = True
    sticky: bool = True
    excuses: frozenset[str] = frozenset({"late", "guessed"})
    worlds_max: int = 2_000_000


Judge = Callable[[Arrival, Mapping[int, Entry], float], Ruling]
Lock = tuple[int, int, str]


def one_row(command: Command) -> Lock:
    """What an arrival locks: one row for both phases."""
    return (command.step, command.round, "")


@dataclass(frozen=True)
class Participant:
    """The rules of a participant; a mutant has one that is wrong."""

    judge: Judge = arrives
    lock: Callable[[Command], Lock] = one_row
    buries: bool = True
    keeps_rejections: bool = True


class Model:
    """The moves of a world."""

    def __init__(self, orchestrator: Orchestrator, scope: Scope, participant: Participant | None = None) -> None:
        self.orchestrator = orchestrator
        self.scope = scope
        self.participant = participant or Participant()
        self.letters: list[Command | Reply] = []
        self._numbers: dict[Command | Reply, int] = {}
        self._rulings: dict[tuple[int, tuple[Entry | None, ...]], Ruling] = {}
        self._told: dict[tuple[Hashable, int], Turn] = {}
        self._turns: dict[Hashable, tuple[Turn, ...]] = {}

    def first(self) -> World:
        """The world when the saga has just begun."""
        turn = self.orchestrator.begin()
        slots = (Slot(),) * (self.scope.steps * self.scope.rounds)
        return World(turn.saga, self._sent(0, turn.commands), slots)

    def moves(self, world: World) -> Iterator[Move]:
        """Everything that can happen next."""
        net, number = world.net, 0
        while net >> number:
            if net >> number & 1:
                letter = self.letters[number]
                if isinstance(letter, Reply):
                    yield from self._reply(world, number, letter)
                else:
                    yield from self._arrival(world, number, letter)
                if not self.scope.sticky:
                    yield Move("lost:", number, world._replace(net=net & ~(1 << number)), fair=False)
            number += 1
        for task in world.tasks:
            yield from self._end(world, task)
        turns = self._turns.get(world.saga)
        if turns is None:
            turns = self._turns[world.saga] = tuple(self.orchestrator.turns(world.saga))
        for turn in turns:
            yield Move(turn.what, -1, self._turned(world, turn, world.net), turn.fair)
        yield from self._fate(world)

    def _fate(self, world: World) -> Iterator[Move]:
        """What nobody decides: a worker dies, a horizon passes, the inbox is lost."""
        again = self._sent(world.net, self.orchestrator.in_flight(world.saga))
        if again != world.net:
            yield Move(
                "another worker takes over and sends again what is in flight", -1, world._replace(net=again), False
            )
        if world.tasks:
            return  # a transaction lasts no longer than its timeout, and is gone with its database
        if world.weeks < self.scope.weeks:
            yield Move("the horizon passes", -1, self._aged(world), fair=False)
        if self.scope.loss and not world.lost:
            yield Move("the inbox is lost", -1, self._wiped(world), fair=False)

    def _aged(self, world: World) -> World:
        """Every command is too old, and what is kept of a saga that has ended is forgotten."""
        net = 0
        for number, letter in enumerate(self.letters[:]):
            if world.net >> number & 1:
                net |= self._bit(letter._replace(old=True) if isinstance(letter, Command) else letter)
        slots = world.slots
        if self.orchestrator.status(world.saga) in ("completed", "compensated"):  # a parked one is open
            slots = tuple(slot._replace(row=None) for slot in slots)
        return world._replace(net=net, slots=slots, weeks=world.weeks + 1)

    def _wiped(self, world: World) -> World:
        rows_only = self.scope.loss == "rows"
        slots = (slot._replace(row=None) if rows_only else Slot(told=slot.told) for slot in world.slots)
        return world._replace(slots=tuple(slots), lost=True)

    def _bit(self, letter: Command | Reply) -> int:
        number = self._numbers.get(letter)
        if number is None:
            number = self._numbers[letter] = len(self.letters)
            self.letters.append(letter)
        return 1 << number

    def _sent(self, net: int, commands: Iterable[Command]) -> int:
        for command in commands:
            net |= self._bit(command)
        return net

    def _consumed(self, net: int, number: int) -> tuple[tuple[int, bool], ...]:
        """The network after a delivery, and whether the message was acknowledged."""
        if self.scope.sticky:
            return ((net, True),)
        return ((net & ~(1 << number), True), (net, False))

    def _turned(self, world: World, turn: Turn, net: int) -> World:
        return world._replace(saga=turn.saga, net=self._sent(net, turn.commands))

    def _reply(self, world: World, number: int, reply: Reply) -> Iterator[Move]:
        key = (world.saga, number)
        turn = self._told.get(key)
        if turn is None:
            turn = self._told[key] = self.orchestrator.told(world.saga, reply)
        sent = self._sent(world.net, turn.commands)
        if sent == world.net and turn.saga == world.saga and self.scope.sticky:
            return
        for net, acked in self._consumed(sent, number):
            yield Move("arrives:", number, world._replace(saga=turn.saga, net=net), acked)

    def _place(self, step: int, round_: int) -> int:
        return step * self.scope.rounds + round_ - 1

    def _arrival(self, world: World, number: int, command: Command) -> Iterator[Move]:
        """The row is created or locked, and read only then. Whoever finds it locked waits."""
        busy = self._busy(world)
        if busy and self.participant.lock(command) in busy:
            return
        base = command.step * self.scope.rounds
        ruling = self._ruling(number, command, world.slots[base : base + self.scope.rounds])
        if ruling.verdict is not Verdict.RUN:
            yield from self._settled(world, number, command, ruling)
            return
        bury = ruling.tombstones if self.participant.buries else ()
        held = any((command.step, lower, "") in busy for lower in bury)
        if held or len(world.tasks) == self.scope.handlers:
            return
        wrong = self._wrong_begin(world, command)
        tasks = tuple(sorted((*world.tasks, Task(number, bury))))
        yield Move("a handler begins:", number, world._replace(tasks=tasks, wrong=wrong), fair=True)

    def _wrong_begin(self, world: World, command: Command) -> str:
        row = world.slots[self._place(command.step, command.round)].row
        if command.phase is UNDO:
            return "an undo runs without what its action gave" if row is None or row.result is None else ""
        replaced = any(slot.row is not None for slot in self._higher(world, command))
        return "an action begins in a round that a later one has replaced" if replaced else ""

    def _higher(self, world: World, command: Command) -> tuple[Slot, ...]:
        return world.slots[self._place(command.step, command.round) + 1 : (command.step + 1) * self.scope.rounds]

    def _busy(self, world: World) -> set[Lock]:
        busy: set[Lock] = set()
        for task in world.tasks:
            command = self.letters[task.letter]
            assert isinstance(command, Command)
            busy.add(self.participant.lock(command))
            busy.update((command.step, lower, "") for lower in task.bury)
        return busy

    def _ruling(self, number: int, command: Command, slots: tuple[Slot, ...]) -> Ruling:
        key = (number, tuple(slot.row for slot in slots))
        ruling = self._rulings.get(key)
        if ruling is None:
            rows = {round_: row for round_, row in enumerate(key[1], 1) if row is not None}
            sent_at = LONG_AGO if command.old else NOW
            arrival = Arrival(command.phase, command.round, sent_at, command.closed, command.known)
            ruling = self._rulings[key] = self.participant.judge(arrival, rows, NOW)
        return ruling

    def _settled(self, world: World, number: int, command: Command, ruling: Ruling) -> Iterator[Move]:
        """The barrier has the answer: the handler is not called."""
        place = self._place(command.step, command.round)
        slot = world.slots[place]
        word = answer(ruling.verdict, slot.row)
        told, wrong = slot.told, ""
        if word is Word.MISSING:
            told = "missing"
        elif command.phase is ACTION and ruling.verdict is Verdict.REPLAY and slot.undone and not world.lost:
            wrong = "an action is answered as before, though it was undone"
        elif word in (Word.VOID, Word.COMPENSATED, Word.REJECTED):
            told = "settled"
            if slot.told == "missing" and not world.lost:
                wrong = "what was missing is missing no longer"
        elif word is Word.EARLIER_OPEN and not self._open_below(world, command):
            wrong = "a round is held up by one that nobody has to settle"
        guessed = slot.guessed or (word is Word.VOID and world.lost and slot.row is None and not command.known)
        slot = slot._replace(row=ruling.entry or slot.row, told=told, guessed=guessed)
        yield from self._answered(world, number, Reply(*command[:3], word), {place: slot}, world.tasks, wrong)

    def _open_below(self, world: World, command: Command) -> bool:
        rounds = range(command.closed + 1, command.round)
        slots = (world.slots[self._place(command.step, lower)] for lower in rounds)
        return any(slot.acted > slot.undone for slot in slots)

    def _answered(
        self,
        world: World,
        number: int,
        reply: Reply,
        changes: dict[int, Slot],
        tasks: tuple[Task, ...],
        wrong: str = "",
    ) -> Iterator[Move]:
        slots = tuple(changes.get(place, slot) for place, slot in enumerate(world.slots)) if changes else world.slots
        bit = self._bit(reply)
        if self.scope.sticky and world.net & bit and slots == world.slots and tasks is world.tasks and not wrong:
            return
        for net, acked in self._consumed(world.net, number):
            what = f"is answered '{'a person is asked for' if reply.park else reply.word}':"
            after = world._replace(net=net | bit, slots=slots, tasks=tasks, wrong=wrong)
            yield Move(what, number, after, acked)

    def _end(self, world: World, task: Task) -> Iterator[Move]:
        """A handler's transaction ends. After a crash the broker gives the command to somebody else."""
        tasks = tuple(other for other in world.tasks if other != task)
        command = self.letters[task.letter]
        assert isinstance(command, Command)
        yield Move("its handler dies before the commit:", task.letter, world._replace(tasks=tasks), fair=False)
        for word, park in self._rolled_back(command.phase):
            yield from self._answered(world, task.letter, Reply(*command[:3], word, park), {}, tasks)
        ended = self._undone if command.phase is UNDO else self._acted
        yield from ended(world, task, command, tasks)

    def _rolled_back(self, phase: Phase) -> Iterator[tuple[Word, bool]]:
        """What is answered where nothing is stored."""
        yield Word.FAILED, True
        if self.scope.failures:
            yield Word.FAILED, False
            if phase is UNDO:
                yield Word.REJECTED, False

    def _undone(self, world: World, task: Task, command: Command, tasks: tuple[Task, ...]) -> Iterator[Move]:
        place = self._place(command.step, command.round)
        slot = world.slots[place]
        row = (slot.row or Entry(Kept.SUCCEEDED))._replace(compensated=True)
        wrong = "an effect is undone twice" if slot.undone >= slot.acted and not world.lost else ""
        after = slot._replace(row=row, undone=slot.undone + 1, told="settled")
        reply = Reply(*command[:3], answer(Verdict.RUN, row))
        yield from self._answered(world, task.letter, reply, {place: after}, tasks, wrong)

    def _acted(self, world: World, task: Task, command: Command, tasks: tuple[Task, ...]) -> Iterator[Move]:
        place = self._place(command.step, command.round)
        slot = world.slots[place]
        buried = {self._place(command.step, lower): Slot(Entry(Kept.TOMBSTONE)) for lower in task.bury}
        for at in buried:
            buried[at] = world.slots[at]._replace(row=Entry(Kept.TOMBSTONE))
        kept = Entry(Kept.SUCCEEDED, result=b"1", command=b"1")
        done = slot._replace(row=kept, acted=slot.acted + 1, late=slot.late or world.lost)
        reply = Reply(*command[:3], answer(Verdict.RUN, kept))
        wrong = self._wrong_action(world, command, slot)
        yield from self._answered(world, task.letter, reply, {**buried, place: done}, tasks, wrong)
        row = Entry(Kept.REJECTED, reason="no") if self.participant.keeps_rejections else None
        refused = {**buried, place: slot._replace(row=row, told="settled", late=slot.late or world.lost)}
        yield from self._answered(world, task.letter, Reply(*command[:3], Word.REJECTED), refused, tasks)

    def _wrong_action(self, world: World, command: Command, slot: Slot) -> str:
        if slot.undone or (slot.row is not None and slot.row.action is Kept.TOMBSTONE):
            return "" if world.lost else "an action is committed after its compensation"
        if any(
            other.row is not None and other.row.action is not Kept.TOMBSTONE for other in self._higher(world, command)
        ):
            return "an action is committed in a round after one of a later round"
        return ""

    def violation(self, world: World) -> str:
        """What must never be seen, in words; empty if all is well."""
        if world.wrong:
            return world.wrong
        for place, slot in enumerate(world.slots):
            standing = slot.acted - slot.undone
            if slot.acted > 1 and not (world.lost and self.scope.loss == "rows"):
                return f"two effects of {self._named(place)}"
            if standing > 0 and slot.told == "settled" and not world.lost:
                return f"an effect of {self._named(place)} stands, and its sender was told that none does"
        return self._two_rounds(world) or self._false_claim(world)

    def _named(self, place: int) -> str:
        return f"step {place // self.scope.rounds}, round {place % self.scope.rounds + 1}"

    def _two_rounds(self, world: World) -> str:
        for step in range(self.scope.steps):
            closed = self.orchestrator.closed(world.saga, step)
            rounds = world.slots[step * self.scope.rounds + closed : (step + 1) * self.scope.rounds]
            if sum(slot.acted > slot.undone for slot in rounds) > 1 and not world.lost:
                return f"two rounds of step {step} stand"
        return ""

    def _false_claim(self, world: World) -> str:
        for step, round_, stands in self.orchestrator.claims(world.saga):
            if round_ <= self.orchestrator.closed(world.saga, step):
                continue
            slot = world.slots[self._place(step, round_)]
            standing = slot.acted - slot.undone
            if standing == stands or (world.lost and self._excused(slot, stands=stands)):
                continue
            said = "stands" if stands else "does not stand"
            status = self.orchestrator.status(world.saga)
            return f"the saga is {status} and says that {self._named(step * self.scope.rounds + round_ - 1)} {said}"
        return ""

    def _excused(self, slot: Slot, *, stands: bool) -> bool:
        """What an inbox that is lost takes from the promises: a recorded success says no more than that it once
        was; that no effect stands holds unless the action was handled after the loss, or its undo found
        nothing and its sender did not know that there had been something."""
        excuses = self.scope.excuses
        return stands or (slot.late and "late" in excuses) or (slot.guessed and "guessed" in excuses)


class Report(NamedTuple):
    """What was seen. ends: worlds in which the saga is at rest, by its status. quiet: worlds in which nothing
    is on its way any more. path: the shortest history that goes wrong, and what is wrong with it."""

    worlds: int
    moves: int
    ends: Mapping[str, int]
    quiet: int
    path: tuple[str, ...]

    def __str__(self) -> str:
        ends = ", ".join(f"{count:,} {status}" for status, count in sorted(self.ends.items()))
        return f"{self.worlds:,} worlds, {self.moves:,} moves; at rest: {ends}"


def explore(model: Model) -> Report:
    """Visit every world that can be reached, the nearest first, until one is bad."""
    came: dict[World, tuple[World, Move] | None] = {model.first(): None}
    queue = deque(came)
    count, quiet, ends = 0, 0, dict[str, int]()
    onward: dict[World, list[World]] = {}  # what happens by itself, where the network can become empty
    while queue:
        world = queue.popleft()
        bad = model.violation(world)
        fair: list[World] = []
        for move in () if bad else model.moves(world):
            count += 1
            after = move.world
            if after == world:
                continue
            if move.fair:
                fair.append(after)
            if after not in came:
                came[after] = (world, move)
                queue.append(after)
        status = model.orchestrator.status(world.saga)
        if status in ENDS:
            ends[status] = ends.get(status, 0) + 1
        elif not (bad or fair):
            bad = f"the saga is {status}, and nothing will ever move it"
        if not (bad or fair or model.scope.sticky) and (world.net or world.tasks):
            bad = "something is on its way, and will never arrive"
        quiet += not fair
        if not model.scope.sticky:
            onward[world] = fair
        if bad or len(came) > model.scope.worlds_max:
            return Report(len(came), count, ends, quiet, (*_path(model, came, world), bad or "too many worlds"))
    if (circle := _on_a_circle(onward)) is not None:
        return Report(len(came), count, ends, quiet, (*_path(model, came, circle), "this may go on for ever"))
    return Report(len(came), count, ends, quiet, ())


def _on_a_circle(onward: Mapping[World, list[World]]) -> World | None:
    """A world that may come back to itself without a fault and without a person, or None."""
    into = dict.fromkeys(onward, 0)
    for afters in onward.values():
        for after in afters:
            into[after] += 1
    free = [world for world, count in into.items() if count == 0]
    while free:
        for after in onward[free.pop()]:
            into[after] -= 1
            if into[after] == 0:
                free.append(after)
    return next((world for world, count in into.items() if count > 0), None)


def _path(model: Model, came: dict[World, tuple[World, Move] | None], world: World) -> tuple[str, ...]:
    steps: list[str] = []
    while (link := came[world]) is not None:
        world, move = link
        steps.append(f"{move.what} {model.letters[move.about]}" if move.about >= 0 else move.what)
    return tuple(reversed(steps))
