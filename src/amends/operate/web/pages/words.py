"""The words, tones and shapes in which pages say where something stands.

Guarantees: pure; a status has one word, one tone and one shape wherever it is shown; a time is told relative to a given
now and can also be told whole.
Must not: read a clock, or know any page.
"""

from __future__ import annotations

from typing import NamedTuple

from amends.operate.instants import utc

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
COUNT_MAX = 10_000


class Mark(NamedTuple):
    """How a status looks. tone: the class of its colour. shape: of the symbol beside it."""

    word: str
    tone: str
    shape: str


_MARKS: dict[str, tuple[str, str]] = {
    "running": ("running", "run"),
    "compensating": ("compensating", "back"),
    "completed": ("good", "check"),
    "compensated": ("undone", "undone"),
    "parked": ("bad", "pause"),
    "pending": ("quiet", "ring"),
    "waiting": ("waiting", "clock"),
    "succeeded": ("good", "check"),
    "rejected": ("bad", "cross"),
    "unknown": ("bad", "ask"),
    "stuck": ("bad", "pause"),
    "skipped": ("quiet", "dash"),
    "closed": ("waiting", "person"),
    "void": ("undone", "dash"),
    "stalled": ("bad", "plug"),
    "stranded": ("bad", "plug"),
    "silent": ("bad", "mute"),
    "slow": ("waiting", "clock"),
    "alive": ("good", "check"),
    "gone": ("bad", "cross"),
    "counting": ("running", "run"),
    "paused": ("waiting", "pause"),
    "done": ("good", "check"),
    "cancelled": ("quiet", "cross"),
    "accepted": ("good", "check"),
    "refused": ("bad", "cross"),
    "failed": ("bad", "cross"),
    "changed": ("waiting", "back"),
    "too late": ("waiting", "clock"),
    "not answered": ("waiting", "ask"),
}


def mark(word: str) -> Mark:
    """How a status is shown; a word that is not known is quiet."""
    tone, shape = _MARKS.get(word, ("quiet", "ring"))
    return Mark(word, tone, shape)


def clock(at: float) -> str:
    """The time of day, to the second."""
    return utc(at).strftime("%H:%M:%S")


def fine_clock(at: float) -> str:
    """The time of day, to the millisecond."""
    return utc(at).strftime("%H:%M:%S.%f")[:-3]


def day(at: float) -> str:
    """The date."""
    return utc(at).strftime("%Y-%m-%d")


def whole(at: float) -> str:
    """An instant with its date, for whoever wants to know exactly."""
    return utc(at).strftime("%Y-%m-%d %H:%M:%S UTC")


def machine(at: float) -> str:
    """An instant as `<time datetime>` has it."""
    return utc(at).strftime("%Y-%m-%dT%H:%M:%SZ")


def span(seconds: float) -> str:
    """A length of time, in the unit that says most with few digits."""
    seconds = max(seconds, 0.0)
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    for unit, length, inner, part in (("d", DAY, "h", HOUR), ("h", HOUR, "min", MINUTE), ("min", MINUTE, "s", 1.0)):
        if seconds >= length:
            whole_units = int(seconds // length)
            rest = int((seconds - whole_units * length) // part)
            return f"{whole_units} {unit} {rest} {inner}" if rest and whole_units < 10 else f"{whole_units} {unit}"
    return f"{seconds:.0f} s"


def ago(at: float, now: float) -> str:
    """How long ago something was; what is yet to come is told so too."""
    passed = now - at
    if passed < -1:
        return f"in {_rough(-passed)}"
    return "just now" if passed < 2 else f"{_rough(passed)} ago"


def _rough(seconds: float) -> str:
    for unit, length in (("d", DAY), ("h", HOUR), ("min", MINUTE)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} s"


def count(number: int, one: str, many: str = "") -> str:
    """A number with its noun."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def wait_for_somebody(number: int, *, more: bool = False) -> str:
    """What is said first where sagas wait. more: there may be others."""
    if not number:
        return "Nothing waits for anybody"
    return f"{'At least ' if more else ''}{count(number, 'saga')} {'waits' if number == 1 else 'wait'} for somebody"


def figure(number: int) -> str:
    """A number on its own; beyond what is counted it is said so."""
    return f"{number:,}" if number < COUNT_MAX else f"{COUNT_MAX:,}+"


def listed(names: tuple[str, ...] | list[str], limit: int = 4) -> str:
    """Names in a sentence, not more of them than one reads."""
    if len(names) > limit:
        return f"{', '.join(names[:limit])} and {len(names) - limit} more"
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def capital(text: str) -> str:
    """A sentence as it begins and ends; its names stay as they are written."""
    text = text.removeprefix("and ")
    if not text:
        return ""
    return f"{text[0].upper()}{text[1:]}{'' if text[-1] in '.!?' else '.'}"
