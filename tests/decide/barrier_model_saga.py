"""The sender of commands in the barrier's model, written from the design and nothing else.

One saga with one remote step and "the rest", which may succeed or turn the saga back at any time. A person
may, within a budget of acts, have a round tried again, undone or closed by hand, open a new round
(retry with changed arguments, a re-run after a compensation), or send the saga back. `hasty` people open
a new round whenever they like, which the real ones are refused. Must not import the core.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from barrier_model import Claim, Command, Reply, Turn

from amends.decide.events import ACTION, UNDO, Phase
from amends.decide.wire import Word

OPEN = ("running", "waiting")


class Sent(NamedTuple):
    """A saga. left: attempts of the half that is tried. undo: empty before it is tried. back: the saga
    goes back. closed: rounds up to it were closed. acts: what people may still do."""

    status: str = "running"
    action: str = "running"
    undo: str = ""
    left: int = 0
    round: int = 1
    closed: int = 0
    back: bool = False
    acts: int = 0


@dataclass(frozen=True)
class OneStep:
    """An orchestrator of one remote step. retriable: it stands after the pivot."""

    attempts: int = 2
    acts: int = 2
    rounds: int = 2
    retriable: bool = False
    hasty: bool = False

    def begin(self) -> Turn:
        saga = Sent(left=self.attempts, acts=self.acts)
        return Turn("the saga starts", saga, self.in_flight(saga))

    def status(self, saga: Hashable) -> str:
        return _sent(saga).status

    def closed(self, saga: Hashable, step: int) -> int:
        return _sent(saga).closed

    def in_flight(self, saga: Hashable) -> tuple[Command, ...]:
        it = _sent(saga)
        if it.undo == "running":
            return (Command(0, UNDO, it.round, it.action == "succeeded", it.closed),)
        if not it.undo and it.action == "running":
            return (Command(0, ACTION, it.round, closed=it.closed),)
        return ()

    def claims(self, saga: Hashable) -> tuple[Claim, ...]:
        it = _sent(saga)
        before = () if self.hasty else tuple(Claim(0, earlier, False) for earlier in range(1, it.round))
        if it.undo in ("compensated", "void") or it.action == "rejected" or it.status == "compensated":
            return (*before, Claim(0, it.round, False))
        if it.action == "succeeded" and not it.undo:
            return (*before, Claim(0, it.round, True))
        return before

    def told(self, saga: Hashable, reply: Reply) -> Turn:
        it = _sent(saga)
        after = it
        if reply.round == it.round:
            if reply.phase is UNDO and it.undo in OPEN:
                after = self._undo_told(it, reply)
            elif reply.phase is ACTION and not it.undo and it.action in OPEN:
                after = self._action_told(it, reply)
        sent = self.in_flight(after) if after != it or reply.word is Word.EXPIRED else ()
        return Turn("", after, sent)

    def _action_told(self, it: Sent, reply: Reply) -> Sent:
        match reply.word:
            case Word.SUCCEEDED:
                return self._undo(it._replace(action="succeeded")) if it.back else it._replace(action="succeeded")
            case Word.REJECTED:
                if self.retriable:
                    return it._replace(action="rejected", status="parked")
                return it._replace(action="rejected", status="compensated", back=True)
            case Word.EXPIRED:
                return it._replace(action="running")
            case Word.EARLIER_OPEN:
                return self._undo(it._replace(action="unknown")) if it.back else self._stuck(it, ACTION)
            case Word.FENCED:
                return self._unknown(it)
            case _:
                return self._stuck(it, ACTION) if reply.park and not it.back else self._failed(it, ACTION)

    def _undo_told(self, it: Sent, reply: Reply) -> Sent:
        match reply.word:
            case Word.COMPENSATED | Word.VOID:
                undone = it._replace(undo=str(reply.word), left=0)
                return undone._replace(status="compensated" if it.back else "parked")
            case Word.EXPIRED:
                return it._replace(undo="running")
            case Word.FAILED if not reply.park:
                return self._failed(it, UNDO)
            case _:
                return self._stuck(it, UNDO)

    def _failed(self, it: Sent, phase: Phase) -> Sent:
        """An attempt that ended without a definite answer."""
        if phase is UNDO:
            return it._replace(undo="waiting") if it.left > 1 else self._stuck(it, UNDO)
        if it.back:
            return self._undo(it._replace(action="unknown"))
        return it._replace(action="waiting") if it.left > 1 else self._unknown(it)

    def _unknown(self, it: Sent) -> Sent:
        if self.retriable:
            return self._stuck(it, ACTION)
        return self._undo(it._replace(action="unknown"))

    def _stuck(self, it: Sent, phase: Phase) -> Sent:
        stuck = it._replace(action="stuck") if phase is ACTION else it._replace(undo="stuck")
        return stuck._replace(status="parked", left=0)

    def _undo(self, it: Sent, *, back: bool = True) -> Sent:
        status = "compensating" if back else "running"
        return it._replace(undo="running", back=back, status=status, left=self.attempts)

    def turns(self, saga: Hashable) -> Iterator[Turn]:
        it = _sent(saga)
        phase = UNDO if it.undo else ACTION
        half = it.undo or it.action
        if half == "running":
            yield self._turn("no reply came in time", it, self._failed(it, phase))
        elif half == "waiting":
            again = it._replace(undo="running") if it.undo else it._replace(action="running")
            yield self._turn("the next attempt is due", it, again._replace(left=it.left - 1))
        elif half == "succeeded" and it.status == "running":
            yield self._turn("the rest succeeds", it, it._replace(status="completed"))
        if it.status == "running" and not it.undo and not it.back and not self.retriable:
            yield self._turned_back(it)
        if it.acts and it.status not in ("completed", "compensated"):
            spent = it._replace(acts=it.acts - 1)
            for what, after in self._acts(spent):
                yield self._turn(f"a person {what}", it, after, fair=False)

    def _turned_back(self, it: Sent) -> Turn:
        """A later step was rejected, or somebody cancels."""
        fair = it.action == "succeeded"
        if it.action == "running":
            return self._turn(
                "the saga turns back and waits", it, it._replace(back=True, status="compensating"), fair=False
            )
        known = it if it.action == "succeeded" else it._replace(action="unknown")
        return self._turn("the saga turns back", it, self._undo(known), fair=fair)

    def _acts(self, it: Sent) -> Iterator[tuple[str, Sent]]:
        if self.hasty and it.round < self.rounds and not it.undo:
            yield "opens a new round in haste", self._new_round(it)
        if it.undo == "stuck":
            yield "has the undo tried again", it._replace(undo="running", status=self._moving(it), left=self.attempts)
            yield "closes the round by hand", self._close(it)
        elif it.status == "parked" and it.action == "stuck" and not it.undo:
            yield "has the action tried again", it._replace(action="running", status="running", left=self.attempts)
            yield "has this round undone", self._undo(it, back=False)
            yield "closes the round by hand", self._close(it)
            if not self.retriable:
                yield "sends the saga back", self._undo(it)
        elif it.status == "parked" and (it.undo or it.action in ("rejected", "closed")):
            if it.round < self.rounds:
                yield "opens a new round", self._new_round(it)
            if it.action == "closed" or it.undo == "closed":
                yield "lets the saga go on", it._replace(status="completed")

    def _moving(self, it: Sent) -> str:
        return "compensating" if it.back else "running"

    def _new_round(self, it: Sent) -> Sent:
        return it._replace(action="running", undo="", status="running", round=it.round + 1, left=self.attempts)

    def _close(self, it: Sent) -> Sent:
        closed = it._replace(undo="closed" if it.undo else "", closed=it.round)
        if not it.undo:
            closed = closed._replace(action="closed")
        return closed._replace(status="compensated" if it.back else "parked")

    def _turn(self, what: str, before: Sent, after: Sent, *, fair: bool = True) -> Turn:
        commands = self.in_flight(after)
        return Turn(what, after, commands if commands != self.in_flight(before) else (), fair)


def _sent(saga: Hashable) -> Sent:
    assert isinstance(saga, Sent)
    return saga
