"""The next commands for a saga that waits for a person: what can be done, to paste.

What can be done is what the core says it would accept (`operate/preview.py`); here it only gets
words and quotes.

Guarantees: every command runs as it stands, in the shell and directory of the one before it; what
a person has to fill in is named.
Must not: offer what would be refused.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from amends.define.program import Program
from amends.operate.cli.place import Place, command_line
from amends.operate.values import Act, SagaLine, SagaView

REASON = "--reason=say why"
VALUE_EXAMPLE = "{}"


class Next(NamedTuple):
    """One command and what it does."""

    act: Act
    what: str
    command: str


def next_steps(view: SagaView, place: Place, program: Program | None) -> list[Next]:
    """What a person may do now, the mildest first."""
    only = sum(act.verb == "retry" for act in view.acts) == 1  # then to unpark is to retry
    acts = [act for act in view.acts if not (only and act.verb == "unpark")]
    return [Next(act, f"{_what(act, view)}: {act.effect}", command_of(act, view.line, place, program)) for act in acts]


def command_of(act: Act, line: SagaLine, place: Place, program: Program | None) -> str:
    """The command that does something to a saga, unless that has changed meanwhile."""
    options, positional = place.options(), [line.id]
    seen = [f"--if-version={line.version}"] if line.version else []
    if act.step:
        positional.append(act.step)
    if act.verb == "signal":
        positional.append(_example(act, program))
        return command_line(act.verb, options=[*options, *seen], positional=positional)
    if act.needs_value:
        options.append(f"--result={_example(act, program)}")
    return command_line(act.verb, options=[*options, REASON, *seen], positional=positional)


def _example(act: Act, program: Program | None) -> str:
    """JSON of the right shape, where the code is at hand."""
    codec: Any = None
    if program is not None and act.verb == "signal":
        codec = program.signals.get(act.step)
    elif program is not None:
        codec = program.codec_at(act.step)
    return VALUE_EXAMPLE if codec is None else codec.example()


def _what(act: Act, view: SagaView) -> str:
    undo = view.state.step(act.step).undo is not None if act.step else False
    half = f"the undo of {act.step}" if undo else act.step
    fill = " (put the real value in)" if act.needs_value else ""
    match act.verb:
        case "retry":
            return f"try {half} again"
        case "unpark":
            return "try everything that is stuck again"
        case "skip":
            return f"leave {half} as it is and go on"
        case "resolve":
            return f"{half} was done by hand{fill}"
        case "signal":
            return f"send the signal {act.step}{fill}"
        case "compensate":
            return "undo what was done"
        case _:
            return "have it go back"
