"""The world of one random saga: its ledger, its clock, its shell, and an order of its own.

Guarantees: knows which attempts really had their effect, whatever the core was told; every move
is decided twice and must come out equal, and nothing starts out of turn.
Must not: choose what happens; the state machine does.
"""

from __future__ import annotations

from random import Random

from hypothesis.stateful import RuleBasedStateMachine
from plans import base, order

from amends.decide import events as e
from amends.decide import messages as m
from amends.decide.decide import decide
from amends.decide.draft import Decision, Word
from amends.decide.events import Event, Phase
from amends.decide.evolve import evolve
from amends.decide.messages import Message
from amends.decide.plan import EachNode, Place, Plan, StepNode
from amends.decide.state import Action, State, Undo


class World(RuleBasedStateMachine):
    """What surrounds one saga."""

    plan: Plan
    state: State
    now: float
    wake: float | None

    def begin(self, plan: Plan, hold: bool, choices: Random) -> None:
        """A new saga."""
        self.plan, self.now, self.wake, self.choices = plan, 0.0, None, choices
        self.history: list[Event] = []
        self.known: State | None = None  # the history, evolved event by event
        self.results: dict[str, tuple[int, bytes | None]] = {}  # of settled steps, and in which round
        self.effects: set[str] = set()
        self.fenced: set[str] = set()  # undone: a late action does nothing any more
        self.by_hand: set[str] = set()
        self.mails = 0
        self.told: dict[str, Word] = {}
        self.workers = 1
        _, self.before = order(plan.root)
        self.mended = False
        self._settle(self._decided(m.Start(b"{}", hold)))
        if hold:
            self.say(m.Tick())

    def have_effect(self, address: str) -> None:
        if address not in self.fenced:
            self.effects.add(address)

    def harmless(self) -> set[str]:
        return {address for address in self.effects if self._step(address).readonly}

    def _step(self, address: str) -> StepNode:
        return self.plan.step(address)

    def mail(self) -> str:
        self.mails += 1
        return f"mail-{self.mails}"

    def say(self, message: Message) -> list[Event]:
        ended, before = self.state.ended, len(self.history)
        decision = self._decided(message)
        if ended:
            assert decision.events == ()
            assert decision.state == self.state
        self._settle(decision, message)
        return self.history[before:]

    def _decided(self, message: Message) -> Decision:
        frozen = repr(self.known)
        decision = decide(self.plan, self.known, message, self.now)
        assert repr(self.known) == frozen, "decide changed the state it was given"
        assert decide(self.plan, self.known, message, self.now) == decision, "decide is not a function"
        return decision

    def _settle(self, decision: Decision, message: Message | None = None) -> None:
        for _ in range(100):
            self._take(decision)
            if not decision.questions:
                break
            answers = tuple(self._answer(question.kind, question.address) for question in decision.questions)
            decision = self._decided(m.Answers(answers))
        else:
            raise AssertionError("the core asks without end")
        if isinstance(message, (m.Signal, m.Cancel, m.Operate)):
            waits = any(cancel.mail == message.mail for cancel in self.state.cancels)
            assert (message.mail in self.told) != waits, "a sender was told nothing"

    def _answer(self, kind: str, address: str) -> m.Answer:
        draw = 0.5 if self.mended else self.choices.random()
        if draw < 0.15:
            return m.Answer(kind, address, error="it raised")
        items = tuple(b'"i"' for _ in range(int(draw * 100) % 5))
        return m.Answer(kind, address, draw < 0.6, self.now + draw * 10, items)

    def _take(self, decision: Decision) -> None:
        for event in decision.events:
            self._check(event)
            self.history.append(event)
            self.known = evolve(self.known, event)
        assert self.known == decision.state, "the events do not give the state"
        self.state, self.wake = decision.state, decision.wake
        for mail, word, _ in decision.replies:
            assert mail not in self.told, "a sender was told twice"
            self.told[mail] = word

    def _check(self, event: Event) -> None:
        if isinstance(event, e.Issued):
            self._check_order(event)
        elif isinstance(event, e.Closed):
            self.by_hand.add(event.address)
        elif isinstance(event, e.Rejected):
            assert event.address not in self.effects, f"{event.address} is called rejected and had its effect"
        elif isinstance(event, e.Retried) and event.phase is Phase.ACTION:
            self.fenced.discard(event.address)

    def _check_order(self, event: e.Issued) -> None:
        """Nothing starts before what is in front of it, nothing is undone before what is behind."""
        history = self.known
        assert history is not None
        mine = base(event.address)
        for first, then in self.before:
            if event.phase is Phase.ACTION and then == mine:
                assert self._done(history, first), f"{event.address} started before {first} was done"
            if event.phase is Phase.UNDO and first == mine:
                assert self._undone(history, then), f"{event.address} was undone before {then}"
        if event.phase is Phase.UNDO:
            assert not history.running, "an undo started while an action was in flight"
            status = history.step(event.address).action.status
            assert status in (Action.SUCCEEDED, Action.UNKNOWN, Action.STUCK)
            assert self._step(event.address).place is Place.BEFORE

    def _done(self, state: State, name: str) -> bool:
        node = self.plan.node(name)
        good = (Action.SUCCEEDED, Action.SKIPPED, Action.CLOSED)
        if isinstance(node, EachNode) and name in state.groups:
            items = [state.step(f"{name}[{index}]").action.status for index in range(len(state.groups[name].items))]
            return all(status in good or (node.collect and status is Action.REJECTED) for status in items)
        return state.step(name).action.status in good

    def _undone(self, state: State, name: str) -> bool:
        settled = (Undo.COMPENSATED, Undo.VOID, Undo.CLOSED)
        for address, step in state.steps.items():
            node = self.plan.node(address)
            if base(address) != name or not isinstance(node, StepNode) or not node.compensated:
                continue
            possible = step.action.status in (Action.SUCCEEDED, Action.UNKNOWN, Action.STUCK)
            if possible and (step.undo is None or step.undo.status not in settled):
                return False
        return True
