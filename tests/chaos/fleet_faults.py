"""What the chaos on PostgreSQL does to workers, clients, the server and the lines between them.

Guarantees: each fault writes itself into the fault log with the sagas that were in flight; what it takes away comes
back, at once or by `Fleet.later`.
Must not: look at what comes of it.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Callable

import psycopg
from chaos_shop import LEASE_SECONDS
from fleet_scene import Fleet, Place

from amends.fault import POINTS
from services.proxy import Proxy, Trap

Fault = Callable[[Fleet], None]
TERMINATE = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1
"""
POISON = "a saga that kills every worker that tries it"
OFTEN_PASSED = ("commit.before", "commit.after", "attempt.before", "attempt.after", "claim.after", "release.after")
RARE = {"migrate.inside", "commit.inside"}  # not on every way, or not in every life


def kill_a_worker(fleet: Fleet) -> None:
    """At any instant."""
    fleet.note("kill -9 of a worker, at any instant")
    fleet.kill(fleet.a_worker())


def kill_two_workers(fleet: Fleet) -> None:
    """So that who takes over may be dead, too."""
    fleet.note("kill -9 of two workers at once")
    for place in fleet.dice.sample(fleet.workers, 2):
        fleet.kill(place)


def _point(fleet: Fleet, place: Place) -> str:
    """Where the next life of a worker is to end: a point on its way, at one of its first passes."""
    pooled = "pooling=" in place.url
    points = [point for point in POINTS if point not in RARE] + (["commit.inside"] * 3 if pooled else [])
    point = fleet.dice.choice([*points, *OFTEN_PASSED])
    most = 2 if point in ("adopt.after", "drain.before", "mail.after", "start.before") else 40
    return f"{point}:{fleet.dice.randrange(1, most)}"


def kill_at_a_point(fleet: Fleet) -> None:
    """The next life of a worker ends by its own hand, at a named point."""
    place = fleet.a_worker()
    place.fault = _point(fleet, place)
    fleet.note("kill -9 of a worker, at a fault point", place.fault)
    if place.fault.startswith("drain"):
        fleet.kill(place)
        fleet.rest(2.0)
        _ask_to_stop(fleet, place)
    else:
        fleet.kill(place)
        fleet.rest(0.5)


def stop_at_a_point(fleet: Fleet) -> None:
    """The next life of a worker stops at a named point, sleeps past its lease there, and goes on."""
    place = fleet.a_worker()
    place.fault = f"{_point(fleet, place)}:stop".replace("drain.before", "commit.after")
    fleet.note("SIGSTOP of a worker, at a fault point, past its lease", place.fault)
    fleet.kill(place)
    _continue_when_stopped(fleet, place, looks=60)


def _continue_when_stopped(fleet: Fleet, place: Place, looks: int) -> None:
    if fleet.stopped_itself(place):
        fleet.freeze(place, LEASE_SECONDS + fleet.dice.uniform(1.0, 2.0), longer_than_lease=True)
    elif looks:
        fleet.later(0.25, lambda: _continue_when_stopped(fleet, place, looks - 1))


def freeze_past_the_lease(fleet: Fleet) -> None:
    """A zombie: it wakes up when others have its sagas."""
    fleet.note("SIGSTOP of a worker past its lease, then SIGCONT")
    fleet.freeze(fleet.a_worker(), LEASE_SECONDS + fleet.dice.uniform(1.0, 3.0), longer_than_lease=True)


def freeze_two_past_the_lease(fleet: Fleet) -> None:
    """Two zombies, waking at almost the same time."""
    fleet.note("SIGSTOP of two workers past their leases, then SIGCONT")
    for place in fleet.dice.sample(fleet.workers, 2):
        fleet.freeze(place, LEASE_SECONDS + fleet.dice.uniform(1.0, 1.5), longer_than_lease=True)


def freeze_a_moment(fleet: Fleet) -> None:
    """About as long as a lease has left."""
    fleet.note("SIGSTOP of a worker for about what is left of its lease")
    fleet.freeze(fleet.a_worker(), fleet.dice.uniform(0.2, LEASE_SECONDS))


def ask_a_worker_to_stop(fleet: Fleet) -> None:
    """SIGTERM, at times followed by SIGKILL in the middle of the drain."""
    fleet.note("SIGTERM of a worker, at times SIGKILL while it drains")
    _ask_to_stop(fleet, fleet.a_worker())


def _ask_to_stop(fleet: Fleet, place: Place) -> None:
    process = place.process
    if process is None:
        return
    process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(fleet.dice.uniform(0.1, 5.0))
    fleet.kill(place)


def kill_a_client(fleet: Fleet) -> None:
    """In the middle of whatever it does."""
    fleet.note("kill -9 of a client")
    fleet.kill(fleet.dice.choice(list(fleet.clients.values())))


def freeze_a_client(fleet: Fleet) -> None:
    """Whatever lock it holds, it holds that long."""
    fleet.note("SIGSTOP of a client, then SIGCONT")
    fleet.freeze(fleet.dice.choice(list(fleet.clients.values())), fleet.dice.uniform(0.5, 3.0))


def terminate_backends(fleet: Fleet) -> None:
    """One of somebody's sessions on the server, again and again."""
    fleet.note("pg_terminate_backend of random sessions, in a loop")
    for _ in range(fleet.dice.randrange(5, 15)):
        with contextlib.suppress(psycopg.Error):
            fleet.ask(TERMINATE)
        fleet.rest(fleet.dice.uniform(0.05, 0.3))


def kill_the_server(fleet: Fleet) -> None:
    """kill -9 of the postmaster, some time without it, and a start with recovery."""
    fleet.note("PostgreSQL killed with -9, and started")
    fleet.server.kill()
    fleet.rest(fleet.dice.choice((0.0, 0.5, 2.5)))
    fleet.server.start()


def stop_the_server(fleet: Fleet) -> None:
    """As administrators do in a hurry."""
    mode = fleet.dice.choice(("immediate", "fast"))
    fleet.note("PostgreSQL stopped (immediate or fast), and started", mode)
    fleet.server.stop("immediate" if mode == "immediate" else "fast")
    fleet.rest(fleet.dice.uniform(0.0, 1.0))
    fleet.server.start()


def _proxy(fleet: Fleet) -> Proxy:
    return fleet.dice.choice((fleet.proxy, fleet.pooled_proxy))


def swallow_commits(fleet: Fleet) -> None:
    """Applied, and the answer lost: the line is cut once the server has answered."""
    fleet.note("the line cut after the committing statement, its answer lost")
    for _ in range(3):
        proxy = _proxy(fleet)
        marker = b"COMMIT" if proxy is fleet.pooled_proxy else b"INSERT INTO amends.journal"
        trap = proxy.swallow_next(marker, skip=fleet.dice.randrange(3))
        fleet.traps.append(trap)
        _until_sprung(fleet, trap, proxy)


def lose_statements(fleet: Fleet) -> None:
    """To the client it looks the same, and nothing was applied."""
    fleet.note("the line cut before a statement arrived")
    for _ in range(2):
        proxy = _proxy(fleet)
        _until_sprung(fleet, proxy.lose_next(b"amends.", skip=fleet.dice.randrange(5)), proxy)


def _until_sprung(fleet: Fleet, trap: Trap, proxy: Proxy) -> None:
    for _ in range(15):
        if trap.sprung:
            return
        fleet.rest(0.1)
    proxy.disarm()


def cut_all_lines(fleet: Fleet) -> None:
    """And nobody comes in for a while."""
    fleet.note("all lines of a proxy cut, and new ones refused for a while")
    proxy = _proxy(fleet)
    proxy.refuse()
    proxy.cut()
    fleet.rest(fleet.dice.uniform(0.1, 1.5))
    proxy.accept()


def stall_the_network(fleet: Fleet) -> None:
    """The lines stay open, and nothing comes through: at times for longer than a lease."""
    fleet.note("a network that lets nothing through, lines half open")
    proxy = _proxy(fleet)
    proxy.freeze()
    fleet.rest(fleet.dice.uniform(0.5, LEASE_SECONDS * 2))
    proxy.thaw()
    if fleet.dice.random() < 0.3:
        proxy.cut()


def poison(fleet: Fleet) -> None:
    """An order that takes its worker down whenever it is tried."""
    fleet.note(POISON)
    order = '{"cents": 7, "mood": "poison", "where": "reserve"}'
    place = Place("commands", fleet.ways[0])
    fleet.launch(place, "-m", "amends", "start", "chaos_shop:decide", order, f"--id=poison-{len(fleet.records)}")
    until = 200
    while place.alive and until:
        fleet.rest(0.1)
        until -= 1
    fleet.kill(place)


def skew(fleet: Fleet) -> None:
    """Not a deed: the workers' wall clocks are minutes apart all the time, and this one's changes side."""
    place = fleet.a_worker()
    place.skew = -place.skew or fleet.dice.choice((-300.0, 300.0))
    fleet.note("workers' wall clocks 300 s ahead and behind", f"{place.name} {place.skew:+g}")
    fleet.kill(place)


FAULTS: tuple[Fault, ...] = (
    kill_a_worker,
    kill_two_workers,
    kill_at_a_point,
    kill_at_a_point,
    stop_at_a_point,
    freeze_past_the_lease,
    freeze_past_the_lease,
    freeze_two_past_the_lease,
    freeze_a_moment,
    ask_a_worker_to_stop,
    kill_a_client,
    freeze_a_client,
    terminate_backends,
    kill_the_server,
    stop_the_server,
    swallow_commits,
    swallow_commits,
    lose_statements,
    cut_all_lines,
    stall_the_network,
    poison,
    skew,
)
KINDS = len(set(FAULTS))
