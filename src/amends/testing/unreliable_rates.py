"""How bad a network is: how often what befalls messages, and what a message is about.

Guarantees: all rates are zero by default, which is a network that does nothing wrong.
Must not: send anything.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple

from amends.errors import DefinitionError
from amends.message import Message

_COUNTS = ("held_max", "huge_bytes")
_SECONDS = ("held_seconds", "late_seconds", "behind_seconds")


@dataclass
class MessageRates:
    """How often, as a share from 0 to 1. It may be changed while messages go. Batons and marks are commands, and words
    to a home and answers to a mark are replies.

    duplicated: of messages, sent twice. redelivered: of deliveries, handed over twice.
    held: of messages and deliveries, that wait in a buffer of up to `held_max` for up to `held_seconds`, and leave it
        shuffled. commands_lost, replies_lost: that are said to be confirmed, and go nowhere.
    first_replies_lost: of commands, whose first reply goes nowhere. replies_late: that go `late_seconds` later.
    actions_behind_undo: of steps, whose action comes only after its compensation has been answered here, or
        twelve seconds after that went out from here, or `behind_seconds` later; not of batons.
    acks_lost: so that the delivery comes again. confirms_lost: of messages that are sent, and nobody knows.
    away: of messages that are not sent, and whoever sends them is told that the broker is away.

    Of messages that somebody else adds for each one that is sent: replayed: an old reply, once more, or an old message
    of a choreographed saga. forged: a reply that looks like an old one and has no right token, or a baton, or what is
    said beside it, that contradicts itself. garbage: bytes and attributes that mean nothing. unknown: a
    command that no service knows. poison: a command with `poison_data` for the service's own contract. huge: a body of
    `huge_bytes`.
    """

    duplicated: float = 0.0
    redelivered: float = 0.0
    held: float = 0.0
    commands_lost: float = 0.0
    replies_lost: float = 0.0
    first_replies_lost: float = 0.0
    replies_late: float = 0.0
    actions_behind_undo: float = 0.0
    acks_lost: float = 0.0
    confirms_lost: float = 0.0
    away: float = 0.0
    replayed: float = 0.0
    forged: float = 0.0
    garbage: float = 0.0
    unknown: float = 0.0
    poison: float = 0.0
    huge: float = 0.0
    held_max: int = 20
    held_seconds: float = 0.3
    late_seconds: float = 3.0
    behind_seconds: float = 30.0
    poison_data: bytes = b"null"
    huge_bytes: int = 50_000_000

    def __post_init__(self) -> None:
        """Raises DefinitionError for what is no share, no number and no time."""
        for name in self.shares():
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise DefinitionError(f"MessageRates({name}={value!r}): a share from 0 to 1 is expected")
        for name in (*_COUNTS, *_SECONDS):
            value = getattr(self, name)
            if not value > 0:
                raise DefinitionError(f"MessageRates({name}={value!r}): more than nothing is expected")

    @classmethod
    def shares(cls) -> list[str]:
        """The names of all that may happen."""
        return [field.name for field in fields(cls) if field.default == 0.0]

    def heal(self) -> None:
        """Nothing more from here on."""
        for name in self.shares():
            setattr(self, name, 0.0)


ASKING = ("action", "undo", "baton", "mark")
ANSWERING = ("reply", "word", "answer")
TOLD = ("event", "progress")
TRAVELLING = ("baton", "word", "mark", "answer")


class About(NamedTuple):
    """What a message is about: its kind, and the half of a step that it asks for or answers; of what is said of a
    choreographed saga, what it says."""

    kind: str
    step: tuple[str, str, str] = ("", "", "")  # saga, address, round
    phase: str = ""

    @property
    def half(self) -> tuple[str, ...]:
        """The half of the step, by which replies are told apart."""
        return (*self.step, self.phase)


def about(message: Message | None) -> About:
    """Read from the attributes; an unknown kind for what has none."""
    if message is None:
        return About("")
    given = message.attributes
    kind = given.get("amendskind", "")
    step = (given.get("amendssaga", ""), given.get("amendsstep", ""), given.get("amendsround", "1"))
    if kind in TRAVELLING:
        beside = given.get("amendsmark", "") or given.get("amendsstand", "")
        return About(kind, step, given.get("amendsphase", "") or f"{kind} {beside}")
    phase = given.get("amendsphase", "") if kind == "reply" else kind
    return About(kind, step, phase)
