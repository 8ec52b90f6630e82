"""The real core, as the workers of the joined model ask it: states by number, decisions by state and message.

A journal is kept as the state that it gives: nobody reads anything else of it. What only counts is left out
of a state (how long the history is, how often an undo was tried, why something failed), and all due instants
are one moment, so that there are finitely many. A half of a step is a number: 2 x step, and 1 more for its undo.
Must not: decide. Where a guard is taken away, the message or the plan is another, never the core.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from amends.decide import events as e
from amends.decide import messages as m
from amends.decide.decide import decide
from amends.decide.events import ACTION, UNDO, Cause, Phase
from amends.decide.messages import Message
from amends.decide.plan import Node, ParallelNode, Place, Plan, SequenceNode, StepNode
from amends.decide.policy import Policy
from amends.decide.state import Action, State, Status, StepState, Turn, Undo, in_flight
from amends.decide.wire import Word

STEPS = ("a", "b", "c")
NO_ANSWER, WAITING, NOTED, ACCEPTED, TOO_LATE = range(5)  # what is said to a client's cancel; first: it was never sent
TIMEOUT, SIBLINGS, ORDER = "a timeout is no rejection", "siblings in flight are awaited", "backwards in order"
T = TypeVar("T")
DUE, LATER, FAR = 1.0, 2.0, 1000.0
_SETTLED = (Undo.COMPENSATED, Undo.VOID)
_KNOWN = (Action.SUCCEEDED, Action.REJECTED)
_WORDS = {"accepted": ACCEPTED, "too late": TOO_LATE}


class Letter(NamedTuple):
    """A command on its way or, with a word, a reply. known: of an undo, that its action is known to have succeeded."""

    half: int
    known: bool = False
    word: Word | None = None

    def __str__(self) -> str:
        what = named(self.half)
        if self.word is not None:
            return f"the reply '{self.word}' to {what}"
        return f"{what}{', known' if self.known else ''}"


def named(half: int) -> str:
    """A half of a step, in words."""
    return f"the {'undo' if half & 1 else 'action'} of {STEPS[half >> 1]}"


class Decided(NamedTuple):
    """What follows from a message. state: the one after it. row: whether there is anything to write. sends: letters by
    number. cancel: what is said to the client's, NO_ANSWER where nothing is."""

    state: int
    row: bool
    sends: tuple[int, ...] = ()
    cancel: int = NO_ANSWER


class Known(NamedTuple):
    """What is asked of a state again and again. stands: by step, what the saga says of its effect; None where nothing.
    over: halves that nothing will be heard of that changes the saga, as a set of bits. issued: halves that were."""

    status: Status
    ended: bool
    flying: tuple[int, ...]
    stands: tuple[bool | None, ...]
    over: int
    issued: int
    turned: bool
    cancelled: bool


class Numbers(Generic[T]):
    """Values that stand for themselves, by number: a world is a few numbers."""

    def __init__(self, *first: T) -> None:
        self.all: list[T] = list(first)
        self._numbers: dict[T, int] = {value: number for number, value in enumerate(first)}

    def number(self, value: T) -> int:
        """Which it is."""
        number = self._numbers.get(value)
        if number is None:
            number = self._numbers[value] = len(self.all)
            self.all.append(value)
        return number


class Letters(Numbers[Letter]):
    """All that was ever sent. A network is one number: two bits for how many of each letter are on their way."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[int, tuple[tuple[int, ...], tuple[int, ...], int]] = {}

    def present(self, net: int) -> tuple[int, ...]:
        """Those of which there is one at least."""
        return self.commands(net) + self.replies(net) if net else ()

    def commands(self, net: int) -> tuple[int, ...]:
        """Those of them that are commands."""
        return (self._seen.get(net) or self._look(net))[0]

    def replies(self, net: int) -> tuple[int, ...]:
        """Those of them that are replies."""
        return (self._seen.get(net) or self._look(net))[1]

    def halves(self, net: int) -> int:
        """Which halves they are about, as a set of bits."""
        return (self._seen.get(net) or self._look(net))[2]

    def _look(self, net: int) -> tuple[tuple[int, ...], tuple[int, ...], int]:
        found = [number for number in range(len(self.all)) if net >> 2 * number & 3]
        commands = tuple(number for number in found if self.all[number].word is None)
        replies = tuple(number for number in found if self.all[number].word is not None)
        halves = 0
        for number in found:
            halves |= 1 << self.all[number].half
        self._seen[net] = seen = (commands, replies, halves)
        return seen

    def add(self, net: int, number: int) -> int:
        """One more. A fourth of the same would say nothing that the third did not, and is left out."""
        return net if net >> 2 * number & 3 == 3 else net + (1 << 2 * number)

    def sent(self, net: int, numbers: tuple[int, ...]) -> int:
        """One more of each."""
        for number in numbers:
            net = self.add(net, number)
        return net


def without(net: int, number: int) -> int:
    """One less."""
    return net - (1 << 2 * number)


def plan_of(kind: str) -> Plan:
    """A saga of three steps with a parallel pair: all of them before the pivot, or the first of them the pivot."""
    first = Place.BEFORE if kind == "pair" else Place.PIVOT
    then = Place.BEFORE if kind == "pair" else Place.AFTER
    return Plan(kind, SequenceNode((_step("a", first), ParallelNode((_step("b", then), _step("c", then))))))


def _step(name: str, place: Place) -> StepNode:
    """A step of a service of its own. An undo is tried without end, and so is what can only go forward."""
    endless = Policy(None, first_delay=0.0)
    before = place is Place.BEFORE
    retry = Policy(2, first_delay=0.0) if before else endless
    return StepNode(name, place, f"command:{name}/do", compensated=before, retry=retry, undo_retry=endless)


class Core:
    """Asks `decide`, once for each state and message."""

    def __init__(self, kind: str, letters: Letters, guards: frozenset[str]) -> None:
        self._plan = plan_of(kind)
        self._letters = letters
        self._guards = guards
        self._states: list[State] = []
        self.known: list[Known] = []
        self._numbers: dict[str, int] = {}
        self._told: dict[tuple[int, int], Decided] = {}
        self._back: Plan = self._plan
        if ORDER not in guards:
            steps: tuple[Node, ...] = tuple(self._plan.step(name) for name in STEPS)
            self._back = Plan(kind, SequenceNode((ParallelNode(steps),)))

    def begin(self) -> int:
        """A client has started the saga: it waits for whoever claims it."""
        return self._number(decide(self._plan, None, m.Start(b"{}", hold=True), 0.0).state)

    def ticked(self, state: int) -> Decided:
        """Whoever has it looks at the clock."""
        return self._cached(state, -1, lambda: (self._states[state], m.Tick()))

    def cancelled(self, state: int) -> Decided:
        """A client's cancel is taken."""
        return self._cached(state, -2, lambda: (self._states[state], m.Cancel("mail", "ann", "")))

    def timed_out(self, state: int, half: int) -> Decided:
        """No reply to a half has come in time."""
        if TIMEOUT not in self._guards and not half & 1:
            no = m.No(STEPS[half >> 1], ACTION, "no reply came", sure=True)
            return self._cached(state, -3 - half, lambda: (self._states[state], no))
        return self._cached(state, -3 - half, lambda: (_only(self._states[state], half), m.Tick()), LATER)

    def heard(self, state: int, number: int) -> Decided:
        """A reply has come."""
        return self._cached(state, number, lambda: (self._states[state], _message(self._letters.all[number])))

    def again(self, state: int) -> tuple[int, ...]:
        """The letters of all that is in flight, which whoever takes the saga over sends again."""
        return tuple(self._command(self._states[state], half) for half in self.known[state].flying)

    def text(self, state: int) -> str:
        """What there is to say of a state, the same in every model."""
        return repr(self._states[state])

    def _cached(self, state: int, key: int, asked: Callable[[], tuple[State, Message]], now: float = 0.0) -> Decided:
        found = self._told.get((state, key))
        if found is None:
            found = self._told[state, key] = self._decided(*asked(), now)
        return found

    def _decided(self, before: State, message: Message, now: float) -> Decided:
        plan = self._plan if before.turned is None else self._back
        decision = decide(plan, before, message, now)
        events, replies = list(decision.events), list(decision.replies)
        while decision.questions:
            given = tuple(m.Answer(asked.kind, asked.address, items=(b"1",)) for asked in decision.questions)
            decision = decide(plan, decision.state, m.Answers(given), now)
            events += decision.events
            replies += decision.replies
        state = decision.state
        if SIBLINGS not in self._guards and state.turned is not None:
            state = self._forgetful(state, events)
        sent = [event for event in events if isinstance(event, e.Sent)]
        sends = tuple(self._command(state, _half(event.address, event.phase)) for event in sent)
        cancel = NOTED if any(isinstance(event, e.CancelNoted) for event in events) else NO_ANSWER
        for reply in replies:
            cancel = _WORDS[reply.word.value]
        return Decided(self._number(state), bool(events or replies), sends, cancel)

    def _forgetful(self, state: State, events: list[e.Event]) -> State:
        """The guard is away: what is in flight when the saga turns back is taken for what never was."""
        for address, phase in in_flight(state):
            if phase is ACTION:
                decision = decide(self._plan, state, m.No(address, ACTION, "forgotten", sure=True), 0.0)
                events += decision.events
                state = decision.state
        return state

    def _command(self, state: State, half: int) -> int:
        step = state.step(STEPS[half >> 1])
        known = bool(half & 1) and (step.action.status is Action.SUCCEEDED or step.result is not None)
        return self._letters.number(Letter(half, known))

    def _number(self, state: State) -> int:
        plain = state.copy()
        plain.length = plain.late = 0
        if state.turned is not None:
            plain.turned = Turn(state.turned.cause, "", "")
        plain.steps = {name: _plain(state.step(name)) for name in STEPS if name in state.steps}
        key = repr(plain)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._states)
            self._states.append(plain)
            self.known.append(_known(plain))
        return number


def _half(address: str, phase: Phase) -> int:
    return 2 * STEPS.index(address) + (phase is UNDO)


def _known(state: State) -> Known:
    flying = tuple(_half(address, phase) for address, phase in in_flight(state))
    steps = [state.step(name) for name in STEPS]
    over = issued = 0
    for place, step in enumerate(steps):
        back = step.undo is not None and step.undo.status in _SETTLED
        over |= (step.action.status in _KNOWN or back) << 2 * place | back << 2 * place + 1
        issued |= (step.action.status is not Action.PENDING) << 2 * place | (step.undo is not None) << 2 * place + 1
    cancelled = state.turned is not None and state.turned.cause == Cause.CANCELLED
    stands = tuple(_stands(step) for step in steps)
    return Known(state.status, state.ended, flying, stands, over, issued, state.turned is not None, cancelled)


def _stands(step: StepState) -> bool | None:
    if step.action.status is Action.REJECTED:
        return False
    if step.undo is not None:
        return False if step.undo.status in _SETTLED else None
    return True if step.action.status is Action.SUCCEEDED else None


def _plain(step: StepState) -> StepState:
    """The step without what only counts or explains."""
    action, undo = step.action._replace(reason=""), step.undo
    action = action._replace(due=None if action.due is None else DUE)
    if action.status is not Action.RUNNING:
        action = action._replace(attempts=1, doubt=False)
    if undo is not None:
        undo = undo._replace(reason="", attempts=1, doubt=False, due=None if undo.due is None else DUE)
    return step._replace(action=action, undo=undo)


def _only(state: State, half: int) -> State:
    """The state as it is when time passes for one half alone."""
    alone = state.copy()
    for name, step in state.steps.items():
        action, undo = step.action, step.undo
        if action.due is not None and _half(name, ACTION) != half:
            action = action._replace(due=FAR)
        if undo is not None and undo.due is not None and _half(name, UNDO) != half:
            undo = undo._replace(due=FAR)
        alone.steps[name] = step._replace(action=action, undo=undo)
    return alone


def _message(letter: Letter) -> Message:
    """What a reply says to the core."""
    address, phase = STEPS[letter.half >> 1], UNDO if letter.half & 1 else ACTION
    match letter.word:
        case Word.SUCCEEDED:
            return m.Done(address, phase, b"1")
        case Word.COMPENSATED | Word.VOID:
            return m.Done(address, phase, void=letter.word is Word.VOID)
        case Word.REJECTED:
            return m.No(address, phase, "no", sure=True)
        case None:
            raise ValueError(f"{letter} is no reply")
        case word:
            return m.Barred(address, phase, word)
