"""Random plans driven by random messages, checked against a ledger and an order of their own.

The machine plays the world: it knows which attempts really had their effect, also when the
core was told nothing but "unresolved". What the core concludes is compared with that.
"""

from __future__ import annotations

from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule
from plans import examples, plans
from saga_world import World

from amends.decide import events as e
from amends.decide import messages as m
from amends.decide.compensate import unsettled
from amends.decide.events import Phase
from amends.decide.evolve import replay
from amends.decide.plan import EachNode, Plan, StepNode, WaitNode, walk
from amends.decide.state import Action, Status, in_flight

CHOICES = st.randoms(use_true_random=False)


class Saga(World):
    """One saga, and everything that can be said to it."""

    @initialize(plan=plans(), hold=st.booleans(), choices=CHOICES)
    def start(self, plan: Plan, hold: bool, choices: Random) -> None:
        self.begin(plan, hold, choices)

    # What can happen

    @precondition(lambda self: bool(in_flight(self.state)))
    @rule(pick=st.integers(0, 50), how=st.sampled_from(["done", "done", "done", "no", "lost", "lost after", "failed"]))
    def attempt_ends(self, pick: int, how: str) -> None:
        running = in_flight(self.state)
        address, phase = running[pick % len(running)]
        if phase is Phase.UNDO:
            self.undo_ends(address, how)
        elif how == "done":
            self.have_effect(address)
            self.say(m.Done(address, phase, b'"r"'))
        elif how == "no":
            self.say(m.No(address, phase, "no", sure=False))
        elif how == "failed":
            self.say(m.Failure(address, phase, "rolled back", resolved=True))
        else:
            if how == "lost after":
                self.have_effect(address)
            self.say(m.Failure(address, phase, "timeout"))

    def undo_ends(self, address: str, how: str) -> None:
        if how in ("done", "lost after"):
            self.effects.discard(address)
            self.fenced.add(address)
        if how == "done":
            self.say(m.Done(address, Phase.UNDO))
        elif how == "no":
            self.say(m.No(address, Phase.UNDO, "cannot"))
        else:
            self.say(m.Failure(address, Phase.UNDO, "timeout"))

    @precondition(lambda self: bool(in_flight(self.state)))
    @rule(pick=st.integers(0, 50), how=st.sampled_from(["park", "never", "overdue", "after"]))
    def attempt_ends_oddly(self, pick: int, how: str) -> None:
        running = in_flight(self.state)
        address, phase = running[pick % len(running)]
        if phase is Phase.ACTION and how == "overdue":
            self.have_effect(address)
        if how == "overdue":
            self.say(m.Overdue(address, phase, self.workers))
        elif how == "after":
            self.say(m.Failure(address, phase, "busy", after=3.0))
        else:
            self.say(m.Failure(address, phase, how, park=how == "park", final=how == "never"))

    @rule(pick=st.integers(0, 50), good=st.booleans())
    def late_answer(self, pick: int, good: bool) -> None:
        quiet = [address for address in self.state.steps if (address, Phase.ACTION) not in in_flight(self.state)]
        quiet = [address for address in quiet if isinstance(self.plan.node(address), StepNode)]
        if quiet:
            address = quiet[pick % len(quiet)]
            before = self.state
            self.say(m.Done(address, Phase.ACTION, b'"late"') if good else m.No(address, Phase.ACTION, "late"))
            assert self.state.late == before.late + (not before.ended)
            if self.now < (self.wake or self.now):
                assert self.state.status is before.status, "a late answer moved the saga"

    @precondition(lambda self: self.wake is not None)
    @rule()
    def time_comes(self) -> None:
        assert self.wake is not None
        self.now = max(self.now, self.wake)
        self.say(m.Tick())

    @rule(seconds=st.sampled_from([0.0, 0.5, 60.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.say(m.Tick())

    @rule(seconds=st.sampled_from([1.0, 15.0]))
    def time_passes_and_nobody_looks(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def cancel(self) -> None:
        self.say(m.Cancel(self.mail(), "ann", "changed her mind"))

    @rule(pick=st.integers(0, 50))
    def signal(self, pick: int) -> None:
        waits = [node.address for node in walk(self.plan.root) if isinstance(node, WaitNode)]
        self.say(m.Signal(self.mail(), [*waits, "nothing"][pick % (len(waits) + 1)], b'"yes"'))

    @rule(survived=st.sets(st.integers(0, 3), max_size=2))
    def worker_dies(self, survived: set[int]) -> None:
        gone, self.workers = self.workers, self.workers + 1
        lost = in_flight(self.state)
        events = self.say(m.Adopt(gone, frozenset(gone - back for back in survived)))
        if not lost:
            assert not any(isinstance(event, e.Adopted) for event in events)

    @precondition(lambda self: self.state.careful and bool(in_flight(self.state)))
    @rule()
    def begins_carefully(self) -> None:
        self.say(m.Begin(*in_flight(self.state)[0]))

    @rule()
    def limit_is_reached(self) -> None:
        self.say(m.Halt("too long a history"))

    @rule(
        verb=st.sampled_from(["retry", "skip", "resolve", "compensate", "unpark"]),
        pick=st.integers(0, 50),
        live=st.booleans(),
    )
    def operate(self, verb: str, pick: int, live: bool) -> None:
        names = [*self.state.steps, *self.plan.by_address, "nothing"]
        address = "" if verb in ("compensate", "unpark") else names[pick % len(names)]
        result = b'"by hand"' if verb == "resolve" else None
        workers = frozenset({self.workers}) if live else frozenset()
        self.say(m.Operate(self.mail(), verb, address, "bob", "knows", result, workers))

    # What must hold

    @invariant()
    def attempts_stay_inside_their_policy(self) -> None:
        for address, step in self.state.steps.items():
            node = self.plan.node(address)
            if isinstance(node, StepNode):
                assert node.retry.attempts is None or step.action.attempts <= node.retry.attempts
                assert step.undo is None or step.undo.attempts <= (node.undo_retry.attempts or 0)

    @invariant()
    def what_others_may_have_read_does_not_change(self) -> None:
        for address, step in self.state.steps.items():
            if step.action.status in (Action.SUCCEEDED, Action.CLOSED):
                assert self.results.setdefault(address, (step.round, step.result)) == (step.round, step.result)

    @invariant()
    def a_saga_at_rest_waits_for_no_instant(self) -> None:
        if self.state.ended or self.state.status is Status.PARKED:
            assert self.wake is None

    @invariant()
    def an_open_saga_has_something_that_moves_it(self) -> None:
        if self.state.status in (Status.RUNNING, Status.COMPENSATING):
            open_wait = any(
                isinstance(self.plan.node(address), WaitNode) and step.action.status is Action.WAITING
                for address, step in self.state.steps.items()
            )
            assert in_flight(self.state) or self.wake is not None or open_wait

    @invariant()
    def a_parked_saga_says_what_is_stuck(self) -> None:
        if self.state.status is Status.PARKED:
            assert self.state.parked
            assert not in_flight(self.state)

    @invariant()
    def no_effect_outlives_a_finished_compensation(self) -> None:
        if self.state.status is Status.COMPENSATED:
            assert unsettled(self.plan, self.state) == ()
            assert self.effects <= self.by_hand | self.harmless()

    @invariant()
    def a_completed_saga_has_every_effect_of_its_path(self) -> None:
        if self.state.status is Status.COMPLETED:
            assert self.state.turned is None
            for address, step in self.state.steps.items():
                assert step.undo is None
                if isinstance(self.plan.node(address), StepNode) and step.action.status is Action.SUCCEEDED:
                    assert address in self.effects

    @invariant()
    def what_is_unsettled_is_listed(self) -> None:
        """Before the pivot, what stands in the ledger is on the list, or was settled by hand."""
        if self.state.status is Status.PARKED and not self.state.passed:
            listed = {entry.step for entry in unsettled(self.plan, self.state)}
            assert self.effects <= listed | self.by_hand | self.harmless()

    @invariant()
    def the_pivot_holds(self) -> None:
        if self.state.passed:
            assert self.state.turned is None
        if self.state.turned is not None:
            assert not self.state.passed

    @invariant()
    def counts_agree(self) -> None:
        running = sum(step.action.status is Action.RUNNING for step in self.state.steps.values())
        assert self.state.running == running
        for name, group in self.state.groups.items():
            node = self.plan.node(name)
            assert isinstance(node, EachNode)
            assert len(group.forward.open) <= node.limit
            assert len(group.undoing) <= node.limit

    def teardown(self) -> None:
        """Whatever happened, good outcomes and an operator bring the saga to an end."""
        if not hasattr(self, "state"):
            return
        self.mended = True
        assert replay(self.history) == self.state
        for _ in range(400):
            if self.state.ended:
                return
            self._help()
        raise AssertionError(f"the saga does not end: {self.state}")

    def _help(self) -> None:
        running = in_flight(self.state)
        if running:
            address, phase = running[0]
            if phase is Phase.ACTION:
                self.have_effect(address)
                self.say(m.Done(address, phase, b'"r"'))
            else:
                self.undo_ends(address, "done")
        elif self.state.status is Status.PARKED:
            self.say(m.Operate(self.mail(), "unpark", "", "bob", "mended", None, frozenset()))
            if self.state.status is Status.PARKED:
                self.say(m.Operate(self.mail(), "compensate", "", "bob", "give up", None, frozenset()))
        elif waits := [node for node in self.plan.waits if self._waiting(node.address)]:
            self.say(m.Signal(self.mail(), waits[0].address, b'"yes"'))
        else:
            self.time_comes()

    def _waiting(self, address: str) -> bool:
        return self.state.step(address).action.status is Action.WAITING and address not in self.state.kept


Saga.TestCase.settings = settings(max_examples=examples(300), stateful_step_count=60, deadline=None)
TestSaga = Saga.TestCase
