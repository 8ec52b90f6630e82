"""Every wrong engine is caught by a check of the suite, which has nothing to say without it.

With AMENDS_MUTANTS=all, as in a soak, also those that need processes or more servers.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from checking import run
from wrong_engine import CATALOGUE, Wrong
from wrong_table import PAGE, WRONG, rows, table

from services.databases import Databases

ENOUGH_EVERY_DAY = 16
RUN = [one for one in WRONG if not one.soak or os.environ.get("AMENDS_MUTANTS") == "all"]


def lend(servers: tuple[str, ...], request: pytest.FixtureRequest, patch: pytest.MonkeyPatch) -> None:
    """Let checks have the servers of this run."""
    for name in servers:
        server = request.getfixturevalue(name)
        url = server.admin_url if isinstance(server, Databases) else server
        patch.setenv(f"AMENDS_TEST_{name.partition('_')[0].upper()}", url)


@pytest.mark.parametrize("wrong", RUN, ids=lambda wrong: wrong.name)
def test_a_wrong_engine_is_caught_by_the_suite_and_the_right_one_is_not(
    wrong: Wrong, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lend(wrong.needs, request, monkeypatch)

    right = run(wrong.check, None, tmp_path / "right")
    caught = run(wrong.check, wrong.put, tmp_path / "wrong")

    assert right.passed > 0
    assert (right.complaints, right.skipped) == ([], [])
    assert caught.complaints, f"{wrong.check} does not notice: {wrong.words}"
    assert wrong.says in caught.complaints[0]
    assert caught.broken == []
    request.node.user_properties.append(("wrong engines caught", 1))  # for the report of a soak


def test_an_engine_that_falls_over_what_is_wrong_with_it_proves_nothing(tmp_path: Path) -> None:
    def broken(patch: pytest.MonkeyPatch) -> None:
        patch.setattr("amends.decide.policy.Policy.delay", lambda *_: 1 / 0)

    said = run("tests/decide/test_policy.py::test_delays_double_by_default", broken, tmp_path / "broken")

    assert said.complaints
    assert "ZeroDivisionError" in said.broken[0]


def test_all_twenty_are_there_and_most_of_them_every_day() -> None:
    assert {one.number for one in WRONG} == set(range(1, len(CATALOGUE) + 1))
    assert len({one.number for one in WRONG if not one.soak}) >= ENOUGH_EVERY_DAY
    assert len({one.name for one in WRONG}) == len(WRONG)


def test_the_page_lists_them_as_they_are() -> None:
    """But for the seconds, which are measured: python tests/mutants/wrong_table.py writes it."""
    assert [row[:-1] for row in rows(PAGE.read_text())] == [row[:-1] for row in rows(table({}))]
