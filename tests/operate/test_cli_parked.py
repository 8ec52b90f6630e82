"""A parked saga: the commands that `show` prints work as they stand; nothing hostile reaches a terminal."""

from __future__ import annotations

import json
import logging
import shlex
import subprocess
import sys

import pytest
from shop_floor import Floor

from amends.operate.cli.telemetry import SafeFormatter

ODD = ["order-1", 'it\'s "odd" $HOME `id` \\ ;|&', "-starts-with-a-dash", "--reason", "ünï códe 日本", "a=b --c"]
ORDERS = "--database=sqlite:///orders.db"


def printed(shown: str) -> list[str]:
    """The commands below "What you can do now"."""
    _, found, rest = shown.partition("What you can do now\n")
    assert found, shown
    return [line.strip() for line in rest.splitlines() if line.startswith("  amends ")]


def pasted(floor: Floor, command: str) -> subprocess.CompletedProcess[str]:
    """A command given to a shell as it stands."""
    shell = f'amends() {{ {shlex.quote(sys.executable)} -m amends "$@"; }}; {command}'
    return subprocess.run(
        ["bash", "-c", shell], cwd=floor.directory, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("name", ODD)
def test_the_first_command_printed_ends_the_saga_whatever_its_id(floor: Floor, name: str) -> None:
    floor.park(name)
    command = printed(floor.ok("show", ORDERS, "--", name).out)[0]

    with floor.worker():
        result = pasted(floor, command)
        floor.wait_for(lambda: floor.ok("show", ORDERS, "--json", "--", name).data["status"] == "completed")

    assert command.startswith("amends retry ")
    assert result.returncode == 0, result


@pytest.mark.parametrize(
    ("verb", "ends"), [("retry", "completed"), ("resolve", "completed"), ("compensate", "compensated")]
)
def test_every_command_printed_for_a_stuck_step_ends_the_saga(floor: Floor, verb: str, ends: str) -> None:
    floor.park("order-1")
    commands = printed(floor.ok("show", "order-1", "--app=shop:orchestrator").out)
    chosen = [command for command in commands if command.split()[1] == verb]

    with floor.worker():
        result = pasted(floor, chosen[0])
        floor.wait_for(lambda: floor.ok("show", "order-1", ORDERS, "--json").data["status"] == ends)

    assert sorted(command.split()[1] for command in commands) == ["compensate", "resolve", "retry"]
    assert result.returncode == 0, result


@pytest.mark.parametrize("verb", ["retry", "skip", "resolve"])
def test_every_command_printed_for_a_stuck_undo_ends_the_saga(floor: Floor, verb: str) -> None:
    floor.touch("undo-broken")
    assert floor.order("order-1", "declined").code == 4
    floor.remove("undo-broken")
    commands = printed(floor.ok("show", "order-1", ORDERS).out)
    chosen = [command for command in commands if command.split()[1] == verb]

    with floor.worker():
        result = pasted(floor, chosen[0])
        floor.wait_for(lambda: floor.ok("show", "order-1", ORDERS, "--json").data["status"] == "compensated")

    assert sorted(command.split()[1] for command in commands) == ["resolve", "retry", "skip"]
    assert result.returncode == 0, result


def test_a_run_that_parks_prints_the_commands_too(floor: Floor) -> None:
    floor.touch("bank-down")
    result = floor.order("order-1")
    floor.remove("bank-down")

    with floor.worker():
        pasted(floor, printed(result.out)[0])
        floor.wait_for(lambda: floor.ok("show", "order-1", ORDERS, "--json").data["status"] == "completed")

    assert result.code == 4


HOSTILE = "\x1b]0;owned\x07\x1b[2J\r\x08\x9b31m\u202egnp.exe"


def test_a_hostile_reason_reaches_no_terminal_as_it_is(floor: Floor) -> None:
    floor.park("order-1")

    with floor.worker():
        refused = floor.amends("skip", "order-1", "charge_card", f"--reason={HOSTILE}", f"--actor={HOSTILE}", ORDERS)
        floor.ok("compensate", "order-1", f"--reason={HOSTILE}", f"--actor={HOSTILE}", ORDERS)
        floor.wait_for(lambda: floor.ok("show", "order-1", ORDERS, "--json").data["status"] == "compensated")
    outputs = [
        refused.out + refused.err,
        *(floor.ok(*words, ORDERS).out for words in (("show", "order-1"), ("list",), ("show", "order-1", "--json"))),
    ]

    assert "\\x1b]0;owned\\x07" in outputs[1]
    for output in outputs:
        assert not [character for character in output if not character.isprintable() and character != "\n"]
    history = json.loads(outputs[3])["history"]
    assert HOSTILE in [line["reason"] for line in history if line["event"] == "operated"]


def test_a_hostile_exception_reaches_no_terminal_as_it_is(floor: Floor) -> None:
    source = (floor.directory / "shop.py").read_text()
    hostile = source.replace('"the card was declined"', repr(HOSTILE))
    (floor.directory / "shop.py").write_text(hostile)

    result = floor.order("order-1", "declined")
    listed = floor.ok("list", ORDERS)

    assert result.code == 3
    for output in (result.out, result.err, listed.out):
        assert not [character for character in output if not character.isprintable() and character != "\n"]


def test_a_workers_log_reaches_no_terminal_as_it_is() -> None:
    record = logging.LogRecord("amends.step", logging.WARNING, "", 0, "no %s", (HOSTILE,), None)

    line = SafeFormatter("%(message)s").format(record)

    assert line.startswith("no \\x1b]0;owned\\x07")
    assert line.isprintable()
