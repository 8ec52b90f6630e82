"""A saga's journal, told so that a person understands what happened and why.

Guarantees: one line per event, in order, with its attempt and round as they were then; whoever
acted is named where the mailbox or the journal knows it.
Must not: interpret. What an event means for the state is `decide/evolve.py`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from amends.decide import events as e
from amends.decide.events import Cause, Event, Phase
from amends.decide.evolve import apply, evolve
from amends.decide.plan import EachNode, Plan, SleepNode, WaitNode, WhenNode
from amends.decide.state import Action, State, Undo
from amends.operate.instants import utc
from amends.operate.silence import awaited
from amends.operate.values import Line
from amends.run import journal, mailbox
from amends.store.base import MailRow

_CAUSES = {  # why a saga goes back; {} is the step's address
    Cause.REJECTED: ", since {} said no",
    Cause.UNKNOWN: ", since {} is unknown",
    Cause.DEADLINE: "",
    Cause.CANCELLED: ", since it was cancelled",
    Cause.OPERATOR: ", since a person sent it back",
}


class Word(NamedTuple):
    """What an event is in a history, before the saga's own facts are put beside it."""

    text: str
    tone: str = ""
    step: str = ""
    phase: str = ""
    actor: str = ""
    reason: str = ""
    value: bytes | None = None


class Sender(NamedTuple):
    """Who sent a mail, and why. name: of the signal. accepted: whether it had its effect."""

    kind: str
    name: str
    actor: str
    accepted: bool
    reason: str = ""


def lines(plan: Plan, rows: Iterable[bytes], mails: Iterable[MailRow]) -> tuple[Line, ...]:
    """The history of a saga. Raises StoreDamaged for a row that cannot be read."""
    senders = {mail.message: _sender(mail) for mail in mails}
    return tuple(_lines(plan, rows, senders))


def _lines(plan: Plan, rows: Iterable[bytes], senders: Mapping[str, Sender]) -> Iterator[Line]:
    state: State | None = None
    for raw in rows:
        row = journal.decode(raw)
        for event in row.events:
            if state is None:
                state = evolve(None, event)
            else:
                apply(state, event)
            yield _line(plan, state, row, event, senders)


def _line(plan: Plan, state: State, row: journal.Row, event: Event, senders: Mapping[str, Sender]) -> Line:
    word = _word(plan, state, event, senders, row.at)
    attempt, round_ = _counted(state, word)
    return Line(
        row.at,
        journal.name_of(event),
        word.text,
        row.worker,
        word.step,
        word.phase,
        attempt,
        round_,
        word.actor,
        word.reason,
        word.value,
        word.tone,
        *_waiting(event),
    )


def _waiting(event: Event) -> tuple[float | None, str]:
    """Until when something is waited for from here on, and how an attempt failed."""
    match event:
        case e.Sent(until=until) | e.Postponed(until=until) | e.Waiting(until=until):
            return awaited(until), ""
        case e.Failed(resolved=resolved, due=due, lost=lost):
            return awaited(due), "lost" if lost else ("failed" if resolved else "unresolved")
        case _:
            return None, ""


def _counted(state: State, word: Word) -> tuple[int, int]:
    """The attempt and the round that a line is about, 0 where it is about none."""
    if not word.step or not word.phase:
        return 0, 0
    step = state.step(word.step)
    if word.phase == Phase.ACTION:
        return step.action.attempts, step.round
    return (0 if step.undo is None else step.undo.attempts), step.round


def _word(plan: Plan, state: State, event: Event, senders: Mapping[str, Sender], at: float) -> Word:
    match event:
        case e.Started(input, deadline, _):
            limit = "" if deadline is None else f"; to be done by {_instant(deadline)}"
            return Word(f"started{limit}", value=input)
        case e.Issued() | e.Begun() | e.Succeeded() | e.Rejected() | e.Failed() | e.Unknown() | e.Stuck():
            return _of_attempt(plan, state, event, senders, at)
        case e.Built() | e.Sent() | e.Postponed():
            return _of_command(plan, state, event)
        case e.Undone(address):
            return Word(f"{address} is undone", "good", address, Phase.UNDO)
        case e.Voided(address):
            return Word(f"{address}: there was nothing to undo", "good", address, Phase.UNDO)
        case e.Waiting() | e.Chosen() | e.Skipped() | e.Listed() | e.Abandoned() | e.Kept():
            return _of_flow(plan, event, senders)
        case e.Operated() | e.Refused() | e.Retried() | e.Closed() | e.CancelNoted():
            return _of_person(event, state, senders)
        case e.Given() | e.Assigned() | e.Noted():
            return _of_desk(event)
        case _:
            return _of_saga(state, event)


def _of_command(plan: Plan, state: State, event: e.Built | e.Sent | e.Postponed) -> Word:
    to = plan.step(event.address).command
    match event:
        case e.Built(address, command):
            return Word(f"{address}: the command for {to}", "", address, Phase.ACTION, value=command)
        case e.Sent(address, phase, until):
            number, _ = _counted(state, Word("", step=address, phase=phase))
            what = to if phase == Phase.ACTION else f"the undo of {to}"
            limit = "" if awaited(until) is None else f", a reply is waited for until {_instant(until)}"
            return Word(f"{_half(address, phase)}: attempt {number} goes to {what}{limit}", "", address, phase)
        case e.Postponed(address, phase, until):
            text = f"{_half(address, phase)}: the broker is away, a reply is waited for until {_instant(until)}"
            return Word(text, "bad", address, phase)


def _of_attempt(
    plan: Plan,
    state: State,
    event: e.Issued | e.Begun | e.Succeeded | e.Rejected | e.Failed | e.Unknown | e.Stuck,
    senders: Mapping[str, Sender],
    at: float,
) -> Word:
    match event:
        case e.Issued(address, phase):
            number, _ = _counted(state, Word("", step=address, phase=phase))
            return Word(f"{_half(address, phase)}: attempt {number}", "", address, phase)
        case e.Begun(address, phase):
            text = f"{_half(address, phase)}: carefully, alone, since workers died while this saga ran"
            return Word(text, "bad", address, phase)
        case e.Succeeded(address, result):
            return _succeeded(plan, address, result, senders)
        case e.Rejected(address, reason):
            said = "" if isinstance(plan.node(address), WaitNode) else " said no"
            return Word(f"{address}{said}: {reason}", "bad", address, Phase.ACTION, reason=reason)
        case e.Failed(address, phase, reason, resolved, due, lost):
            return _failed(address, phase, reason, resolved, due - at, lost)
        case e.Unknown(address, reason):
            text = f"{address} is unknown, and no attempt is left: {reason}"
            return Word(text, "bad", address, Phase.ACTION, reason=reason)
        case e.Stuck(address, phase, reason, _, _, overdue):
            still = f", its function still runs in worker {overdue}" if overdue else ""
            return Word(f"{_half(address, phase)} is stuck{still}: {reason}", "bad", address, phase, reason=reason)


def _succeeded(plan: Plan, address: str, result: bytes, senders: Mapping[str, Sender]) -> Word:
    node = plan.node(address)
    if isinstance(node, SleepNode):
        return Word(f"{address}: the time has come", "good", address)
    if isinstance(node, WaitNode):
        return _signal(f"the signal {address} is here", "good", address, result, senders)
    shown = None if result == b"null" else result
    return Word(f"{address} succeeded", "good", address, Phase.ACTION, value=shown)


def _failed(address: str, phase: Phase, reason: str, resolved: bool, delay: float, lost: bool) -> Word:
    if lost:
        what = "went down with its worker"
    elif resolved:
        what = "failed, and nothing stayed"
    else:
        what = "ended without a clear answer"
    again = f"the next attempt in {delay:.1f} s" if delay > 0 else "the next attempt at once"
    text = f"{_half(address, phase)}: the attempt {what}: {reason}; {again}"
    return Word(text, "bad", address, phase, reason=reason)


def _of_flow(
    plan: Plan,
    event: e.Waiting | e.Chosen | e.Skipped | e.Listed | e.Abandoned | e.Kept,
    senders: Mapping[str, Sender],
) -> Word:
    match event:
        case e.Waiting(address, until):
            limit = "" if until is None else f" until {_instant(until)}"
            signal = isinstance(plan.node(address), WaitNode)
            return Word(
                f"waits for the signal {address}{limit}" if signal else f"{address}: sleeps{limit}", "", address
            )
        case e.Chosen(address, taken):
            return Word(f"{address}: the condition {'holds' if taken else 'does not hold'}", "", address)
        case e.Skipped(addresses):
            return Word(f"not taken: {', '.join(addresses)}")
        case e.Listed(address, items):
            return Word(f"{address}: {len(items)} items", "", address)
        case e.Abandoned(address):
            return Word(f"{address} is no longer waited for", "", address)
        case e.Kept(address, value):
            return _signal(f"the signal {address} came and is kept", "", address, value, senders)


def _of_person(
    event: e.Operated | e.Refused | e.Retried | e.Closed | e.CancelNoted, state: State, senders: Mapping[str, Sender]
) -> Word:
    match event:
        case e.Operated(verb, address, actor, reason):
            text = f"{actor or 'somebody'}: {verb}{f' {address}' if address else ''}"
            return Word(f"{text}, because: {reason}" if reason else text, "person", address, "", actor, reason)
        case e.Refused(verb, mail, why):
            sender = senders.get(mail)
            by = f" (from {sender.actor})" if sender is not None and sender.actor else ""
            return Word(f"{verb}{by} was refused: {why}", "person", actor=sender.actor if sender else "", reason=why)
        case e.Retried(address, phase, round_, closed):
            fresh = f", in round {round_} and under new keys" if phase is Phase.ACTION and round_ > 1 else ""
            fresh += ": nothing stayed of the round before, that person says" if closed else ""
            return Word(f"{_half(address, phase)} is tried again{fresh}", "person", address, phase)
        case e.Closed(address, phase, reason, result):
            text = f"{_half(address, phase)} is settled by hand: {reason}"
            return Word(text, "person", address, phase, reason=reason, value=result)
        case e.CancelNoted(mail, reason):
            sender = senders.get(mail)
            actor = sender.actor if sender is not None else ""
            return Word("the cancel waits for the outcome of the pivot", "person", actor=actor, reason=reason)


def _of_desk(event: e.Given | e.Assigned | e.Noted) -> Word:
    """What a person changes, and what they leave for each other."""
    match event:
        case e.Given(address, arguments):
            text = f"{address} is called with other arguments from here on"
            return Word(text, "person", address, Phase.ACTION, value=arguments)
        case e.Assigned(person, actor, reason):
            text = f"{actor or 'somebody'}: assigned to {person or 'nobody'}"
            return Word(f"{text}, because: {reason}" if reason else text, "person", actor=actor, reason=reason)
        case e.Noted(text, actor):
            return Word(f"{actor or 'somebody'} notes: {text}", "person", actor=actor, reason=text)


def _of_saga(state: State, event: Event) -> Word:
    match event:
        case e.PivotPassed():
            return Word("the pivot is passed: only forward from here")
        case e.TurnedBack(cause, address, reason):
            why = _CAUSES[Cause(cause)].format(address) if cause in set(Cause) else f", since {cause}"
            return Word(f"goes back{why}: {reason}", "bad", reason=reason)
        case e.Parked(reason):
            return Word(f"parked, a person is needed: {reason}", "bad", reason=reason)
        case e.Resumed():
            return Word("goes on")
        case e.ResumedBack():
            return Word("goes on going back")
        case e.Completed():
            return Word("completed", "good")
        case e.Compensated():
            rest = (
                "what was done is undone, or settled by hand"
                if _closed(state)
                else "everything that was done is undone"
            )
            return Word(f"compensated: {rest}", "good")
        case e.Adopted(worker, deaths, _):
            died = f"; {deaths} workers died since its last progress" if deaths > 1 else ""
            return Word(f"worker {worker} is gone, and the saga was taken over from it{died}", "bad")
        case e.Late(address, phase, outcome, result):
            text = f"{_half(address, phase)} was heard of after the saga had moved on: {outcome}"
            return Word(text, "", address, phase, value=result)
        case e.Moved(fingerprint):
            return Word(f"runs on a changed definition from here on ({fingerprint[:12]})")
        case _:
            return Word(journal.name_of(event))


def _closed(state: State) -> bool:
    """Whether a person had to settle something."""
    return any(
        step.action.status is Action.CLOSED or (step.undo is not None and step.undo.status is Undo.CLOSED)
        for step in state.steps.values()
    )


def _signal(text: str, tone: str, name: str, value: bytes, senders: Mapping[str, Sender]) -> Word:
    """A signal that counted, with who sent it and why."""
    fits = (sender for sender in senders.values() if (sender.kind, sender.name) == ("signal", name))
    sent = next((sender for sender in fits if sender.accepted), Sender("signal", name, "", accepted=True))
    said = f"{text}: {sent.reason}" if sent.reason else text
    return Word(said, tone, name, actor=sent.actor, reason=sent.reason, value=value)


def _half(address: str, phase: Phase) -> str:
    return address if phase is Phase.ACTION else f"the undo of {address}"


def _instant(at: float) -> str:
    return utc(at).strftime("%Y-%m-%d %H:%M:%S UTC")


def _sender(mail: MailRow) -> Sender:
    letter = mailbox.read(mail)
    return Sender(mail.kind, letter.name, letter.actor, mail.answer == "accepted", letter.reason)


def kind_of(plan: Plan, address: str) -> str:
    """What stands at an address: step, wait, sleep, when, each or pivot."""
    node = plan.node(address)
    kinds = {WaitNode: "wait", SleepNode: "sleep", WhenNode: "when", EachNode: "each"}
    return next((word for kind, word in kinds.items() if isinstance(node, kind)), "step")
