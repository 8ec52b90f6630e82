"""A bulk operation: one act of a person on many sagas, as a thing that is counted, watched, paused and ended.

    counting ──counted──▶ running ◀─resume/pause─▶ paused ◀──counted, paused── counting
        │                    │  └────finish────▶ done
        └──────cancel────────┴──cancel──▶ cancelled ◀──cancel── paused

While it is counting, its targets are written down, each with the version that it had: what the person saw is what is
acted on. Then whoever holds it asks one saga after the other, and writes down what each has answered. One that is to
wait for a person is never running in between: whoever writes it down may be killed at any point.

Guarantees: where a bulk operation may go, what an answer counts as, when it is over and how fast it goes are said here
and nowhere else; one whose targets have all answered ends.
Must not: know a clock, a store or how a saga is asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from enum import StrEnum
from math import ceil
from typing import NamedTuple

TARGETS_MAX = 100_000
PER_SECOND = 20.0  # gentle: what a saga calls next is somebody's service, and it may just have come back
PER_SECOND_MIN = 0.01  # one in a hundred seconds
PER_SECOND_MAX = 1000.0
BATCH_MAX = 50  # sagas that are asked at once; so many are asked once more, to no effect, where a runner was killed
BATCH_SECONDS = 1.0
SILENT_MAX = 50  # in a row that have not answered


class Stand(StrEnum):
    """Where a bulk operation stands."""

    COUNTING = "counting"
    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    CANCELLED = "cancelled"


HELD = (Stand.COUNTING, Stand.RUNNING)  # somebody is to work at it
ENDED = (Stand.DONE, Stand.CANCELLED)


class Move(StrEnum):
    """What may happen to it."""

    BEGUN = "begun"
    COUNTED = "counted"
    COUNTED_PAUSED = "counted, paused"
    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    FINISH = "finish"


_MOVES: dict[tuple[Stand, Move], Stand] = {
    (Stand.COUNTING, Move.COUNTED): Stand.RUNNING,
    (Stand.COUNTING, Move.COUNTED_PAUSED): Stand.PAUSED,
    (Stand.COUNTING, Move.CANCEL): Stand.CANCELLED,
    (Stand.RUNNING, Move.PAUSE): Stand.PAUSED,
    (Stand.RUNNING, Move.CANCEL): Stand.CANCELLED,
    (Stand.RUNNING, Move.FINISH): Stand.DONE,
    (Stand.PAUSED, Move.RESUME): Stand.RUNNING,
    (Stand.PAUSED, Move.CANCEL): Stand.CANCELLED,
}
_THERE = {(Stand.PAUSED, Move.PAUSE), (Stand.RUNNING, Move.RESUME), (Stand.CANCELLED, Move.CANCEL)}


class Ruling(NamedTuple):
    """Where a move leads. why: it is refused, and this is the reason; empty where it is not."""

    stand: Stand
    why: str = ""


class Result(StrEnum):
    """What became of one saga."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    CHANGED = "changed"  # it has moved on since it was written down
    TOO_LATE = "too late"
    GONE = "gone"  # it was pruned
    NOT_ANSWERED = "not answered"  # the act is kept, and may be done yet


_REFUSED = frozenset({Result.REFUSED, Result.CHANGED, Result.TOO_LATE})


class Tally(NamedTuple):
    """How far it is. done: accepted. refused: a no was said. failed: nothing was said, or it is gone."""

    total: int
    done: int = 0
    refused: int = 0
    failed: int = 0

    @property
    def left(self) -> int:
        """How many have no result yet."""
        return self.total - self.done - self.refused - self.failed


class Need(NamedTuple):
    """What an act in bulk takes. step: it is for one step, or for one wait. text: what it needs in words, beside a
    reason. value: JSON of its own."""

    step: bool = False
    reason: bool = False
    text: str = ""
    value: bool = False


VERBS: dict[str, Need] = {
    "retry": Need(step=True),
    "skip": Need(step=True, reason=True),
    "resolve": Need(step=True, reason=True),
    "compensate": Need(reason=True),
    "cancel": Need(reason=True),
    "unpark": Need(),
    "signal": Need(step=True, value=True),
    "assign": Need(),
    "note": Need(text="a text"),
}
WITH_VALUES = ("resolve", "signal")


def ruling(stand: Stand, move: Move) -> Ruling:
    """Where a move leads from where a bulk operation stands. One that is there already stays there."""
    to = _MOVES.get((stand, move))
    if to is not None:
        return Ruling(to)
    if (stand, move) in _THERE:
        return Ruling(stand)
    if stand in ENDED:
        return Ruling(stand, f"it is {stand}, and stays so: what was done is done, and a new one may be started")
    return Ruling(stand, f"it is {stand}, so there is nothing to {move}")


def flaw(verb: str, *, step: str, reason: str, text: str, result: bool, arguments: bool, per_second: float) -> str:
    """What is missing, or too much, for an act in bulk; empty where it may begin. result: whether there is one, or the
    value of a signal."""
    need = VERBS.get(verb)
    if need is None:
        return f"there is no act {verb!r} in bulk; there are: {', '.join(VERBS)}"
    if verb == "signal" and not step:
        return "signal is for one wait, the same in every saga: name it"
    if need.step and not step:
        other = "; `unpark` tries everything again that is stuck" if verb == "retry" else ""
        return f"{verb} is for one step, the same in every saga: name it{other}"
    if step and not need.step:
        return f"{verb} is for a whole saga: leave the step {step!r} out"
    if need.reason and not reason.strip():
        return f"{verb} wants a reason, for the history of every saga"
    if need.text and not text.strip():
        return f"{verb} wants {need.text}"
    if need.value and not result:
        return f"{verb} wants a value"
    if result and verb not in WITH_VALUES:
        return "a result is for `resolve` alone, and a value for `signal`"
    if arguments and verb != "retry":
        return "changed arguments are for `retry` alone"
    if not PER_SECOND_MIN <= per_second <= PER_SECOND_MAX:
        return f"{per_second:g} sagas a second: {PER_SECOND_MIN:g} to {PER_SECOND_MAX:g} are expected"
    return ""


def batch_size(per_second: float) -> int:
    """How many sagas are asked at once: what is due in a second, within bounds."""
    return max(1, min(BATCH_MAX, ceil(per_second * BATCH_SECONDS)))


def moments(count: int, per_second: float, shares: Sequence[float]) -> tuple[float, ...]:
    """When each saga of a batch is asked, in seconds from its beginning: each in its turn, but at no beat. shares: of
    chance, from 0 to 1, one for each."""
    return tuple((place + share) / per_second for place, share in zip(range(count), shares, strict=True))


def span(count: int, per_second: float) -> float:
    """How long a batch takes, in seconds: the next one begins no sooner, however soon all have answered."""
    return count / per_second


def silence(before: int, heard: Iterable[bool]) -> int:
    """How many sagas in a row nobody was heard of, these after those before. heard: of each, whether anybody was: an
    act that is taken and not yet answered is in good hands."""
    for one in heard:
        before = 0 if one else before + 1
    return before


def nobody_answers(silent: int, tally: Tally, *, taken: bool = False) -> bool:
    """Whether it is not the sagas that are wrong, but nobody is there to answer for them: so many in a row, or all of
    few. Asking the others as well would only pile acts up for whoever comes. taken: whether any act was taken that is
    not yet answered."""
    answered = taken or tally.done + tally.refused > 0
    return silent >= SILENT_MAX or (silent > 0 and tally.left == 0 and not answered)


def tallied(tally: Tally, results: Iterable[tuple[Result | None, Result]]) -> Tally:
    """How far it is after some results. Each is what was known of a saga before, None where nothing was, and what is
    known now."""
    change: Counter[str] = Counter()
    for old, new in results:
        if old is not None:
            change[_counts_as(old)] -= 1
        change[_counts_as(new)] += 1
    return Tally(
        tally.total,
        tally.done + change["done"],
        tally.refused + change["refused"],
        tally.failed + change["failed"],
    )


def _counts_as(result: Result) -> str:
    if result is Result.ACCEPTED:
        return "done"
    return "refused" if result in _REFUSED else "failed"
