"""One run of a saga: the user's functions are called, and faults happen where they stand.

Guarantees: the same scene and faults give the same run; nothing is called before the decision that issued it is in the
journal; a worker that died knows nothing but the journal.
Must not: judge the run; `explore_laws.py` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from amends.decide import events as e
from amends.decide import messages as m
from amends.decide.barrier import Entry
from amends.decide.events import Event, Phase
from amends.decide.plan import Place, StepNode
from amends.decide.state import Status, in_flight
from amends.define.context import Context
from amends.define.policy import Park
from amends.testing.explore_acts import FIRST
from amends.testing.explore_calls import Called, Try
from amends.testing.explore_course import CallOf, Course
from amends.testing.explore_excuse import unexplained
from amends.testing.explore_faults import ATTEMPTS, MOMENTS, SIGNALS, Fault, Faults, Kind

if TYPE_CHECKING:
    from amends.testing.explore_scene import Scene

NAMESPACE = "explore"
SAGA_ID = "saga-1"
INTERNAL_ID = bytes(range(16))
LEASE_SECONDS = 15.0  # a worker is gone, and another has noticed
SIGNAL_SECONDS = 1.0  # somebody answers
SLOW_SHARE = 0.9  # of its timeout
_WITHOUT_EFFECT = frozenset({Kind.FAILS, Kind.DOWN})
_SILENT = {Kind.TIMES_OUT: "no answer comes", Kind.LOST: "no attempt is ever answered"}


class Point(NamedTuple):
    """Where a fault could have stood. line: of the journal, behind which it came."""

    line: int
    name: str
    phase: Phase
    number: int
    node: StepNode | None = None  # None: a signal
    siblings: bool = False  # others are in flight beside it
    late: bool = False  # of a signal: the wait has an end


class Run(Course):
    """One run."""

    crashed: bool
    worker: int

    def __init__(self, scene: Scene, faults: Faults) -> None:
        super().__init__(scene)
        self.faults: Faults = faults
        self.met: set[Fault] = set()
        self.points: list[Point] = []
        self.swappable: list[int] = []  # lines behind which siblings are called
        self.called: set[tuple[str, Phase]] = set()
        self.own_errors: dict[tuple[str, Phase], str] = {}  # of the last attempt, where nothing was put into it
        self.own_parks: dict[tuple[str, Phase], str] = {}  # of those, where the user's code asked for a person
        self.inbox: dict[str, dict[int, Entry]] = {}  # what services keep of their commands
        self.cut: set[tuple[str, Phase]] = set()  # halves of steps whose commands do not arrive any more
        self.mended: int = 0  # how often it was parked, and taken up again
        self._at = {(fault.name, fault.phase, fault.number): fault for fault in faults if fault.kind in ATTEMPTS}
        self._moments = {(fault.kind, fault.name, fault.number): fault for fault in faults if fault.kind in MOMENTS}
        self._signals = {fault.name: fault for fault in faults if fault.kind in SIGNALS}
        self._tries: dict[tuple[str, Phase], int] = {}
        self._alone: tuple[str, Phase] | None = None

    # The course of it

    def begin_all(self) -> None:
        for name, payload in self.scene.signals:
            early = self._signals.get(name)
            if early is not None and early.kind is Kind.SIGNAL_EARLY:
                self.met.add(early)
                self._send_signal(self.now, "early", name, payload)
        self.tell(m.Start(self.scene.payload))

    def urgent(self) -> bool:
        if self.crashed:
            self._adopt()
        elif self.waiting_alone and self._alone is None:
            self._begin_alone()
        else:
            return False
        return True

    def mend(self) -> bool:
        """A saga that a fault has parked goes on: the fault is over, and a person says so."""
        if self.mended > len(self.faults) or self.standing.status is not Status.PARKED or unexplained(self):
            return False
        self.mended += 1
        self.cut.clear()
        self.note("what was down works again, and a person says: unpark")
        self.tell(m.Operate("unpark", "unpark", "", "explore", "it works again"))
        return True

    def follow(self, events: tuple[Event, ...], line: int) -> None:
        begun: list[tuple[str, Phase]] = []
        adopted = False
        for event in events:
            kind = type(event)
            if kind is e.Issued or kind is e.Sent:
                begun.append((event.address, event.phase))  # type: ignore[union-attr]  # both have them
            elif kind is e.Adopted:
                adopted = True
            elif kind is e.Waiting:
                self._expect_signal(event, line)  # type: ignore[arg-type]
        if adopted:  # what was issued and never began is in flight too
            begun = [one for one in in_flight(self.standing) if not self.plan.step(one[0]).remote]
        if len(begun) > 1:
            self.swappable.append(line)
            if self._meets(Kind.SWAPPED, "", line):
                begun.reverse()
        for address, phase in begun:
            self._begin(address, phase, siblings=len(begun) > 1 or self.busy)
        if self._moments:
            self._happen(line)

    # Attempts

    def _begin(self, address: str, phase: Phase, *, siblings: bool = False) -> None:
        """Start what was issued."""
        node = self.plan.step(address)
        if self.crashed:
            return  # whoever takes over sees in the journal that this was to begin
        if node.remote:
            self.scene.send(self, node, address, phase, siblings=siblings)
        elif self.standing.careful:
            self.waiting_alone.append((address, phase))
        else:
            self._make(Try(self, self.scene.program.step(address), node, address, phase), siblings)

    def _begin_alone(self) -> None:
        """A saga whose workers died goes on one attempt at a time."""
        address, phase = self.waiting_alone.pop(0)
        if (address, phase) not in in_flight(self.standing):
            return
        self._alone = (address, phase)
        self.tell(m.Begin(address, phase))
        node = self.plan.step(address)
        self._make(Try(self, self.scene.program.step(address), node, address, phase), siblings=False)

    def fault_at(
        self, address: str, phase: Phase, node: StepNode, *, siblings: bool = False
    ) -> tuple[int, Fault | None]:
        """Count an attempt: its number, and the fault that stands at it."""
        at = (address, phase)
        self._tries[at] = number = self._tries.get(at, 0) + 1
        self.points.append(Point(len(self.rows) - 1, address, phase, number, node, siblings))
        fault = self._at.get((address, phase, number))
        if fault is not None:
            self.met.add(fault)
            self.own_errors.pop(at, None)
            self.own_parks.pop(at, None)
        return number, fault

    def _make(self, attempt: Try, siblings: bool) -> None:
        """An attempt is made, with whatever befalls it."""
        attempt.number, fault = self.fault_at(attempt.address, attempt.phase, attempt.node, siblings=siblings)
        if fault is not None:
            self._spoil(attempt, fault.kind)
            return
        called = self.scene.perform(attempt)
        self._took_note(attempt, called)
        self._note(attempt, _ended(called))
        self._hear(attempt, called.seconds, called.message)

    def _spoil(self, attempt: Try, kind: Kind) -> None:
        """An attempt at which a fault stands."""
        address, phase = attempt.address, attempt.phase
        if kind is Kind.CRASH_BEFORE:
            self._note(attempt, "is about to be called")
            self.crash("the worker dies")
        elif kind is Kind.REJECTS:
            self._instead(attempt, m.No(address, phase, "it was made to say no", sure=attempt.readonly))
        elif kind in _WITHOUT_EFFECT:
            final = kind is Kind.DOWN
            self._instead(attempt, m.Failure(address, phase, "it was made to fail", attempt.readonly, final=final))
        else:
            self._spoil_after(attempt, kind, self.scene.perform(attempt))

    def _instead(self, attempt: Try, message: m.Message) -> None:
        """The function is not called, and this is how its attempt ends; unless a barrier knows that it was done."""
        called = self.scene.instead(attempt, message)
        self._note(attempt, f"{_ended(called)} already" if isinstance(called.message, m.Done) else _unmade(message))
        self._hear(attempt, 0.0, called.message)

    def _spoil_after(self, attempt: Try, kind: Kind, called: Called) -> None:
        """It has happened, and something goes wrong with saying so."""
        self.called.add((attempt.address, attempt.phase))
        ended = _ended(called)
        if kind is Kind.CRASH_AFTER:
            self._note(attempt, ended)
            self.crash("the worker dies before that is written")
        elif kind is Kind.SLOW:
            self._took_note(attempt, called)
            self._note(attempt, f"{ended}, and is slow to say so")
            self._hear(attempt, attempt.timeout * SLOW_SHARE, called.message)
        else:
            self._note(attempt, f"{ended}, and {_SILENT[kind]}")
            words = f"it took longer than {attempt.timeout:g} s"
            failed = m.Failure(attempt.address, attempt.phase, words, attempt.readonly, final=kind is Kind.LOST)
            self._hear(attempt, attempt.timeout, failed)

    def _hear(self, attempt: Try, seconds: float, message: m.Message) -> None:
        """The saga hears of an attempt's end, if its worker lives."""

        def heard() -> None:
            if self._alone == (attempt.address, attempt.phase):
                self._alone = None
            self.tell(message)

        self.later(self.now + seconds, heard, outside=False)

    def _took_note(self, attempt: Try, called: Called) -> None:
        """Remember whether a function failed by itself."""
        at, message = (attempt.address, attempt.phase), called.message
        self.called.add(at)
        self.ended_by_itself(at, message, called.error)

    def ended_by_itself(self, at: tuple[str, Phase], message: m.Message, error: BaseException | None) -> None:
        """Nothing was put into an attempt, and it ended so. An undo has no no."""
        self.own_errors.pop(at, None)
        self.own_parks.pop(at, None)
        wrong = isinstance(message, (m.Failure, m.Overdue)) or (isinstance(message, m.No) and at[1] is Phase.UNDO)
        if wrong:
            found = self.own_parks if isinstance(error, Park) else self.own_errors
            found[at] = getattr(message, "reason", "it does not return")

    def _note(self, attempt: Try, word: str) -> None:
        self.story.append((self.now, CallOf(attempt.address, attempt.phase, attempt.number, word)))

    def crash(self, word: str) -> None:
        """The worker is gone, and with it whatever it knows."""
        self.note(word)
        self.crashed = True

    def _adopt(self) -> None:
        """Another worker takes over. What the dead one knew and had not written is gone."""
        self.forget_what_the_worker_knew()
        self.waiting_alone.clear()
        self._alone, self.crashed = None, False
        gone, self.worker = self.worker, self.worker + 1
        self.pass_until(self.now + LEASE_SECONDS)
        self.note(f"worker {self.worker} takes over")
        for address, phase in in_flight(self.standing):
            if self.plan.step(address).remote:
                self._begin(address, phase)
        self.tell(m.Adopt(gone))

    # What happens beside it

    def _happen(self, line: int) -> None:
        """The faults behind a line of the journal."""
        if self._meets(Kind.CANCEL, "", line):
            self.note("somebody cancels")
            self.push(FIRST, m.Cancel("the cancel", "explore", "cancelled by explore"))
        deadline = self.standing.deadline
        if deadline is not None and self._meets(Kind.DEADLINE, "", line):
            self.pass_until(deadline)
            self.note("the deadline comes")
            self.push(FIRST, m.Tick())
        for name, act in self.scene.acts.items():
            if self._meets(Kind.ACT, name, line):
                self.later(FIRST, lambda name=name, act=act: self.acting.begin(name, act))  # type: ignore[misc]

    def _meets(self, kind: Kind, name: str, line: int) -> bool:
        """Whether something happens behind this line."""
        fault = self._moments.get((kind, name, line))
        if fault is None:
            return False
        self.met.add(fault)
        return True

    def _expect_signal(self, event: e.Waiting, line: int) -> None:
        """A wait is open: whoever is to answer does, or does not."""
        name = event.address
        payload = dict(self.scene.signals).get(name)
        if payload is None:
            return
        self.points.append(Point(line, name, Phase.ACTION, 1, late=event.until is not None))
        fault = self._signals.get(name)
        kind = None if fault is None else fault.kind
        if fault is not None:
            self.met.add(fault)
        if kind is Kind.SIGNAL_LOST:
            self.note(f"the signal {name} is lost")
        if kind is None or kind is Kind.SIGNAL_TWICE:
            self._send_signal(self.now + SIGNAL_SECONDS, "", name, payload)
        if kind is Kind.SIGNAL_TWICE:
            self._send_signal(self.now + SIGNAL_SECONDS, "second", name, payload)
        if kind is Kind.SIGNAL_LATE and event.until is not None:
            self._send_signal(event.until + SIGNAL_SECONDS, "late", name, payload)

    def _send_signal(self, at: float, which: str, name: str, payload: bytes) -> None:
        mail = f"the {which} signal {name}".replace("  ", " ")

        def send() -> None:
            self.note(f"{mail} is sent")
            self.tell(m.Signal(mail, name, payload))

        if self.state is None:
            self.later(FIRST, send)  # as soon as the saga is there
        else:
            self.later(at, send)

    # What attempts ask

    def context(self, attempt: Try) -> Context:
        """What a function may know about its attempt."""
        address, phase, standing = attempt.address, attempt.phase, self.standing
        step = standing.step(address)
        attempts = step.track(phase).attempts
        return Context(
            NAMESPACE,
            SAGA_ID,
            INTERNAL_ID,
            address,
            phase,
            attempts,
            step.round,
            self.worker,
            standing.deadline,
            attempt,
        )

    def arguments(self, attempt: Try) -> dict[str, Any]:
        """What a function is called with. Raises ValueRefused."""
        given: Any = attempt
        return self.supply.arguments(given, self.standing)

    def admit(self, address: str, result: Any) -> bytes:
        """The payload of a result. Raises ValueRefused and LimitExceeded."""
        return self.supply.admit(address, result)


def may_say_no(node: StepNode, fn: Any, rejects: tuple[type[Exception], ...]) -> bool:
    """Whether a rejection is a fault of this step: behind the pivot only where it says that it may."""
    if node.place is not Place.AFTER or rejects:
        return True
    return says_no(fn)


def says_no(fn: Any) -> bool:
    """Whether a function's own code has a `Reject` in it."""
    return "Reject" in getattr(getattr(fn, "__code__", None), "co_names", ())


def _unmade(message: m.Message) -> str:
    """How an attempt ended whose function was not called."""
    if isinstance(message, m.Failure):
        return f"fails{' every time' if message.final else ''}, and nothing has happened"
    return "says no"


def _ended(called: Called) -> str:
    """How a function ended, for people."""
    match called.message:
        case m.Done():
            return "is done"
        case m.No(reason=reason):
            return f"says no: {reason}"
        case m.Failure(reason=reason):
            return f"raises {reason}" if called.error is not None else f"fails: {reason}"
        case _:
            return "does not return"
