"""The crash sweep's own process: it forks one child for every life of a worker, and kills it.

    python sweep.py SCENARIO DIRECTORY

For every fault point that the scenario passes, and for its first, second, … last pass: a worker
is killed there with SIGKILL, the next one runs to the end, and what stands in the ledger is
compared with what the sagas say. Then the same with a second kill during the recovery. One line
of JSON per case: where it was to be killed, where it died, what does not hold; the test reads
them. Forking here keeps thousands of lives affordable. AMENDS_SWEEP=full takes many more passes.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from crash_sagas import SCENARIOS, Scenario, Spot, check, live

from amends import fault

LIFE_SECONDS = 30
FULL = os.environ.get("AMENDS_SWEEP") == "full"
AGAIN = ("adopt.after", "commit.after", "attempt.before", "claim.after")  # where the second life dies


def main(name: str, directory: Path) -> None:
    """Run all cases of a scenario."""
    scenario = SCENARIOS[name]
    passes = counted(scenario, directory / "counted")
    for point, count in sorted(passes.items()):
        for number in chosen(count):
            case(scenario, directory / f"{point}-{number}", [f"{point}:{number}"])
    for again in AGAIN:
        for point in ("attempt.after", "commit.after", "commit.before"):
            for number in chosen(passes[point])[1 : 4 if FULL else 2]:
                case(scenario, directory / f"{point}-{number}-{again}", [f"{point}:{number}", f"{again}:1"])


def chosen(count: int) -> list[int]:
    """The first two passes and two more; in full, the first twelve, about a dozen more, and the
    last. Passes near the end may not come again: what is written together changes with the time."""
    if FULL:
        return sorted({*range(1, min(count, 12) + 1), *range(12, count, max(count // 12, 1)), count})
    return sorted({1, min(2, count), max(count // 2, 1), max(count * 3 // 4, 1)})


def counted(scenario: Scenario, directory: Path) -> Counter[str]:
    """How often an undisturbed life passes each point."""
    directory.mkdir()
    status = forked(lambda: count_into(scenario, directory))
    if status != 0:
        raise SystemExit(f"the undisturbed life of {scenario.name} ended with {status}")
    return Counter(json.loads((directory / "passes.json").read_text()))


def count_into(scenario: Scenario, directory: Path) -> None:
    """One life, counting."""
    passed: Counter[str] = Counter()
    fault.hook = lambda name: passed.update([name])
    asyncio.run(live(scenario, Spot(directory)))
    (directory / "passes.json").write_text(json.dumps(passed))


def case(scenario: Scenario, directory: Path, kills: list[str]) -> None:
    """Lives that are killed, one that is not, and the check."""
    directory.mkdir()
    died: list[str] = []
    for spec in kills:
        status = forked(lambda spec=spec: killed_at(scenario, directory, spec))  # type: ignore[misc]  # a default binds the spec
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
            died.append(spec)
    status = forked(lambda: asyncio.run(live(scenario, Spot(directory))))
    troubles = [f"the last life ended with {status}"] if status != 0 else check(scenario, Spot(directory))
    sys.stdout.write(json.dumps({"kills": kills, "died": died, "troubles": troubles}) + "\n")
    sys.stdout.flush()


def killed_at(scenario: Scenario, directory: Path, spec: str) -> None:
    """One life, killed at a point if it passes it."""
    fault.hook = fault.killer(spec)
    asyncio.run(live(scenario, Spot(directory)))


def forked(life: Callable[[], None]) -> int:
    """The wait status of a child that lives a life; a life that hangs is killed and told apart."""
    return waited(begun(life))


def begun(life: Callable[[], None]) -> int:
    """The process id of a child that lives a life."""
    child = os.fork()
    if child == 0:
        try:
            life()
        except BaseException as error:  # noqa: BLE001  # a child must never return into the parent's code
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)
    return child


def stopped(child: int) -> bool:
    """Wait until a child has stopped itself, in bounded time; whether it did, and has not ended instead."""
    until = time.monotonic() + LIFE_SECONDS
    while time.monotonic() < until:
        told = os.waitid(os.P_PID, child, os.WSTOPPED | os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if told is not None:
            return told.si_code == os.CLD_STOPPED
        time.sleep(0.01)
    return False


def waited(child: int) -> int:
    """Wait for a child, in bounded time."""
    until = time.monotonic() + LIFE_SECONDS
    watch = os.pidfd_open(child)
    try:
        if not select.select([watch], [], [], max(until - time.monotonic(), 0))[0]:
            os.kill(child, signal.SIGABRT)
    finally:
        os.close(watch)
    return os.waitpid(child, 0)[1]


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
