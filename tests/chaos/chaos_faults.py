"""What the chaos test does to workers, clients, the file and the clock, each for a bounded time.

Guarantees: a fault is over when its function returns; whatever it took away is back.
Must not: look at what comes of it.
"""

from __future__ import annotations

import contextlib
import resource
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable

from chaos_scene import Scene

from amends.fault import POINTS

HOUR = 3600
Fault = Callable[[Scene], None]


def kill_the_worker(scene: Scene) -> None:
    scene.kill_worker()


def kill_it_twice(scene: Scene) -> None:
    """Once more while it recovers."""
    scene.kill_worker()
    scene.start_worker()
    time.sleep(scene.dice.uniform(0.3, 1.0))
    scene.kill_worker()


def kill_at_a_point(scene: Scene) -> None:
    """The next worker dies by its own hand, at a named point."""
    scene.fault = f"{scene.dice.choice(sorted(POINTS))}:{scene.dice.randrange(1, 60)}"
    scene.kill_worker()
    scene.rest(scene.dice.uniform(0.5, 1.5))


def freeze_the_worker(scene: Scene) -> None:
    """For longer than the steps' timeouts."""
    worker = scene.worker
    if worker is not None:
        scene.freeze(worker)
        scene.rest(scene.dice.uniform(0.5, 3.0))
        scene.thaw(worker)


def ask_the_worker_to_stop(scene: Scene) -> None:
    """SIGTERM, at times followed by another, or by SIGKILL in the middle of the drain."""
    worker = scene.worker
    if worker is None:
        return
    worker.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        worker.wait(scene.dice.uniform(0.0, 4.0))
    if worker.poll() is None:
        worker.send_signal(scene.dice.choice((signal.SIGTERM, signal.SIGKILL)))
    worker.wait(30)


def kill_a_client(scene: Scene) -> None:
    client = scene.dice.choice(list(scene.clients.values()))
    client.kill()
    client.wait()


def freeze_a_client(scene: Scene) -> None:
    """Whatever lock it holds, it holds that long."""
    client = scene.dice.choice(list(scene.clients.values()))
    scene.freeze(client)
    scene.rest(scene.dice.uniform(0.5, 3.0))
    scene.thaw(client)


def hold_the_file(scene: Scene) -> None:
    """A transaction of somebody else's that writes, or only reads, for seconds."""
    with contextlib.closing(scene.look(5.0)) as connection, contextlib.suppress(sqlite3.OperationalError):
        if scene.dice.random() < 0.7:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("UPDATE account SET cents = cents WHERE name = 'ann'")
        else:
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM account").fetchone()
        scene.rest(scene.dice.choice((0.5, 1.0, 2.0, 7.0)))
        connection.execute(scene.dice.choice(("COMMIT", "ROLLBACK")))


def fill_the_disk(scene: Scene) -> None:
    """Not a byte is left, and then all of them."""
    if not scene.mounted:
        return limit_file_sizes(scene)
    ballast = scene.place / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    scene.rest(scene.dice.uniform(0.3, 2.5))
    ballast.unlink(missing_ok=True)
    return None


def limit_file_sizes(scene: Scene) -> None:
    """No file of the worker's may grow."""
    _limited(scene, resource.RLIMIT_FSIZE, scene.database.stat().st_size)


def take_away_descriptors(scene: Scene) -> None:
    """The worker cannot open another file: no journal, no socket."""
    _limited(scene, resource.RLIMIT_NOFILE, scene.dice.choice((3, 8, 12)))


def _limited(scene: Scene, which: int, most: int) -> None:
    worker = scene.worker
    if worker is None or worker.poll() is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        before = resource.prlimit(worker.pid, which)
        resource.prlimit(worker.pid, which, (most, before[1]))
        scene.rest(scene.dice.uniform(0.5, 2.0))
        resource.prlimit(worker.pid, which, before)


def set_the_clock_forward(scene: Scene) -> None:
    """By hours, for everybody, and for good; a worker is at times born into the new time."""
    scene.set_clock(scene.dice.uniform(0.5, 5.0) * HOUR)
    if scene.dice.random() < 0.5:
        scene.kill_worker()


def set_the_clock_back(scene: Scene) -> None:
    """By seconds: who was there goes on as before, who is younger lives a little earlier. Not by hours, since a
    wait that was written in the other time lasts until the clock has caught up with it."""
    scene.set_clock(scene.dice.uniform(-8.0, -0.5))
    if scene.dice.random() < 0.5:
        scene.kill_worker()


def deploy(scene: Scene) -> None:
    """Another form of a definition: a step more, a step less, one renamed; and back."""
    scene.form = scene.dice.choice(("added", "removed", "renamed"))
    ask_the_worker_to_stop(scene)
    scene.rest(scene.dice.uniform(1.5, 3.0))
    scene.form = scene.dice.choice(("plain", "all"))
    ask_the_worker_to_stop(scene)


def poison(scene: Scene) -> None:
    """An order that takes its process down whenever it is tried."""
    order = '{"cents": 7, "mood": "poison", "where": "reserve"}'
    name = f"poison-{scene.lives}"
    scene.await_end(scene.amends("start", "chaos_shop:decide", order, f"--id={name}"))
    scene.rest(1.0)


def commands(scene: Scene) -> None:
    """A few verbs of the command line at once, some of them killed."""
    verbs = (["list"], ["stuck"], ["doctor"], ["list", "--json"], ["show", "c1-1"], ["cancel", "c1-2", "--reason=x"])
    children = [scene.amends(*words) for words in scene.dice.sample(verbs, 2)]
    if scene.dice.random() < 0.3:
        scene.rest(scene.dice.uniform(0.05, 0.5))
        children[0].kill()
    scene.rest(0.5)
    for child in children:
        scene.await_end(child)


def a_second_worker(scene: Scene) -> None:
    """It must be refused, or come up because the first had died."""
    second = scene.amends("worker", "chaos_shop:orchestrator", CHAOS_FORM=scene.form)
    scene.rest(1.0)
    second.kill()
    second.wait()


def clear_away_what_lies_about(scene: Scene) -> None:
    """The lock and the sockets beside the file, as somebody does who takes them for rubbish."""
    for path in [*scene.place.glob("*-worker"), *scene.place.glob("*-hint*"), *scene.place.glob("*-turn")]:
        path.unlink(missing_ok=True)
    if scene.dice.random() < 0.5:
        a_second_worker(scene)


FAULTS: tuple[Fault, ...] = (
    kill_the_worker,
    kill_the_worker,
    kill_it_twice,
    kill_at_a_point,
    kill_at_a_point,
    freeze_the_worker,
    ask_the_worker_to_stop,
    kill_a_client,
    freeze_a_client,
    hold_the_file,
    fill_the_disk,
    limit_file_sizes,
    take_away_descriptors,
    set_the_clock_forward,
    set_the_clock_back,
    deploy,
    commands,
    a_second_worker,
    clear_away_what_lies_about,
)
