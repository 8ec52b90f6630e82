"""The plugin, in a pytest of its own: there without configuration, quiet, and telling on failure."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

SUITE = """
from dataclasses import dataclass

from amends import Completed, Park, Saga, step
from amends.testing import NewSandbox


@step(readonly=True)
def look(name: str) -> int:
    if name == "":
        raise Park("there is nothing to look at")
    return len(name)


measure = Saga("measure", look, input=str, output=look)


def test_it_works(amends: NewSandbox) -> None:
    assert amends([measure]).run(measure, "four") == Completed(4)


def test_it_fails(amends: NewSandbox) -> None:
    app = amends([measure])
    app.start(measure, "")
    assert app.run(measure, "four") == Completed(5)


def test_it_fails_before_anything(amends: NewSandbox) -> None:
    amends([measure])
    raise AssertionError("at once")


def test_it_needs_no_fixture() -> None:
    import sys
    assert "nothing" == "else"
"""


def pytest_in(place: Path, text: str, *options: str) -> str:
    """What pytest prints about a suite; warnings are errors."""
    (place / "test_suite.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-W", "error", "-p", "no:cacheprovider", "-q", *options, "test_suite.py"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=120, check=False)
    return done.stdout + done.stderr


def test_the_fixture_is_there_by_itself_and_a_failure_shows_the_histories(tmp_path: Path) -> None:
    printed = pytest_in(tmp_path, SUITE)

    assert "3 failed, 1 passed" in printed
    assert printed.count("amends: what happened to the sagas") == 2
    assert "parked, a person is needed" in printed
    assert "look succeeded" in printed
    assert "(none was started)" in printed


def test_a_suite_that_does_not_use_it_pays_for_an_import_of_amends_and_no_more(tmp_path: Path) -> None:
    suite = (
        "import sys\n\ndef test_nothing_of_it_is_loaded() -> None:\n"
        "    assert not [name for name in sys.modules if name.startswith('amends.testing.') and 'plugin' not in name]\n"
        "    assert not any(name.startswith('amends.operate') for name in sys.modules)\n"
    )

    assert "1 passed" in pytest_in(tmp_path, suite)


def test_it_can_be_switched_off(tmp_path: Path) -> None:
    printed = pytest_in(tmp_path, SUITE, "-p", "no:amends")

    assert "fixture 'amends' not found" in printed


EXPLORING = """
from amends import Reject, Saga, step
from amends.testing import explore


@step(readonly=True)
def look(name: str) -> int:
    if name == "":
        raise Reject("nothing")
    return len(name)


@step
def keep(length: int) -> None: ...

@keep.compensation
def forget() -> None: ...


measure = Saga("measure", look, keep, input=str)


def test_it_says_how_many() -> None:
    print("made", explore(measure, "four").runs, "and", explore(measure, "four", runs=50).runs)
"""


def test_the_budget_of_explorations_is_an_option(tmp_path: Path) -> None:
    assert "made 60 and 50" in pytest_in(tmp_path, EXPLORING, "-s", "--amends-explore=60")
    assert re.search(r"made [0-9]+ and 50", pytest_in(tmp_path, EXPLORING, "-s", "--amends-explore=0.001s"))
    made = re.search(r"made (\d+) and 50", pytest_in(tmp_path, EXPLORING, "-s"))
    assert made is not None
    assert int(made[1]) > 500  # as many as there are
    assert "a number of runs from 1 on is expected" in pytest_in(tmp_path, EXPLORING, "--amends-explore=0")
