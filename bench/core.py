"""The pure core alone: `python -m bench.core`, how many steps it decides in a second on one core.

The order saga of the other benchmarks, three steps, forward and compensated. A step is decided
when its outcome goes in and what follows comes out; the decision of the start is paid for by
the steps. No shell, no codec, no store.

Guarantees: each line is the best of many short rounds of processor time, by turns, which a busy
machine falsifies least; a rate of plain Python stands beside them, so that machines can be
compared.
Must not: judge. The target is 100,000 steps a second.
"""

from __future__ import annotations

import argparse
import cProfile
import time
from collections.abc import Callable
from typing import NamedTuple

from amends.decide import messages as m
from amends.decide.decide import decide
from amends.decide.events import Phase
from amends.decide.evolve import replay
from amends.decide.messages import Message
from amends.decide.plan import Place, Plan, SequenceNode, StepNode
from amends.decide.state import State, Status

ORDER = Plan(
    "place-order",
    SequenceNode(
        (
            StepNode("reserve_stock", compensated=True),
            StepNode("charge_card", compensated=True),
            StepNode("ship", Place.PIVOT),
        )
    ),
    output="ship",
)
NAMES = ("reserve_stock", "charge_card", "ship")
DONE: tuple[Message, ...] = tuple(m.Done(name, Phase.ACTION, b'{"id":17}') for name in NAMES)
NO = m.No("ship", Phase.ACTION, "no truck")
UNDONE: tuple[Message, ...] = tuple(m.Done(name, Phase.UNDO) for name in ("charge_card", "reserve_stock"))
START = m.Start(b'{"sku":"chair","quantity":2}')
FORWARD = DONE
COMPENSATED = (*DONE[:2], NO, *UNDONE)


def saga(messages: tuple[Message, ...]) -> State:
    """One saga from its start to its end."""
    state = decide(ORDER, None, START, 0.0).state
    for message in messages:
        state = decide(ORDER, state, message, 0.0).state
    return state


class Thing(NamedTuple):
    """What the plain loop makes."""

    name: str
    number: int
    flag: bool = False


def plain_loop(turns: int) -> None:
    """What the core is made of, without it: a call, a named tuple, a copy of a small dictionary."""
    known = {name: Thing(name, 1) for name in NAMES}
    for turn in range(turns):
        known = known.copy()
        known["ship"] = Thing("ship", turn)


def rates(lines: tuple[Line, ...], rounds: int) -> list[float]:
    """The best rate of each line, in things a second."""
    best = [float("inf")] * len(lines)
    for _ in range(rounds):
        for index, line in enumerate(lines):
            since = time.process_time()
            line.run(line.times)
            best[index] = min(best[index], time.process_time() - since)
    return [line.times * line.each / seconds for line, seconds in zip(lines, best, strict=True)]


class Line(NamedTuple):
    """One thing to measure: `run` does `each` things, so many `times`."""

    title: str
    run: Callable[[int], None]
    times: int
    each: int


def sagas(messages: tuple[Message, ...]) -> Callable[[int], None]:
    """So many sagas, one after the other."""

    def run(count: int) -> None:
        for _ in range(count):
            saga(messages)

    return run


def replays(messages: tuple[Message, ...]) -> Callable[[int], None]:
    """So many histories of a saga read again, as after a crash."""
    decision = decide(ORDER, None, START, 0.0)
    history = [*decision.events]
    for message in messages:
        decision = decide(ORDER, decision.state, message, 0.0)
        history += decision.events

    def run(count: int) -> None:
        for _ in range(count):
            replay(history)

    return run


def main() -> None:
    """Print the rates."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sagas", type=int, default=1_000, help="sagas in a round")
    parser.add_argument("--rounds", type=int, default=100, help="rounds, of which the best counts")
    parser.add_argument("--profile", action="store_true", help="where the time goes, instead of the rates")
    given = parser.parse_args()
    assert saga(FORWARD).status is Status.COMPLETED
    assert saga(COMPENSATED).status is Status.COMPENSATED
    if given.profile:
        cProfile.runctx("sagas(COMPENSATED)(count)", globals(), {"count": given.sagas * 20}, sort="tottime")
        return
    lines = (
        Line("plain Python: a call, a tuple, a small copy", plain_loop, given.sagas * 20, 1),
        Line("steps decided, an order goes forward", sagas(FORWARD), given.sagas, 3),
        Line("steps decided, an order is compensated", sagas(COMPENSATED), given.sagas, 5),
        Line("steps read again from a history", replays(COMPENSATED), given.sagas, 5),
    )
    for line, per_second in zip(lines, rates(lines, given.rounds), strict=True):
        print(f"{line.title:<44}{per_second:>12,.0f} /s")


if __name__ == "__main__":
    main()
