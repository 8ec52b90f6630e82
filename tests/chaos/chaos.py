"""The chaos test's own process: a worker and clients under random faults, and what holds afterwards.

    python chaos.py --seconds 30 --seed 7 --directory /tmp/somewhere

Prints one JSON object: the faults and how many of them met sagas that moved, the sagas by status, and `troubles`,
every sentence of which is a broken promise.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "run")]
END_SECONDS = 90.0  # everything ends within that after the last fault


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--directory", type=Path, required=True)
    given = parser.parse_args()
    given.directory.mkdir(parents=True, exist_ok=True)
    os.environ["CHAOS_BOOKS"] = str(given.directory)
    os.environ["CHAOS_DIRECTORY"] = str(given.directory / "disk")
    os.environ["CHAOS_FORM"] = "all"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that `close` is reached
    from chaos_scene import Scene  # the app reads the environment when it is imported

    scene = Scene(given.directory, given.seed)
    try:
        report = run(scene, given.seconds)
    finally:
        scene.close()
    sys.stdout.write(json.dumps({"seed": given.seed, "seconds": given.seconds, **report}) + "\n")


def run(scene: Any, seconds: float) -> dict[str, Any]:
    """Faults until the time is over, then peace, then the questions."""
    from chaos_faults import FAULTS, poison

    opening(scene)
    met: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    until = time.monotonic() + seconds
    scene.rest(2.0)
    faults = [poison, *scene.dice.sample(FAULTS, len(FAULTS))]
    while time.monotonic() < until:
        fault = faults.pop(0) if faults else scene.dice.choice(FAULTS)
        scene.oversee()
        live = scene.live()
        began = time.monotonic()
        fault(scene)
        (met if live else missed)[fault.__name__] += 1
        sys.stderr.write(f"{began - until + seconds:6.1f} s  {fault.__name__}, {live} sagas moving\n")
        scene.rest(scene.dice.uniform(0.2, 1.2))
    return {"met": met, "missed": missed, "workers": scene.lives, "clients": scene.clients_ever, **ending(scene)}


def opening(scene: Any) -> None:
    """Several processes open a file that is not there yet, and some of them are killed at it."""
    for _ in range(3):
        children = [scene.amends("start", "chaos_shop:decide", '{"cents": 1}', "--id=poison-0") for _ in range(3)]
        time.sleep(scene.dice.uniform(0.2, 0.9))
        for child in children:
            child.kill()
            child.wait()
    first = scene.amends("start", "chaos_shop:decide", '{"cents": 1}', "--id=poison-0")
    if first.wait(60) != 0:
        raise RuntimeError("the file could not be opened after processes were killed that opened it")
    with contextlib.closing(sqlite3.connect(scene.database, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE chaos_order (id TEXT PRIMARY KEY)")
        connection.execute("CREATE TABLE account (name TEXT PRIMARY KEY, cents INTEGER NOT NULL)")
        connection.execute("INSERT INTO account VALUES ('ann', 10000), ('bob', 10000), ('cem', 10000), ('dia', 10000)")


def ending(scene: Any) -> dict[str, Any]:
    """No more faults: a worker that knows all forms, a person who answers, and time."""
    scene.end_clients()
    scene.form, scene.fault = "all", ""
    scene.kill_worker()
    scene.start_worker()
    troubles: list[str] = []
    try:
        statuses = asyncio.run(_in_the_end(scene, troubles))
    finally:
        code = _stop(scene.worker)
    if code != 0:
        troubles.append(f"the last worker ended with {code}")
    return {"statuses": statuses, "troubles": troubles}


def _stop(worker: subprocess.Popen[bytes]) -> int:
    worker.terminate()
    try:
        return worker.wait(40)
    except subprocess.TimeoutExpired:
        worker.kill()
        return worker.wait()


async def _in_the_end(scene: Any, troubles: list[str]) -> Counter[str]:
    from chaos_check import check, journals, views
    from chaos_laws import laws

    from amends.operate.operations import operations

    async with operations(scene.url, answer_seconds=20) as people:
        began = time.monotonic()
        while time.monotonic() - began < END_SECONDS:
            if scene.worker.poll() is not None:  # a poisonous saga may have deaths left
                scene.start_worker()
            moving = await people.find(statuses=["running", "compensating"], limit=1000)
            mail = [finding.detail for finding in await people.doctor() if finding.what == "mail"]
            if not moving.sagas and "is answered" in mail[0]:
                break
            await _answer(people)
            await asyncio.sleep(0.5)
        else:
            troubles.append(f"mail: {mail}")
            troubles += [f"{line.id} hangs: {line}" for line in moving.sagas]
        sys.stderr.write(f"all at rest after {time.monotonic() - began:.1f} s\n")
        found = await views(people)
        troubles += laws(found, await journals(people, found))
    troubles += check(scene.books, scene.database, found)
    shutil.copy(scene.database, scene.books / "sagas-in-the-end.db")  # for whoever looks into it; the disk may be gone
    return Counter(view.line.status for view in found.values())


async def _answer(people: Any) -> None:
    """Whoever waits for a person gets an answer."""
    from amends.errors import AmendsError
    from amends.operate.values import Trouble

    for line in (await people.stuck(troubles=[Trouble.WAITING], limit=200)).lines:
        with contextlib.suppress(AmendsError):
            await people.signal(line.saga.id, "approval", b'{"granted": true, "note": "in the end"}', actor="ann")


if __name__ == "__main__":
    main()
