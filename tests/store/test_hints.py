"""Hints between processes: they may be lost, they cost little, and they leave nothing behind."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from store_child import Child

from amends import Completed, Orchestrator, Saga, Settings, step
from amends.store import hints
from amends.store.hints import Hints

SECONDS = 60.0


@step(readonly=True)
async def echo(value: str) -> str:
    return value


echoes = Saga("echoes", echo, input=str, output=echo)


def play(main: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(SECONDS):
            await main()

    asyncio.run(run())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


def names(folder: Path) -> set[str]:
    """What is in a directory."""
    return {one.name for one in folder.iterdir()}


def fork_and(do: Callable[[], None]) -> None:
    """Do something in a forked child, and wait for that."""
    child = os.fork()
    if child == 0:
        try:
            do()
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def ends(path: Path) -> tuple[Hints, Hints, list[str], list[str]]:
    """A worker's and a client's end, open, and what each hears."""
    worker, client = Hints(path, work=True), Hints(path, work=False)
    heard: tuple[list[str], list[str]] = ([], [])
    worker.open(heard[0].append)
    client.open(heard[1].append)
    return worker, client, *heard


def test_a_client_wakes_the_worker_and_the_worker_the_client_that_watches(tmp_path: Path) -> None:
    async def main() -> None:
        worker, client, at_worker, at_client = ends(tmp_path / "orders.db")
        client.wake_worker()
        client.watch("a")
        await until(lambda: at_worker == ["work", "watched\na"])

        worker.announce(["a", "b"])
        await until(lambda: at_client == ["a"])

        client.close()
        worker.close()

    play(main)


def test_what_was_told_once_is_not_told_again(tmp_path: Path) -> None:
    async def main() -> None:
        worker, client, at_worker, at_client = ends(tmp_path / "orders.db")
        client.watch("a")
        await until(lambda: "watched\na" in at_worker)
        worker.announce(["a"])
        worker.announce(["a"])
        client.watch("b")
        await until(lambda: "watched\nb" in at_worker)
        worker.announce(["b"])
        await until(lambda: "b" in at_client)

        assert at_client == ["a", "b"]
        client.close()
        worker.close()

    play(main)


def test_sockets_are_gone_when_their_ends_are_closed(tmp_path: Path) -> None:
    async def main() -> None:
        worker, client, *_ = ends(tmp_path / "orders.db")
        assert len(names(tmp_path)) == 2
        for end in (client, worker, client, worker):
            end.close()
        assert names(tmp_path) == set()

    play(main)


def test_the_socket_of_a_killed_client_is_swept_and_that_of_a_living_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    child = Child("open", tmp_path / "other.db", "client")
    child.line()
    for process in (child.pid, os.getpid()):
        end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        end.bind(f"{path}-hint-{process}-1")
        end.close()
    child.kill()

    async def main() -> None:
        worker = Hints(path, work=True)
        worker.open(lambda topic: None)
        hints_left = {name for name in names(tmp_path) if "-hint" in name and name.startswith("orders")}
        assert hints_left == {"orders.db-hint", f"orders.db-hint-{os.getpid()}-1"}
        worker.close()

    play(main)


def test_a_path_too_long_for_a_socket_means_no_hints_and_no_error(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 20) / ("long" * 20)
    folder.mkdir(parents=True)

    async def main() -> None:
        worker, client, at_worker, at_client = ends(folder / "orders.db")
        client.wake_worker()
        client.watch("a")
        worker.announce(["a"])
        worker.wake_worker()
        await asyncio.sleep(0)
        assert (at_worker, at_client) == (["a", "work"], [])  # what stays in the process needs no socket
        client.close()
        worker.close()
        assert names(folder) == set()

    play(main)


def test_a_client_whose_own_path_is_too_long_still_wakes_the_worker(tmp_path: Path) -> None:
    room = hints.PATH_BYTES_MAX - len(str(tmp_path)) - len("/-hint")
    if room < 4:
        pytest.skip("the temporary directory's own path is too long")

    async def main() -> None:
        worker, client, at_worker, _ = ends(tmp_path / ("x" * room))
        client.wake_worker()
        await until(lambda: at_worker == ["work"])
        client.close()
        worker.close()

    play(main)


def test_a_place_where_no_socket_can_be_made_means_no_hints_and_no_error(tmp_path: Path) -> None:
    async def main() -> None:
        worker, client, *_ = ends(tmp_path / "no such directory" / "orders.db")
        client.wake_worker()
        client.watch("a")
        client.close()
        worker.close()

    play(main)


def test_a_hundred_thousand_watchers_are_the_most_and_the_oldest_make_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hints.WATCHED_MAX == 100_000
    monkeypatch.setattr(hints, "WATCHED_MAX", 100)

    async def main() -> None:
        worker, client, at_worker, at_client = ends(tmp_path / "orders.db")
        for number in range(250):
            client.watch(f"s{number}")
            await until(lambda number=number: f"watched\ns{number}" in at_worker)  # type: ignore[misc]

        assert worker.watchers == 100
        worker.announce([f"s{number}" for number in range(250)])
        await until(lambda: len(at_client) > 0)
        client.watch("last")
        await until(lambda: "watched\nlast" in at_worker)
        worker.announce(["last"])
        await until(lambda: "last" in at_client)
        assert worker.watchers == 0
        assert "s0" not in at_client
        client.close()
        worker.close()

    play(main)


def test_nonsense_on_the_socket_harms_nobody(tmp_path: Path) -> None:
    async def main() -> None:
        worker, client, at_worker, _ = ends(tmp_path / "orders.db")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
            for message in (b"", b"\xff\xfe\x00", b"watch", b"watch\n", b"watch\nnowhere\nkey", b"x" * 5000, b"key\nq"):
                stranger.sendto(message, f"{tmp_path / 'orders.db'}-hint")
        client.wake_worker()
        await until(lambda: "work" in at_worker)
        worker.announce(["key", ""])
        client.close()
        worker.close()

    play(main)


def test_a_flood_of_hints_blocks_nobody(tmp_path: Path) -> None:
    async def main() -> None:
        worker, client, at_worker, _ = ends(tmp_path / "orders.db")
        for _ in range(5000):
            client.wake_worker()  # most of them find the queue full
        await until(lambda: "work" in at_worker)
        client.close()
        worker.close()

    play(main)


def test_a_forked_child_does_not_take_the_socket_along(tmp_path: Path) -> None:
    async def main() -> None:
        worker, client, at_worker, _ = ends(tmp_path / "orders.db")
        fork_and(worker.close)

        client.wake_worker()

        await until(lambda: at_worker == ["work"])
        client.close()
        worker.close()

    play(main)


def test_when_every_hint_is_lost_the_polls_do_it(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    settings = Settings(poll_seconds=0.05)

    async def main() -> None:
        worker = Orchestrator(path, sagas=[echoes], settings=settings)
        client = Orchestrator(path, sagas=[echoes], settings=settings)
        async with worker, client.client():
            for name in names(tmp_path):
                if name.startswith("orders.db-hint"):
                    os.unlink(tmp_path / name)
            assert await client.run(echoes, "hello") == Completed("hello")

    play(main)
