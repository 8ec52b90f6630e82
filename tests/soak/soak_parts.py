"""What a soak consists of: one entry for each part, and how much of it fits into the time that it has.

Guarantees: every part is a command that a person could type; whatever is random gets a seed that was never used.
Must not: run anything; `soak_run.py` does.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from soak_said import Reader, file_chaos, fleet_chaos, fuzzer, machine, services_chaos, simulation, suite

PYTHON = sys.executable
BROKERS = ("kafka", "rabbitmq", "nats", "redis")
HERE = "{here}"  # in a command: what the names of the files that it leaves begin with
ONE_BY_ONE = "-k=test_services_messages or test_services_processes or test_services_strange"  # these modules
SCRATCH = "{scratch}"  # and a directory of its own with a short name, kept only where something is wrong
ENOUGH = 0.5  # of the time that a fixed part takes by the table, and it is begun
AFTERWARDS_SECONDS = 300.0  # chaos: to begin, to end, and to look at everything
CHAOS_SECONDS = 300.0  # of faults in one run, at most
CHAOS_LEAST = 50.0  # a shorter one does not meet all kinds


@dataclass(frozen=True)
class Turn:
    """What there is for the next job of a part. seconds: until its time is over. seed: never used before. done: size
    and seconds of its jobs of this round. again: the last one proved nothing, so that it gets other dice."""

    seconds: float
    seed: int
    done: tuple[tuple[float, float], ...] = ()
    again: bool = False


@dataclass(frozen=True)
class Job:
    """One command. size: of what it does, seeds for instance, to know how many fit. limit: seconds after which it
    hangs."""

    what: str
    command: tuple[str, ...]
    read: Reader
    environment: Mapping[str, str] = field(default_factory=dict)
    size: float = 1.0
    limit: float = math.inf


Next = Callable[[Turn], Job | None]


@dataclass(frozen=True)
class Part:
    """One entry. minutes: what it takes of an hour, of one core, or of all of them. next: its next job, or none where
    too little time is left. once: it finds the same every time, so the first round has it. needs: a file without which
    there is no such part yet."""

    name: str
    minutes: float
    next: Next
    all_cores: bool = False
    once: bool = False
    needs: str = ""


def whole(what: str, minutes: float, read: Reader, *command: str, **environment: str) -> Next:
    """One job of one size, begun where about enough time is there for it."""

    def next_(turn: Turn) -> Job | None:
        if turn.done or turn.seconds < ENOUGH * minutes * 60:
            return None
        return Job(what, command, read, environment)

    return next_


def growing(first: int, make: Callable[[int, int], Job]) -> Next:
    """A first job of that size, then as much as fits, by what that took. make: of size and seed."""

    def next_(turn: Turn) -> Job | None:
        if not turn.done:
            return make(first, turn.seed)
        size, seconds = map(sum, zip(*turn.done, strict=True))
        fits = int(0.95 * turn.seconds * size / max(seconds, 0.001))
        return make(fits, turn.seed) if fits >= first / 2 else None

    return next_


def lasting(least: float, most: float, overhead: float, make: Callable[[float, int], Job]) -> Next:
    """Jobs that last as long as they are told to, and so much longer. One that proved nothing is done once more."""

    def next_(turn: Turn) -> Job | None:
        room = turn.seconds - overhead
        if turn.again or (not turn.done and room >= ENOUGH * least):
            return make(min(max(room, least), most), turn.seed)
        return make(min(room, most), turn.seed) if room >= least else None

    return next_


def of_the_suite(name: str, minutes: float, path: str, *options: str, once: bool = False, **environment: str) -> Part:
    """Tests of the suite, larger than in `make test`; what does not exist yet is left out with a word."""
    told = " ".join(f"{name}={value}" for name, value in environment.items())
    next_ = whole(told, minutes, suite, *pytest(path, *options), **environment)
    return Part(name, minutes, next_, once=once, needs=path)


def pytest(*paths: str) -> tuple[str, ...]:
    """The command for some tests; what they have counted is in the file that it leaves."""
    told = f"--junitxml={HERE}.xml", "-o", "junit_family=xunit1"  # the other family has no place for what tests record
    return (PYTHON, "-m", "pytest", "-p", "no:cacheprovider", *told, *paths)


def seeds_of_the_simulation(count: int, seed: int) -> Job:
    """Fresh seeds of the whole engine under a virtual clock."""
    told = f"{seed}:{seed + count}"
    return Job(f"seeds {told}", (PYTHON, "-m", "amends.testing.simulate", "--seeds", told), simulation, size=count)


def examples_of_the_machine(times: int, _seed: int) -> Job:
    """So many times the examples of `make test`; Hypothesis draws fresh ones, and prints the one that fails."""
    command = pytest("tests/decide/test_machine.py")
    return Job(f"{times} x 100 examples", command, machine(100 * times), {"AMENDS_EXAMPLES": str(times)}, size=times)


def fuzz(seconds: float, seed: int) -> Job:
    """The fuzzer of whatever comes in."""
    command = (PYTHON, "tests/fuzz/fuzz.py", f"--seconds={seconds:.0f}", f"--seed={seed}")
    return Job(f"{seconds:.0f} s, seed {seed}", command, fuzzer, size=seconds, limit=2 * seconds + 120)


def chaos(read: Reader, *command: str) -> Callable[[float, int], Job]:
    """Chaos of real processes, told how long and with which dice."""

    def make(seconds: float, seed: int) -> Job:
        dice = seed % 1_000_000_007
        told = (f"--seconds={seconds:.0f}", f"--seed={dice}", f"--directory={SCRATCH}")
        what = f"{seconds:.0f} s of faults, seed {dice}"
        return Job(what, (PYTHON, *command, *told), read, size=seconds, limit=2 * seconds + AFTERWARDS_SECONDS)

    return make


def chaos_part(name: str, overhead: float, read: Reader, *command: str) -> Part:
    """A minute of it and what that brings along."""
    minutes = (60.0 + overhead) / 60
    return Part(name, minutes, lasting(CHAOS_LEAST, CHAOS_SECONDS, overhead, chaos(read, *command)), all_cores=True)


def services_part(style: str, broker: str) -> Part:
    """Services over one broker."""
    command = ("tests/chaos/services_chaos.py", "--json", f"--style={style}", f"--broker={broker}")
    return chaos_part(f"chaos of services, {style}, {broker}", 45.0, services_chaos, *command)


PARTS: tuple[Part, ...] = (
    # of all cores, one after the other
    chaos_part("chaos on a file", 20.0, file_chaos, "tests/chaos/chaos_run.py"),
    chaos_part("chaos on PostgreSQL", 45.0, fleet_chaos, "tests/chaos/fleet.py", "--json"),
    *(services_part("orchestrated", broker) for broker in BROKERS),
    *(services_part("choreographed", broker) for broker in BROKERS),
    # of one core each, side by side: first what is as long as it is, then what takes the time that is left
    of_the_suite("crash sweep on a file", 6, "tests/run/test_crash_sweep.py", "-k=not postgresql", AMENDS_SWEEP="full"),
    of_the_suite("crash sweep on PostgreSQL", 9, "tests/run/test_crash_sweep.py", "-k=postgresql", AMENDS_SWEEP="full"),
    of_the_suite("model of the barrier", 8, "tests/decide/test_barrier_model.py", once=True, AMENDS_BARRIER="large"),
    of_the_suite("joined model", 8, "tests/decide/test_joined_model.py", once=True, AMENDS_MODEL="large"),
    of_the_suite("model of the hop", 4, "tests/decide/test_hop_model.py", once=True, AMENDS_MODEL="large"),
    of_the_suite("services, fault by fault", 6, "tests/chaos", ONE_BY_ONE, AMENDS_SERVICES="all"),
    of_the_suite("order system", 5, "tests/examples/test_order_system.py", AMENDS_ORDER_SYSTEM="all"),
    of_the_suite("mutants", 6, "tests/mutants", once=True, AMENDS_MUTANTS="all"),
    of_the_suite("explore beside the engine", 7, "tests/testing/test_explore_engine.py", AMENDS_EXPLORE="large"),
    of_the_suite("explore beside services", 5, "tests/testing/test_explore_styles.py", AMENDS_EXPLORE="large"),
    Part("state machine of the core", 4, growing(5, examples_of_the_machine)),
    Part("fuzz", 8, lasting(5.0, 600.0, 3.0, fuzz), needs="tests/fuzz/fuzz.py"),
    Part("simulation", 13, growing(2_000, seeds_of_the_simulation)),
)


def there(part: Part, root: Path) -> bool:
    """Whether there is such a part already."""
    return not part.needs or (root / part.needs).exists()
