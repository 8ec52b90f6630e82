"""A choreographed saga in the hands of the service that holds it: its history, and what it decides to add.

Guarantees: what is decided follows from the history and the outcome alone, by the same rules as an orchestrator's;
a row is added only by what happened here.
Must not: read or write a database, or send.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import NamedTuple

import msgspec

from amends.decide.baton import Baton, Mark, Saga, Stand, Told
from amends.decide.choreography import next_hop, travelling
from amends.decide.draft import Reply, Word
from amends.decide.events import ACTION, Event, Phase
from amends.decide.evolve import replay
from amends.decide.messages import Failure, Looked, Message, Tick
from amends.decide.plan import Plan
from amends.decide.state import ENDED, Action, State, Status
from amends.decide.wire import NO_TRACE, Command
from amends.define.program import Program
from amends.errors import ImpossibleTransition, KeyMissing, MessageRefused, StoreDamaged
from amends.run import journal
from amends.run.deciding import decided, too_long
from amends.run.mailbox import Wish, message_of_wish
from amends.run.sealing import Keyring, Seal, Seals, opened_rows
from amends.run.settings import Settings
from amends.run.supply import Supply

Name = tuple[str, str]  # of a plan: with its fingerprint
At = tuple[str, Phase, int]  # a step, which half of it, and its round
# Of what a payload may have, a history that goes forward may have half, and any other three quarters: so there is room
# to go back, and for the word to the home, with a last row and the headers.
BATON_SHARE, HISTORY_SHARE = 1 / 2, 3 / 4
CHOREOGRAPHED = "choreographed"  # what their payloads are sealed for, in whichever service
_rows = msgspec.json.Decoder(list[msgspec.Raw]).decode


def length_of(history: bytes) -> int:
    """How many rows a history has that somebody tells. Raises MessageRefused, also for one that no saga can have."""
    rows = rows_of(history)
    try:
        replay(event for row in rows for event in journal.decode(row).events)
    except (StoreDamaged, ImpossibleTransition, LookupError) as error:
        raise MessageRefused(f"a history cannot be read: {error}") from None
    return len(rows)


def rows_of(history: bytes) -> list[bytes]:
    """The rows of a history. Raises MessageRefused."""
    try:
        if "\x00" in history.decode():  # which no JSON has, and no database keeps
            raise MessageRefused("a history cannot be read: it has a NUL")
        return [bytes(row) for row in _rows(history)]
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError, and all of msgspec's
        raise MessageRefused(f"a history cannot be read: {error}") from None


def state_of_text(history: str, seal: Seal | None = None) -> State:
    """The state that a history tells. Raises StoreDamaged, and KeyMissing for one that is sealed."""
    rows = opened_rows([bytes(row) for row in _rows(history)], seal)
    return replay(event for row in rows for event in journal.decode(row).events)


class Route(NamedTuple):
    """A saga that can travel. plan: the one that its services decide by; its own is the program's. seals: of what
    stands in its batons, where that is sealed; all its services have the same keys then."""

    program: Program
    plan: Plan
    seals: Seals | None = None

    def seal(self, saga: Saga) -> Seal | None:
        """What opens the history of a saga that is on it."""
        return None if self.seals is None else self.seals.baton(saga.home, saga.key)

    def shut(self, saga: Saga, history: bytes) -> str:
        """Why what is sealed in a history cannot be opened here; empty where it can. Raises MessageRefused for what is
        no history."""
        try:
            opened_rows(rows_of(history), self.seal(saga))
        except (KeyMissing, StoreDamaged) as error:
            return str(error)
        return ""


def route(program: Program, keys: Keyring | None = None) -> Route:
    """The route of a saga."""
    return Route(program, travelling(program.plan), None if keys is None else Seals(keys, CHOREOGRAPHED))


class Next(NamedTuple):
    """What follows. to: the service that a baton goes to. told: what the home is told. wake: when another attempt is
    due here. One of the three."""

    baton: Baton | None = None
    to: str = ""
    told: Told | None = None
    wake: float | None = None


class Journey:
    """One saga, as far as it has come. Raises MessageRefused for a history that is none."""

    def __init__(
        self, saga: Saga, route: Route, history: bytes, settings: Settings, marks: tuple[str, ...] = ()
    ) -> None:
        self.saga = saga
        self.marks: tuple[str, ...] = marks  # those that were met
        self._route = route
        self._plan = route.plan
        self.replies: tuple[Reply, ...] = ()
        self.trace: Mapping[str, str] = NO_TRACE  # of the baton that it came with
        self._settings = settings
        self._supply = Supply(route.program, {}, settings)
        self._seal = route.seal(saga)
        try:
            self._parts = rows_of(history)
            self._state: State | None = None
            self.written_at: float = 0.0  # when the last of the rows that came was
            if self._parts:
                rows = [journal.decode(row) for row in opened_rows(self._parts, self._seal)]
                self._state, self.written_at = replay(event for row in rows for event in row.events), rows[-1].at
                self._check_known(self._state)
        except (MessageRefused, KeyMissing, StoreDamaged, ImpossibleTransition, LookupError) as error:
            raise MessageRefused(f"the history of the saga {saga.key!r:.60} cannot be read: {error}") from None
        self.wake: float | None = None

    def _check_known(self, state: State) -> None:
        """Raises LookupError for a history of nodes that the plan does not have."""
        for address in state.steps:
            if self._plan.node(address) is None:
                raise LookupError(f"there is nothing at {address!r:.60}")

    @property
    def state(self) -> State:
        """After all that happened."""
        if self._state is None:
            raise MessageRefused(f"the history of the saga {self.saga.key!r:.60} is empty")
        return self._state

    @property
    def history(self) -> bytes:
        """All rows, as a JSON list."""
        return b"[" + b",".join(self._parts) + b"]"

    @property
    def length(self) -> int:
        """How many rows there are."""
        return len(self._parts)

    def since(self, length: int) -> list[Event]:
        """What the rows say that came after so many."""
        return [event for row in self._parts[length:] for event in journal.decode(row).events]

    @property
    def plan(self) -> Plan:
        """By which it is decided."""
        return self._plan

    @property
    def size(self) -> int:
        """How many bytes they have."""
        return sum(map(len, self._parts)) + len(self._parts) + 1

    def too_large(self, *, ahead: bool) -> str:
        """Why it cannot be carried; empty if it can. ahead: to a step that is to be done."""
        size, limit = self.size, int(self._settings.payload_bytes * (BATON_SHARE if ahead else HISTORY_SHARE))
        if size <= limit:
            return ""
        return f"its baton would have {size:,} bytes, and {limit:,} are allowed (payload_bytes)"

    def copy(self) -> Journey:
        """Another at the same place, with the same answers to give."""
        other = copy(self)  # nothing but the core changes a state, and that makes another
        other._parts = list(self._parts)
        other._supply = Supply(self._route.program, {}, self._settings)
        return other

    def tell(self, message: Message, now: float) -> None:
        """Let a message have its effect. now: by the clock of whoever holds the saga."""
        decision = decided(self._plan, self._state, message, now, self._supply)
        self._state, self.wake = decision.state, decision.wake
        self.replies += decision.replies
        if decision.events:
            kept = decision.events if self._seal is None else self._seal.events(decision.events)
            self._parts.append(journal.encode(now, 0, kept))
        if (halt := too_long(decision, self._settings.history_lines)) is not None:
            self.tell(halt, now)

    def meet(self, mark: Mark, now: float) -> None:
        """Let what somebody wants have its effect, unless it could not be carried then."""
        before = self._state, self.wake, list(self._parts), self.replies
        self.marks = (*self.marks, mark.id)
        seen, limit = mark.version, self._settings.payload_bytes
        looked = None if seen is None else Looked(seen, journal.changed_in(self._parts), self.length)
        self.tell(message_of_wish(mark.id, wish_of(mark), self._route.program, limit, looked=looked), now)
        if why := self.too_large(ahead=False):
            self._state, self.wake, self._parts, replies = before
            self.replies = (*replies, Reply(mark.id, Word.REFUSED, why))

    def begin(self, now: float) -> None:
        """Look at the clock before the half of a step that is next. What was never begun, in a saga that goes back,
        has done nothing."""
        self.tell(Tick(), now)
        hop = next_hop(self.state)
        if hop is not None and hop[1] is ACTION and self.state.turned is not None:
            self.tell(Failure(hop[0], ACTION, "it was not begun", resolved=True, final=True), now)

    def command(self, sent_at: float) -> Command:
        """The half of a step that is next, as a service is asked for it. Raises MessageRefused where there is none."""
        hop = next_hop(self.state)
        if hop is None:
            raise MessageRefused(f"the history of the saga {self.saga.key!r:.60} says that nothing is to be done")
        address, phase = hop
        step = self.state.step(address)
        return Command(
            self._plan.step(address).command,
            self.saga.home,
            self.saga.id,
            self.saga.key,
            address,
            phase,
            step.command or b"null",
            token="",
            reply_to="",
            sent_at=sent_at,
            round=step.round,
            attempt=step.track(phase).attempts,
            closed=step.closed,
            known=step.action.status is Action.SUCCEEDED or step.result is not None,
            trace=self.trace,
        )

    def next(self, service: str, now: float, at: At | None = None) -> Next:
        """What follows from where it stands. service: who holds it. at: the half of a step that it is at there; what is
        to be tried again at once waits in its row, where nothing is lost: a baton to itself would be one that was here
        before."""
        state = self.state
        hop = next_hop(state)
        if hop is not None:
            address, phase = hop
            node, round_ = self._plan.step(address), state.step(address).round
            if (address, phase, round_) == at:
                return Next(wake=now)
            baton = Baton(self.saga, node.command, address, phase, round_, self.history, now, self.marks)
            return Next(baton, node.service)
        if state.status in ENDED or state.status is Status.PARKED:
            stand = Stand.ENDED if state.status in ENDED else Stand.PARKED
            return Next(told=Told(self.saga, stand, service, self.history, self.marks))
        return Next(wake=now if self.wake is None else self.wake)


def wish_of(mark: Mark) -> Wish:
    """What a mark wants. Of an act that a person is named in, that stands where another has its step."""
    _, _, verb, address, actor, reason, result, version, settled = mark
    if verb == "assign":
        return Wish(verb, "", actor, reason, person=address, version=version)
    if verb == "retry":
        return Wish(verb, address, actor, reason, arguments=result, settled=settled, version=version)
    return Wish(verb, address, actor, reason, result, version=version)
