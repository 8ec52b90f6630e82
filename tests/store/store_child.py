"""A process of its own on a SQLite file, told what to do by its arguments.

What it is: the other side of the tests that need real processes. It says one line for each
thing it has done, waits for a line where it is told to, and ends when its input is closed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import IO

from amends.errors import AmendsError
from amends.store import sqlite_file
from amends.store.base import Head, NewMail, NewSaga, Store, WorkerInfo, Write
from amends.store.sqlite import SqliteStore

INFO = WorkerInfo("host", os.getpid(), (1,), 60.0)
PLAN = ("fingerprint", "order", "{}")


def number_of(index: int) -> bytes:
    """The internal id of the index-th saga."""
    return index.to_bytes(16, "big")


def new_saga(key: str, number: bytes, *, owner: int | None = None, due: float | None = None) -> Write:
    """The first write of a saga."""
    head = Head("running", owner, due)
    return Write(number, 0, int.from_bytes(number[-7:], "big") * 1000, b"[0]", NewSaga(key, 1, b"hash", 0.0), head)


def next_row(number: bytes, seq: int, head: Head | None = None) -> Write:
    """A further write of it."""
    return Write(number, seq, int.from_bytes(number[-7:], "big") * 1000 + seq, b"[1]", None, head)


class Child:
    """A running child, seen from the test."""

    def __init__(self, *arguments: object, python: tuple[str, ...] = ()) -> None:
        command = [*python, sys.executable, __file__, *map(str, arguments)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    @property
    def pid(self) -> int:
        """Its number."""
        return self.process.pid

    def line(self) -> str:
        """The next thing that it says; empty when it has ended."""
        return _pipe(self.process.stdout).readline().rstrip("\n")

    def tell(self, line: str = "") -> None:
        """Let it go on."""
        pipe = _pipe(self.process.stdin)
        pipe.write(line + "\n")
        pipe.flush()

    def kill(self) -> None:
        """SIGKILL, and gone."""
        self.process.kill()
        self.end()

    def end(self) -> int:
        """Close its input and wait for it; gives its exit code."""
        _pipe(self.process.stdin).close()
        _pipe(self.process.stdout).read()
        _pipe(self.process.stdout).close()
        return self.process.wait(60)


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


def say(*words: object) -> None:
    """One line to the test."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


async def told() -> str:
    """The next line from the test."""
    return await asyncio.to_thread(sys.stdin.readline)


async def open_and_wait(path: Path, kind: str) -> None:
    """Open the file, as a worker or as a client, and keep it open."""
    store = SqliteStore(path, "default")
    try:
        await store.open(work=kind == "work")
    except AmendsError as error:
        say("error", type(error).__name__, error)
        return
    number = await store.register(INFO) if kind == "work" else 0
    say("open", number)
    await told()
    await store.close()
    say("closed")


async def write(path: Path, count: int) -> None:
    """Work: one saga after another, three commits each, until `count` are done."""
    store = SqliteStore(path, "default")
    await store.open(work=True)
    await store.add_plans([PLAN])
    worker = await store.register(INFO)
    say("open")
    await told()
    for index in range(count):
        number = number_of(1_000_000 + index)
        await store.commit(worker, [new_saga(f"w{index}", number, owner=worker)])
        await store.commit(worker, [next_row(number, 1)])
        await store.commit(worker, [next_row(number, 2, Head("completed", None, None))])
    say("done", count)
    await store.close()


async def write_until_it_fails(path: Path, count: int) -> None:
    """Work, and say what was acknowledged when something failed, and what came of the next try."""
    store = SqliteStore(path, "default")
    await store.open(work=True)
    await store.add_plans([PLAN])
    worker = await store.register(INFO)
    acknowledged = 0
    try:
        for index in range(count):
            await store.commit(worker, [new_saga(f"w{index}", number_of(1_000_000 + index), owner=worker)])
            acknowledged += 1
    except AmendsError as error:
        say("error", type(error).__name__, acknowledged, error)
    try:
        await store.commit(worker, [new_saga("after", number_of(3_000_000), owner=worker)])
        say("went on")
    except AmendsError as error:
        say("again", type(error).__name__)
    await store.close()


async def send(path: Path, count: int) -> None:
    """A client: starts, mails and reads, `count` of each."""
    store = SqliteStore(path, "default")
    await store.open(work=False)
    await store.add_plans([PLAN])
    say("open")
    await told()
    longest = 0.0
    for index in range(count):
        began = asyncio.get_running_loop().time()
        await patiently(store, index)
        longest = max(longest, asyncio.get_running_loop().time() - began)
    say("done", count, f"{longest:.3f}")
    await store.close()


async def patiently(store: Store, index: int) -> None:
    """One start, one mail and one look."""
    key = f"c{index}"
    await store.commit(None, [new_saga(key, number_of(2_000_000 + index), due=None)])
    await store.send([NewMail(key, "m", "signal", b"{}")])
    assert await store.load(key) is not None


def kill_at_statements(path: Path) -> None:
    """Open an empty file again and again, killed before its first, second, third… statement,
    until one opening comes through. Says how many it took."""
    real = sqlite3.connect

    def connect_and_die(at: int) -> None:
        left = at

        def count(statement: str) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        connection = real(path, isolation_level=None)
        connection.set_trace_callback(count)
        sqlite_file.be_durable(connection)
        sqlite_file.migrate(connection, path)
        connection.close()

    at = 0
    while True:
        at += 1
        child = os.fork()
        if child == 0:
            connect_and_die(at)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        connection = real(path)
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        version = sqlite_file.schema_of(connection)[0]
        assert version in (0, sqlite_file.CODE_VERSION), version
        connection.close()
        if os.WIFEXITED(status):
            say("came through", at)
            return
        if version:  # killed after the commit: from here on it is the next opening's turn
            path.unlink()


def main() -> None:
    """What the first argument says."""
    verb, path = sys.argv[1], Path(sys.argv[2])
    match verb:
        case "open":
            asyncio.run(open_and_wait(path, sys.argv[3]))
        case "write":
            asyncio.run(write(path, int(sys.argv[3])))
        case "write-until-it-fails":
            asyncio.run(write_until_it_fails(path, int(sys.argv[3])))
        case "send":
            asyncio.run(send(path, int(sys.argv[3])))
        case "kill-at-statements":
            kill_at_statements(path)


if __name__ == "__main__":
    main()
