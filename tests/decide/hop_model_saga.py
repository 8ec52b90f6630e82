"""The saga of the hop's model: three steps at three services, and the real code that carries it from one to the next.

What follows from a baton, an outcome and a mark is what `Journey` says, of whatever came; it is asked once.
Must not: know of databases, messages or time; the clock stands still but where an attempt is due.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from amends import Retry, Saga, Service, Settings, pivot
from amends.decide import messages as m
from amends.decide.baton import Mark, Stand
from amends.decide.baton import Saga as Which
from amends.decide.choreography import next_hop
from amends.decide.events import Cause, Phase
from amends.decide.messages import Message
from amends.decide.state import Status
from amends.run.journey import At, Journey, length_of, route, state_of_text

NAMES = ("a", "b", "c")
NOW, DELAY_SECONDS = 1000.0, 10.0
CANCEL, ACT = "c" * 32, "d" * 32


@dataclass(frozen=True)
class Order:
    """What the saga is about."""

    id: str


def saga_of(delay: float) -> Saga[Order, None]:
    """Three commands, the last behind the pivot. delay: seconds before the next attempt."""
    retry, steps = Retry(attempts=None, first_delay=delay, cap=delay, jitter=0.0), []
    for name in NAMES:
        command = Service(name).command("do", Order, compensation=name != "c")

        @command.request(name=name, retry=retry)
        def ask(order: Order) -> Order:
            return order

        steps.append(ask)
    return Saga("hop", steps[0], steps[1], pivot, steps[2], input=Order)


class Came(NamedTuple):
    """A saga as it is with a service. history: by number. marks: those that were met."""

    history: int
    marks: tuple[str, ...]


class Called(NamedTuple):
    """A handler is to be called: for which half, and whether the action is known to have succeeded."""

    phase: Phase
    known: bool


class Followed(NamedTuple):
    """What follows. to, at: of the next baton. stand: of the hop's row. told: how it stands, for the home. answers: to
    marks."""

    came: Came
    stand: str
    due: float
    to: str
    at: At
    told: str
    answers: tuple[tuple[str, str], ...]


class History(NamedTuple):
    """What is asked of a history. cancelled: it went back because of a cancel. unparked: an operator had it go on."""

    text: bytes
    length: int
    status: Status
    turned: bool
    cancelled: bool
    unparked: bool


NOWHERE: At = ("", Phase.ACTION, 1)


class Carriers:
    """The real code, asked once for each question. waits: an attempt that is due at once waits where it is."""

    def __init__(self, delay: float, *, waits: bool = True) -> None:
        program = saga_of(delay).program
        self._holds = waits
        self._route = route(program)
        self._which = Which(b"1" * 16, "hop-1", program.plan.name, program.plan.fingerprint, "home")
        self._settings = Settings()
        self.histories: list[History] = []
        self._numbers: dict[bytes, int] = {}
        self._found: dict[tuple[object, ...], Called | Followed | None] = {}

    def first(self) -> Followed:
        """The saga begins at its home."""
        journey = Journey(self._which, self._route, b"[]", self._settings)
        journey.tell(m.Start(b'{"id":"1"}'), NOW)
        return self._followed(journey, "home", NOW)

    def goes_on(
        self, came: Came, at: At, unmet: tuple[str, ...], now: float, outcome: Message | None
    ) -> Called | Followed | None:
        """What a service does with a saga that is there: call the handler for what it came for, if its outcome is not
        given; else what follows; None where that is nothing."""
        key = (came, at, unmet, now, outcome)
        if key not in self._found:
            self._found[key] = self._goes_on(came, at, unmet, now, outcome)
        return self._found[key]

    def again(self, came: Came, service: str) -> Followed:
        """What followed from a hop that is over."""
        key = (came, service)
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = self._followed(self._journey(came), service, NOW)
        assert isinstance(found, Followed)
        return found

    def _goes_on(
        self, came: Came, at: At, unmet: tuple[str, ...], now: float, outcome: Message | None
    ) -> Called | Followed | None:
        journey = self._journey(came)
        length = journey.length
        for mark in unmet:
            verb = "cancel" if mark == CANCEL else "unpark"
            journey.meet(Mark(self._which, mark, verb, "", "ann", ""), now)
        journey.begin(now)
        following = next_hop(journey.state)
        if following is not None and (*following, journey.state.step(following[0]).round) == at:
            if outcome is None:
                return Called(at[1], journey.command(NOW).known)
            journey.tell(outcome, now)
        elif journey.length == length and not journey.replies:
            return None
        return self._followed(journey, at[0], now, at if self._holds else None)

    def _journey(self, came: Came) -> Journey:
        text = self.histories[came.history].text
        return Journey(self._which, self._route, text, self._settings, came.marks)

    def _followed(self, journey: Journey, service: str, now: float, at: At | None = None) -> Followed:
        following = journey.next(service, now, at)
        came = Came(self._number(journey.history), journey.marks)
        answers = tuple((reply.mail, reply.word.value) for reply in journey.replies)
        if (baton := following.baton) is not None:
            return Followed(came, "passed", 0.0, following.to, (baton.step, baton.phase, baton.round), "", answers)
        if following.told is not None:
            stand = following.told.stand.value
            return Followed(came, stand, 0.0, "", NOWHERE, stand, answers)
        return Followed(came, "waiting", following.wake or now, "", NOWHERE, "", answers)

    def _number(self, text: bytes) -> int:
        number = self._numbers.get(text)
        if number is None:
            number = self._numbers[text] = len(self.histories)
            state = state_of_text(text.decode())
            cancelled = state.turned is not None and state.turned.cause == Cause.CANCELLED
            length = length_of(text)
            turned, unparked = state.turned is not None, b'"operated","unpark"' in text
            self.histories.append(History(text, length, state.status, turned, cancelled, unparked))
        return number

    def are_one(self, one: int, other: int) -> bool:
        """Whether one history is the other's beginning."""
        shorter, longer = sorted((self.histories[one], self.histories[other]), key=lambda history: history.length)
        return longer.text.startswith(shorter.text[:-1])


def of(name: str, phase: Phase, word: str) -> Message:
    """What a core is told of a half of a step."""
    match word:
        case "done":
            return m.Done(name, phase)
        case "void":
            return m.Done(name, phase, void=True)
        case "rejected":
            return m.No(name, phase, "no", sure=True)
        case "failed":
            return m.Failure(name, phase, "it failed", resolved=True)
        case _:
            return m.Failure(name, phase, "a person is asked for", resolved=True, park=True)


UNKNOWN, PARKED, ENDED = Stand.UNKNOWN_PLAN.value, Stand.PARKED.value, Stand.ENDED.value
