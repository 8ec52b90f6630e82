"""An explicit-state model of ownership: lease, sequence, adoption and mailbox.

Two worker processes, one saga of two steps, one cancel, two faults (a crash, or an answer of
the store that is lost), all interleavings. A process that is paused is one whose moves come
late, so pauses need no move of their own. The model was written before the orchestrator and
says what each guard is for: take one away and `explore` returns the shortest history that
goes wrong. Must not import the orchestrator: it is the specification, not the code.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

LIVES, NEXT, OWN, RETIRE, TAKE = "worker lives", "seq is next", "own row is success", "retire first", "take in commit"
GUARDS = frozenset({LIVES, NEXT, OWN, RETIRE, TAKE})
START, ONE, CANCELLED, END = "start", "one", "cancelled", "end"
WORKERS = 3

Rows = tuple[str, ...]


class Queued(NamedTuple):
    """A decision on its way to the store, made by `worker` upon `basis`, to be the next row."""

    worker: int
    basis: Rows
    row: str
    again: bool = False  # it was sent before, and the answer was lost


class Process(NamedTuple):
    """One process: its registration (0: down), what it remembers, what it wants to write."""

    worker: int = 0
    loaded: Rows = ()
    queued: Queued | None = None
    sees_cancel: bool = False


class World(NamedTuple):
    """The store and the two processes."""

    processes: tuple[Process, Process] = (Process(), Process())
    registered: int = 0
    expired: frozenset[int] = frozenset()
    retired: frozenset[int] = frozenset()
    owner: int = 0  # 0: nobody
    rows: Rows = (START,)
    bases: tuple[Rows, ...] = ((),)  # the history each row was decided upon
    writers: tuple[int, ...] = (0,)
    mail: str = "none"  # none, waiting, accepted, too late
    faults: int = 2
    wrong: str = ""


Move = tuple[str, World]


def moves(world: World, guards: frozenset[str]) -> Iterator[Move]:
    """Everything that can happen next."""
    if world.mail == "none":
        yield "a client cancels", world._replace(mail="waiting")
    if world.mail == "waiting" and world.rows[-1] == END:
        yield "the sweep answers the cancel", world._replace(mail="too late")
    for worker in range(1, world.registered + 1):
        if worker not in world.expired:
            yield f"the lease of worker {worker} passes", world._replace(expired=world.expired | {worker})
    for index, process in enumerate(world.processes):
        if process.worker == 0:
            if world.registered < WORKERS:
                fresh = world._replace(registered=world.registered + 1)
                yield f"process {index} registers", _put(fresh, index, Process(fresh.registered))
            continue
        for what, after in _process_moves(world, index, process, guards):
            yield f"process {index} {what}", after


def _process_moves(world: World, index: int, process: Process, guards: frozenset[str]) -> Iterator[Move]:
    me = process.worker
    if world.faults:
        yield "dies", _put(world._replace(faults=world.faults - 1), index, Process())
    if process.queued is not None:
        yield from _commit(world, index, process, process.queued, guards)
        return
    if process.loaded:
        yield from _decide(world, index, process)
        return
    if me in world.retired:
        yield "finds itself retired", _put(world, index, Process())
        return
    for other in world.expired - {me}:
        if other not in world.retired:
            yield f"retires worker {other}", world._replace(retired=world.retired | {other})
        if world.owner == other and (other in world.retired or RETIRE not in guards):
            yield f"adopts from worker {other}", world._replace(owner=me)
    if world.owner in (0, me) and world.rows[-1] != END:
        yield "claims and loads", _put(world._replace(owner=me), index, process._replace(loaded=world.rows))


def _decide(world: World, index: int, process: Process) -> Iterator[Move]:
    """Decide upon what is in memory, however old. Nothing is visible before the commit."""
    rows = process.loaded
    if rows[-1] == END:
        yield "lets the saga go", _put(world, index, Process(process.worker))
        return
    if world.mail == "waiting" and not process.sees_cancel and CANCELLED not in rows:
        yield "sees the cancel", _put(world, index, process._replace(sees_cancel=True))
    forward = END if CANCELLED in rows or ONE in rows else ONE
    row = CANCELLED if process.sees_cancel and CANCELLED not in rows else forward
    queued = Queued(process.worker, rows, row)
    yield f"decides {row!r}", _put(world, index, process._replace(queued=queued))


def _commit(world: World, index: int, process: Process, queued: Queued, guards: frozenset[str]) -> Iterator[Move]:
    """One statement with both guards. If its answer is lost, it is sent again."""
    place = len(queued.basis)
    if queued.worker in world.retired and LIVES in guards:
        yield "finds itself retired", _put(world, index, Process())
        return
    taken = len(world.rows) > place and NEXT in guards
    own = queued.again and OWN in guards and world.writers[place : place + 1] == (queued.worker,)
    if taken and not own:
        wrong = "a worker took its own row for somebody else's" if queued.again and _is_own(world, queued) else ""
        yield "loses the race, reloads", _put(world._replace(wrong=wrong), index, Process(process.worker))
        return
    after = world if own else _append(world, queued, guards)
    told = process._replace(queued=None, loaded=(*queued.basis, queued.row), sees_cancel=False)
    yield f"commits {queued.row!r}", _put(after, index, told)
    if world.faults and not queued.again:
        silent = process._replace(queued=queued._replace(again=True))
        yield (
            f"commits {queued.row!r}, the answer is lost",
            _put(after._replace(faults=world.faults - 1), index, silent),
        )


def _is_own(world: World, queued: Queued) -> bool:
    place = len(queued.basis)
    return world.rows[place] == queued.row and world.writers[place] == queued.worker


def _append(world: World, queued: Queued, guards: frozenset[str]) -> World:
    wrong = f"worker {queued.worker} wrote after it was retired" if queued.worker in world.retired else ""
    if queued.basis != world.rows:
        wrong = f"{queued.row!r} was decided upon a history that is not the saga's"
    mail = world.mail
    if queued.row == CANCELLED and TAKE in guards:
        mail = "accepted"
    after = world._replace(rows=(*world.rows, queued.row), bases=(*world.bases, queued.basis), mail=mail, wrong=wrong)
    return after._replace(writers=(*world.writers, queued.worker))


def _put(world: World, index: int, process: Process) -> World:
    first, second = world.processes
    return world._replace(processes=(process, second) if index == 0 else (first, process))


def violation(world: World) -> str:
    """What must never be seen, in words; empty if all is well."""
    if (world.mail == "accepted") != (CANCELLED in world.rows):
        return "the client was told something else than what happened"
    return world.wrong


def explore(guards: frozenset[str] = GUARDS) -> tuple[int, list[str]]:
    """Visit every reachable world. Gives how many there are and, if one is bad or can never
    come to an end, the shortest way there."""
    came: dict[World, tuple[World, str] | None] = {World(): None}
    before: dict[World, list[World]] = {}
    queue = deque(came)
    while queue:
        world = queue.popleft()
        if bad := violation(world):
            return len(came), [*_path(came, world), bad]
        for what, after in moves(world, guards):
            before.setdefault(after, []).append(world)
            if after not in came:
                came[after] = (world, what)
                queue.append(after)
    fine = _closure((world for world in came if world.rows[-1] == END and world.mail != "waiting"), before)
    hopeless = next((world for world in came if _can_work(world) and world not in fine), None)
    return len(came), [] if hopeless is None else [*_path(came, hopeless), "from here the saga can never end"]


def _can_work(world: World) -> bool:
    """Whether some process may still write; the number of registrations bounds the search only."""
    up = (process.worker for process in world.processes if process.worker)
    return world.registered < WORKERS or any(worker not in world.retired for worker in up)


def _closure(ends: Iterable[World], before: dict[World, list[World]]) -> set[World]:
    reached = set(ends)
    queue = deque(reached)
    while queue:
        for world in before.get(queue.popleft(), ()):
            if world not in reached:
                reached.add(world)
                queue.append(world)
    return reached


def _path(came: dict[World, tuple[World, str] | None], world: World) -> list[str]:
    steps: list[str] = []
    while (link := came[world]) is not None:
        world, what = link
        steps.append(what)
    return steps[::-1]
