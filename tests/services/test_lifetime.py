"""Servers end with their last user, however it goes, and missing ones are spoken of."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

import servers
from services import install, process
from services.found import ROOT, ServiceMissing, postgres_bin
from services.keeper import Use
from services.process import Place, free_port

WAIT_SECONDS = 60.0
CHILD = """
import json, sys
from pathlib import Path
from services.shared import shared_postgres
with shared_postgres(Path(sys.argv[1])) as databases:
    databases.drop(databases.create())
    print(databases.admin_url, flush=True)
    sys.stdin.read()
"""


def user_of(place: Path) -> subprocess.Popen[str]:
    """A process that uses the shared server of a place until its input ends."""
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(place)], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def told(user: subprocess.Popen[str]) -> str:
    """The URL that it was given."""
    assert user.stdout is not None
    return user.stdout.readline().strip()


def gone(user: subprocess.Popen[str], *, kill: bool) -> None:
    """End a user, or kill it."""
    if kill:
        user.kill()
    user.communicate(timeout=WAIT_SECONDS)


def wait(condition: Callable[[], bool]) -> None:
    """Wait for what only looking can tell."""
    until = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.parametrize("kill", [False, True], ids=["ended", "killed"])
def test_processes_share_a_server_that_ends_with_the_last_of_them(tmp_path: Path, kill: bool) -> None:
    servers.need(postgres_bin)
    users = [user_of(tmp_path) for _ in range(2)]
    urls = {told(user) for user in users}
    directory = Path(json.loads((tmp_path / "postgres.json").read_text())["directory"])
    server = psutil.Process(json.loads((directory / "server.json").read_text())["pid"])

    gone(users[0], kill=kill)
    assert len(urls) == 1
    assert server.is_running()
    gone(users[1], kill=kill)

    wait(lambda: not server.is_running() and not directory.exists())


def test_who_comes_after_the_end_gets_another_server(tmp_path: Path) -> None:
    servers.need(postgres_bin)
    first = user_of(tmp_path)
    assert told(first)
    gone(first, kill=True)

    second = user_of(tmp_path)

    assert told(second).startswith("postgresql://")
    gone(second, kill=False)


def test_nobody_becomes_a_user_of_a_server_that_is_gone(tmp_path: Path) -> None:
    assert Use.begun(tmp_path) is None
    assert Use.begun(tmp_path / "never there") is None


def find_nothing() -> Path:
    """Looks for a program that is not there."""
    raise ServiceMissing("postgres", "postgresql")


def test_a_missing_server_skips_and_names_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AMENDS_REQUIRE_SERVICES", raising=False)

    with pytest.raises(pytest.skip.Exception, match=r"NOT TESTED: .*make services-install.* package postgresql"):
        servers.need(find_nothing)


def test_a_missing_server_fails_where_all_were_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMENDS_REQUIRE_SERVICES", "1")

    with pytest.raises(pytest.fail.Exception, match="make services-install"):
        servers.need(find_nothing)


def test_what_is_there_is_not_installed_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(install, "_PROGRAMS", {"postgresql": lambda: tmp_path})
    monkeypatch.setattr(install, "_run", lambda *_: pytest.fail("nothing is to be run"))

    assert install.install() == []


def test_without_apt_the_packages_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(install, "_PROGRAMS", {"postgresql": find_nothing})
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(install.CannotInstall, match="by hand: postgresql"):
        install.install()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts servers as somebody else")
def test_programs_in_a_checkout_that_others_cannot_enter_are_copied(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    unpacked = tmp_path / "closed" / ".services" / "root"
    program = unpacked / "usr" / "bin" / "server"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho runs\n")
    program.chmod(0o755)
    (tmp_path / "closed").chmod(0o700)
    monkeypatch.setattr(process, "UNPACKED", unpacked)
    place = Place("test")

    found = place.reachable(program)

    assert place.run([str(found)]).stdout == "runs\n"
    assert found.is_relative_to(place.directory)
    subprocess.run(["rm", "-r", str(place.directory)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts servers as somebody else")
def test_what_the_server_may_read_is_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place("test")
    monkeypatch.setattr(process, "UNPACKED", place.directory / "unpacked")
    library = place.directory / "unpacked" / "library"
    library.parent.mkdir()
    library.touch(mode=0o644)

    assert place.reachable(library) == library

    subprocess.run(["rm", "-r", str(place.directory)], check=True)


def test_ports_are_not_those_that_clients_are_given() -> None:
    """Else a client's own connection could take a server's port while it is down."""
    assert 1024 < free_port() < 32768


def test_ports_that_are_asked_for_together_are_different() -> None:
    """Of some 12,000; two of 500 were the same nearly every time."""
    assert len({free_port() for _ in range(500)}) == 500
