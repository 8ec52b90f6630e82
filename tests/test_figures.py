"""The page on the tests: its figures are not out of date, and every reproducer that it names exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import figures

SLACK = 0.1  # a page that is exact to the line would have to be written anew with every commit
FEW = 10  # of what there are few, so many more or less are no reason either


def block(name: str) -> str:
    """A block of the page."""
    found = re.search(rf"<!-- figures: {name} -->\n(.*?)<!-- end -->", figures.PAGE.read_text(), re.S)
    assert found, f"the page has no place for {name}"
    return found[1]


def rows(text: str) -> dict[str, int]:
    """What a table says."""
    told = re.findall(r"^\| ([^|]+) \| ([\d,]+) \|$", text, re.M)
    return {what: int(number.replace(",", "")) for what, number in told}


def differing(said: dict[str, int], true: dict[str, int]) -> list[str]:
    """What is too far off."""
    return [
        f"{what}: {said.get(what)} on the page, and there are {number}"
        for what, number in true.items()
        if what not in said or abs(said[what] - number) > max(SLACK * number, FEW)
    ]


@pytest.mark.parametrize("name", ["counted", "areas"])
def test_the_figures_of_the_page_are_about_those_of_the_tree(name: str) -> None:
    now = figures.areas() if name == "areas" else figures.table(figures.counted())

    assert differing(rows(block(name)), rows(now)) == [], "python tests/figures.py --write"


def test_a_page_that_is_out_of_date_is_found() -> None:
    assert differing({"tests": 1_000}, {"tests": 1_090}) == []
    assert differing({"tests": 1_000}, {"tests": 1_200}) == ["tests: 1000 on the page, and there are 1200"]
    assert differing({"faults": 18}, {"faults": 21, "more": 5}) == ["more: None on the page, and there are 5"]


def test_what_has_to_be_run_for_is_on_the_page() -> None:
    assert len(rows(block("run"))) >= 3


def named(reproducer: str) -> tuple[Path, str]:
    """The file and the test that a row names."""
    path, _, name = reproducer.strip("`").partition("::")
    return figures.ROOT / ("" if path.startswith("src/") else "tests") / path, name


def test_every_bug_of_the_track_record_has_a_reproducer_that_exists() -> None:
    record = figures.track_record()

    gone = [
        reproducer
        for _, reproducer in record
        if not named(reproducer)[0].is_file()
        or not re.search(rf"^ *(?:async )?def {named(reproducer)[1]}\b", named(reproducer)[0].read_text(), re.M)
    ]
    assert gone == []
    assert len(record) > 100


def test_no_row_of_the_track_record_is_without_a_reproducer() -> None:
    part = figures.PAGE.read_text().partition("## The track record")[2]
    lines = [line for line in part.splitlines() if line.startswith("| ") and not line.startswith("| what was wrong")]

    assert len(lines) == len(figures.track_record())
