"""Whether somebody is still at something, as other processes can tell."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from processes import wait_for

from amends.run import lives
from amends.run.lives import Life


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """Another process, that does nothing until its input ends."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as made:
        yield made
        made.kill()


def named(pid: int, born: str = "", where: str = "") -> str:
    """Somebody of a process."""
    here, _, _, mark = lives.somebody().split(" ")
    return f"{where or here} {pid} {born or lives._stat(pid)[1] or 'token'} {mark}"


def test_who_is_at_something_is_at_it_until_the_end() -> None:
    name = lives.somebody()
    assert lives.life(name) is Life.ENDED
    with lives.at_it(name):
        assert lives.life(name) is Life.AT_IT
        assert lives.life(lives.somebody()) is Life.ENDED  # somebody else of the same process
    assert lives.life(name) is Life.ENDED
    assert lives.life("") is Life.ENDED


def test_a_process_that_is_there_is_at_it_and_one_that_has_gone_is_dead(child: subprocess.Popen[bytes]) -> None:
    name = named(child.pid)
    assert lives.life(name) is Life.AT_IT

    child.kill()
    child.wait()

    assert lives.life(name) is Life.DEAD


def test_a_process_that_is_stopped_is_alive(child: subprocess.Popen[bytes]) -> None:
    child.send_signal(signal.SIGSTOP)
    assert lives.life(named(child.pid)) is Life.AT_IT


@pytest.mark.skipif(not lives._stat(os.getpid())[1], reason="this system does not say when a process began")
def test_a_process_that_nobody_has_buried_yet_is_dead(child: subprocess.Popen[bytes]) -> None:
    name = named(child.pid)
    os.kill(child.pid, signal.SIGKILL)
    wait_for(lambda: lives._stat(child.pid)[0] == "Z", "it is a zombie")
    assert lives.life(name) is Life.DEAD


def test_the_number_of_a_process_that_is_used_again_is_another_process(child: subprocess.Popen[bytes]) -> None:
    if lives._stat(os.getpid())[1]:
        assert lives.life(named(child.pid, born="1")) is Life.DEAD
    assert lives.life(named(os.getpid(), born="1")) is Life.DEAD  # as number 1 of a container that was restarted


def test_another_machine_or_container_cannot_be_seen_from_here() -> None:
    assert lives.life(named(os.getpid(), where="elsewhere/boot/pid:[1]")) is Life.ELSEWHERE


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_forked_process_is_another_one_and_holds_nothing_of_its_parent() -> None:
    mine = lives.somebody()
    with lives.at_it(mine):
        code = "import os,sys;from amends.run import lives\n" + (
            "name=lives.somebody()\n"
            "with lives.at_it(name):\n"
            "    pid=os.fork()\n"
            "    if not pid:\n"
            "        other=lives.somebody()\n"
            "        seen=lives.life(name) is lives.Life.AT_IT and other.split(' ')[1] == str(os.getpid())\n"
            "        os._exit(0 if seen and lives.life(other) is lives.Life.ENDED else 1)\n"
            "    assert os.waitpid(pid, 0)[1] == 0\n"
            "    dead=' '.join([name.split(' ')[0], str(pid), *name.split(' ')[2:]])\n"
            "    assert lives.life(dead) is lives.Life.DEAD\n"
        )
        subprocess.run([sys.executable, "-c", code], check=True)
        assert lives.life(mine) is Life.AT_IT


def test_a_system_that_says_nothing_of_its_processes_is_asked_whether_the_number_is_there(
    monkeypatch: pytest.MonkeyPatch, child: subprocess.Popen[bytes]
) -> None:
    monkeypatch.setattr(lives, "_stat", lambda pid: ("", ""))
    mine, theirs = lives.somebody(), named(child.pid)
    with lives.at_it(mine):
        assert lives.life(mine) is Life.AT_IT
    assert lives.life(named(os.getpid())) is Life.DEAD
    assert lives.life(theirs) is Life.AT_IT
    child.kill()
    child.wait()
    assert lives.life(theirs) is Life.DEAD
