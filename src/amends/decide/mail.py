"""What comes from outside and is answered: whether it is still about the saga that its sender looked at.

An act may say which version of the saga it is meant for. It is refused where the saga has changed since: what was right
for the one may be wrong for the other. That an act was refused, or somebody left a note, changes nothing.

Guarantees: every mail is answered, now or with a later decision; one that is meant for another version moves nothing.
Must not: judge an act; `acts.py` does.
"""

from __future__ import annotations

from amends.decide import events as e
from amends.decide import messages as m
from amends.decide.acts import take_cancel, take_operate, take_signal_mail
from amends.decide.draft import Draft, Word

NOTES_CHARACTERS_MAX = 2000  # of a note, and of a person's name


def take_mail(draft: Draft, message: m.Mail) -> None:
    """Do what is asked, or say why not."""
    if why := _moved_on(message.looked):
        draft.refuse(_verb(message), message.mail, why, Word.CHANGED)
        return
    match message:
        case m.Signal():
            take_signal_mail(draft, message)
        case m.Cancel():
            take_cancel(draft, message)
        case m.Operate():
            take_operate(draft, message)
        case m.Assign():
            _assign(draft, message)
        case _:
            _note(draft, message)


def changed_by(events: tuple[e.Event, ...]) -> bool:
    """Whether a saga is another after these: not where they only tell of it."""
    return not e.STILL.issuperset(map(type, events))


def _moved_on(looked: m.Looked | None) -> str:
    """Why the saga is not the one that was looked at; empty if it is. One that is younger than that has its id from
    another that was forgotten."""
    if looked is None or looked.changed <= looked.seen <= looked.now:
        return ""
    return f"the saga has moved on: it is at version {looked.now} now, you looked at {looked.seen}; look again"


def _assign(draft: Draft, message: m.Assign) -> None:
    """Who sees to the saga. It moves nothing."""
    before, person = draft.state.assigned, message.person
    if len(person) > NOTES_CHARACTERS_MAX:
        draft.refuse("assign", message.mail, f"the person's name is longer than {NOTES_CHARACTERS_MAX} characters")
    elif person == before:
        draft.accept(message.mail, f"it was assigned to {person} already" if person else "it was assigned to nobody")
    else:
        draft.emit(e.Assigned(person, message.actor, message.reason))
        draft.accept(message.mail, f"it was assigned to {before} before" if before else "")


def _note(draft: Draft, message: m.Note) -> None:
    """Something to know. It moves nothing."""
    if not message.text.strip():
        draft.refuse("note", message.mail, "a note says something")
    elif len(message.text) > NOTES_CHARACTERS_MAX:
        draft.refuse("note", message.mail, f"a note has at most {NOTES_CHARACTERS_MAX} characters")
    else:
        draft.emit(e.Noted(message.text, message.actor))
        draft.accept(message.mail)


def _verb(message: m.Mail) -> str:
    return message.verb if isinstance(message, m.Operate) else type(message).__name__.lower()
