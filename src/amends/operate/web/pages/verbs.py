"""What a person can do to a saga, as the pages say and ask it.

Guarantees: one entry per verb; what a form must have is what the verb takes.
Must not: hold a rule of when something may be done; the core has them.
"""

from __future__ import annotations

from typing import NamedTuple


class Verb(NamedTuple):
    """One thing to do. title: on a heading; {} is the step. button: that does it. what: it means, in a sentence.

    reason: it takes one, and is refused without. value: what its value is called, if it takes one. danger: it undoes,
    or cannot be taken back."""

    name: str
    title: str
    button: str
    what: str
    reason: bool = True
    value: str = ""
    danger: bool = False


VERBS: dict[str, Verb] = {
    verb.name: verb
    for verb in (
        Verb(
            "signal",
            "Send the signal {}",
            "Send the signal",
            "It waits for this value, and goes on with it.",
            reason=False,
            value="Value (JSON)",
        ),
        Verb(
            "retry",
            "Try {} again",
            "Try again now",
            "The step, or its undo, is tried again now, under its own key.",
        ),
        Verb(
            "change",
            "Try {} again with other arguments",
            "Try again with these",
            "A new round of the step with the arguments that you give, under new keys.",
            value="Arguments (JSON)",
        ),
        Verb(
            "unpark",
            "Try all that is stuck again",
            "Try again now",
            "All that is stuck in it is tried again.",
        ),
        Verb(
            "resolve",
            "{} was done by hand",
            "It was done by hand",
            "You did the step, or its undo, yourself; the saga goes on as if it had done it.",
            value="Result (JSON)",
        ),
        Verb(
            "skip",
            "Skip {}",
            "Skip it",
            "The step, or its undo, is left as it is and counts as settled. The reason is the evidence.",
            danger=True,
        ),
        Verb(
            "compensate",
            "Go back and undo what was done",
            "Compensate",
            "What was done is undone, the last step first. A pivot in doubt counts as not happened.",
            danger=True,
        ),
        Verb(
            "cancel",
            "Cancel it",
            "Cancel the saga",
            "It goes back and undoes what it did, if it has not passed its point of no return.",
            danger=True,
        ),
    )
}


def title_of(name: str, step: str) -> str:
    """What doing it is called."""
    verb = VERBS[name]
    title = verb.title.replace("{}", step or "everything")
    return f"T{title[1:]}" if title.startswith("the undo of ") else title
