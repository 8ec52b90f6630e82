"""Types as promised: what is right passes both checkers, each misuse fails under both, nothing public is untyped.

Each checker runs once; the tests look at what it said.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
PYRIGHT = str(BIN / "pyright")
ENVIRONMENT = {
    **os.environ,
    "PATH": f"{BIN}:{os.environ['PATH']}",
}  # pyright asks the first python on it where things are
MISUSES = HERE / "misuses.py"
GOOD = (
    HERE / "good.py",
    HERE / "good_participant.py",
    HERE / "good_testing.py",
    HERE / "typed_shop.py",
    *sorted((ROOT / "examples").glob("*.py")),
)
MARK = "# misuse: "


def checked(command: list[str]) -> str:
    """What a checker printed. One that could not work at all fails the test."""
    done = subprocess.run(command, env=ENVIRONMENT, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


@cache
def mypy_errors() -> dict[tuple[str, int], str]:
    """Each line that mypy --strict complains of, and how."""
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", ".mypy_cache/typing", "--no-error-summary"]
    text = checked([*command, "--show-absolute-path", *map(str, (MISUSES, *GOOD))])
    found = re.findall(r"^(?:.*/)?(\w+\.py):(\d+): error: (.*)$", text, re.MULTILINE)
    return {(name, int(line)): message for name, line, message in found}


@cache
def pyright_errors() -> dict[tuple[str, int], str]:
    """Each line that pyright strict complains of, in the same files."""
    text = checked([PYRIGHT, "--outputjson", "--pythonpath", sys.executable, "-p", str(HERE / "pyrightconfig.json")])
    found = json.loads(text)["generalDiagnostics"]
    return {(Path(one["file"]).name, one["range"]["start"]["line"] + 1): one["message"] for one in found}


@cache
def completeness() -> dict[str, Any]:
    """Pyright's report on the types of everything that the package shows."""
    command = [PYRIGHT, "--verifytypes", "amends", "--ignoreexternal", "--outputjson", "--pythonpath", sys.executable]
    report: dict[str, Any] = json.loads(checked(command))["typeCompleteness"]
    return report


Errors = Callable[[], dict[tuple[str, int], str]]
CHECKERS = pytest.mark.parametrize("errors", [mypy_errors, pyright_errors], ids=["mypy", "pyright"])


def marked_lines() -> set[tuple[str, int]]:
    """The lines of the file of misuses that must not pass."""
    lines = MISUSES.read_text().splitlines()
    return {(MISUSES.name, number) for number, line in enumerate(lines, 1) if MARK in line}


@CHECKERS
def test_good_code_and_every_example_pass(errors: Errors) -> None:
    found = {place: text for place, text in errors().items() if place[0] != MISUSES.name}

    assert found == {}


@CHECKERS
def test_every_misuse_is_an_error_and_nothing_else_is(errors: Errors) -> None:
    found = {place for place in errors() if place[0] == MISUSES.name}

    assert sorted(marked_lines() - found) == [], "these pass"
    assert sorted(found - marked_lines()) == [], "these are not marked"


def test_there_are_many_misuses() -> None:
    assert len(marked_lines()) >= 20


def test_every_public_symbol_has_a_known_type() -> None:
    report = completeness()

    vague = [
        f"{symbol['name']}: {[one['message'] for one in symbol['diagnostics']]}"
        for symbol in report["symbols"]
        if symbol["isExported"] and not symbol["isTypeKnown"]
    ]

    assert vague == []
    assert report["completenessScore"] == 1
