"""The help, the table of exit codes, and what the command line costs to start."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from shop_floor import Floor

from amends import errors
from amends.operate.cli.exits import MEANING, Exit, exit_of
from amends.operate.cli.main import cli
from amends.operate.cli.reference import END, START, reference
from amends.operate.cli.verb import Verb
from amends.operate.cli.verbs import VERBS

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"


def commands() -> list[tuple[str, click.Command]]:
    """Every verb, those of `db` too."""
    context = click.Context(cli)
    found: list[tuple[str, click.Command]] = []
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            found += [(f"{name} {below}", command.commands[below]) for below in command.commands]
        else:
            found.append((name, command))
    return found


def test_the_verbs_are_those_of_the_documentation() -> None:
    named = (
        "demo run worker start list show stuck alert workers signal cancel retry skip resolve compensate unpark assign "
        "note bulk graph explore contracts outbox dashboard db doctor prune"
    )

    assert " ".join(VERBS) == named


@pytest.mark.parametrize(("name", "command"), [pair for pair in commands() if pair[0] != "demo"])
def test_every_verb_has_examples_that_its_own_parser_takes(name: str, command: click.Command) -> None:
    assert isinstance(command, Verb)
    assert command.examples
    for example in command.examples:
        words = shlex.split(re.split(r" [|<>] ", example)[0], comments=True)
        assert words[: 1 + len(name.split())] == ["amends", *name.split()], example
        command.make_context(name, words[1 + len(name.split()) :])


@pytest.mark.parametrize(("name", "command"), commands())
def test_every_option_of_every_verb_says_what_it_is_for(name: str, command: click.Command) -> None:
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]

    assert [option.name for option in options if not option.help] == []


@pytest.mark.parametrize("name", [name for name in VERBS if name != "demo"])
def test_the_help_of_every_verb_prints(floor: Floor, name: str) -> None:
    result = floor.ok(name, "--help")

    assert result.out.startswith(f"Usage: amends {name} ")


def test_the_list_of_verbs_names_each_with_its_line(floor: Floor) -> None:
    shown = floor.ok("--help").out

    assert [name for name, entry in VERBS.items() if entry.summary.split(",")[0] not in " ".join(shown.split())] == []


def test_listing_the_verbs_imports_neither_rich_nor_any_verb() -> None:
    code = (
        "import sys\nfrom amends.operate.cli.main import run\nrun(['--help'])\n"
        "print([name for name in sys.modules if name == 'rich' or name.startswith('amends.operate.cli.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    loaded = done.stdout.splitlines()[-1]
    assert "rich" not in loaded
    assert "amends.operate.cli.run" not in loaded


def test_every_exit_code_has_a_meaning_and_every_error_a_code() -> None:
    leaves = [value for value in vars(errors).values() if isinstance(value, type) and not value.__subclasses__()]

    assert set(MEANING) == set(Exit)
    assert [kind.__name__ for kind in leaves if exit_of(kind("x")) is Exit.BUG] == [
        "NotRunning",
        "NotEnlisted",
        "ImpossibleTransition",
    ]


def test_the_reference_page_is_what_the_commands_say() -> None:
    text = PAGE.read_text()
    _, found, rest = text.partition(START)
    generated, ended, _ = rest.partition(END)

    assert found
    assert ended
    assert generated == reference(), "run: python -m amends.operate.cli.reference docs/reference/cli.md"
