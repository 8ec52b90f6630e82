"""The crash sweep on PostgreSQL: a worker is killed at every named point, and a second one takes over.

    python sweep_postgres.py SCENARIO DIRECTORY URL

For every fault point that the scenario passes, at its first pass and one in the middle: a worker is killed there with
SIGKILL; another, which was at work all the time, takes over when the lease is out, and what stands in the ledger is
compared with what the sagas say. Then the same with a third worker, the second being killed while it takes over; and
with a worker that is not killed but stopped there (SIGSTOP), and goes on when the other has ended all: it must change
nothing, and serve a new saga. Cases share a database, each in a namespace of its own, and a few run at a time, since
they mostly wait for leases. One line of JSON per case. AMENDS_SWEEP=full takes many more passes.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import asyncpg  # noqa: F401  # before the first fork, so that no child has to
from crash_sagas import SERVER_SCENARIOS as SCENARIOS
from crash_sagas import Scenario, Spot, check, live
from sweep import FULL, begun, forked, stopped, waited

from amends import fault

AT_A_TIME = 4
AGAIN = ("adopt.after", "attempt.before", "commit.after")  # where the second worker dies
IN_COMMIT = "commit.inside"  # only where a batch is an explicit transaction
Case = tuple[list[str], str]
Pipes = list[tuple[int, int]]


def main(name: str, directory: Path, url: str) -> None:
    """Run all cases of a scenario."""
    scenario = SCENARIOS[name]
    pooled = f"{url}?pooling=transaction&direct={quote(url, safe='')}"
    passes = counted(scenario, directory, url)
    del passes["migrate.inside"]  # once in a database's life: `tests/chaos/fleet.py` kills eight workers' first there
    kills = [([f"{point}:{number}"], url) for point, count in sorted(passes.items()) for number in chosen(count)]
    kills += [([f"{IN_COMMIT}:{number}"], pooled) for number in chosen(counted(scenario, directory, pooled)[IN_COMMIT])]
    kills += [([f"{point}:1:stop"], url) for point in sorted(passes)]
    kills += [([f"attempt.after:{min(2, passes['attempt.after'])}", f"{again}:1"], url) for again in AGAIN]
    parts = [begun(functools.partial(some, scenario, directory, kills[part::AT_A_TIME])) for part in range(AT_A_TIME)]
    for part in parts:
        status = os.waitpid(part, 0)[1]
        if status != 0:
            raise SystemExit(f"a part of the cases of {name} ended with {status}")


def some(scenario: Scenario, directory: Path, cases: Sequence[Case]) -> None:
    """A part of the cases, one after the other."""
    for kills, url in cases:
        line = json.dumps(case(scenario, directory, kills, url)) + "\n"
        os.write(1, line.encode())  # whole, between those of others


def chosen(count: int) -> list[int]:
    """The first pass, one in the middle, and later ones, which may not come again."""
    if not count:
        return []
    return sorted({*range(1, count + 1, max(count // 12, 1))} if FULL else {1, max(count // 2, 1)})


def counted(scenario: Scenario, directory: Path, url: str) -> Counter[str]:
    """How often an undisturbed life passes each point."""
    place = directory / f"counted-{'pooled' if 'pooling' in url else 'direct'}"
    place.mkdir()

    def life() -> None:
        passed: Counter[str] = Counter()
        fault.hook = lambda name: passed.update([name])
        asyncio.run(live(scenario, Spot(place, url, place.name)))
        (place / "passes.json").write_text(json.dumps(passed))

    status = forked(life)
    if status != 0:
        raise SystemExit(f"the undisturbed life of {scenario.name} ended with {status}")
    return Counter(json.loads((place / "passes.json").read_text()))


def case(scenario: Scenario, directory: Path, kills: list[str], url: str) -> dict[str, object]:
    """Workers that are killed or stopped, one that is neither, and the check."""
    name = "-".join(kills).replace(":", "-")
    spot = Spot(directory / name, url, name, late=int(kills[0].endswith("stop")))
    spot.directory.mkdir()
    pipes = [os.pipe() for _ in kills]  # each worker's death is what the next one waits for
    died, statuses = (one_stops if spot.late else some_die)(scenario, spot, kills, pipes)
    for pipe in pipes:
        os.close(pipe[0])
        os.close(pipe[1])
    troubles = [f"a worker ended with {status}" for status in statuses if status] or check(scenario, spot)
    return {"kills": kills, "died": died, "troubles": troubles}


def some_die(scenario: Scenario, spot: Spot, kills: list[str], pipes: Pipes) -> tuple[list[str], list[int]]:
    """Each dies, and the next one takes over. Gives where they died, and how the last one ended."""
    begin = functools.partial(_begun, scenario, spot, kills, pipes)
    lives = [begin(0), begin(1)]
    died: list[str] = []
    for number, spec in enumerate(kills):
        status = waited(lives[number])
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
            died.append(spec)
        if number + 2 <= len(kills):
            lives.append(begin(number + 2))  # only now: it must not be the one that takes over first
        os.write(pipes[number][1], b"x")
    return died, [waited(lives[-1])]


def one_stops(scenario: Scenario, spot: Spot, kills: list[str], pipes: Pipes) -> tuple[list[str], list[int]]:
    """The first stops, the second does all there is to do, the first goes on. Gives the same."""
    first, second = (_begun(scenario, spot, kills, pipes, number) for number in (0, 1))
    asleep = stopped(first)
    os.write(pipes[0][1], b"x")
    statuses = [waited(second)]
    with contextlib.suppress(ProcessLookupError):
        os.kill(first, signal.SIGCONT)
    return kills if asleep else [], [*statuses, waited(first)]


def _begun(scenario: Scenario, spot: Spot, kills: list[str], pipes: Pipes, number: int) -> int:
    return begun(functools.partial(_life, scenario, spot, number, kills, pipes))


def _life(scenario: Scenario, spot: Spot, number: int, kills: list[str], pipes: Pipes) -> None:
    """One worker's, with a point to die at, if it is not the last."""
    fault.hook = fault.killer(kills[number]) if number < len(kills) else None
    turn = functools.partial(_readable, pipes[number - 1][0]) if number else None
    asyncio.run(live(scenario, spot, turn, late=not number))


async def _readable(pipe: int) -> None:
    loop = asyncio.get_running_loop()
    there: asyncio.Future[None] = loop.create_future()
    loop.add_reader(pipe, there.cancel)
    await asyncio.wait([there])
    loop.remove_reader(pipe)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
