"""Ten ways to lose money: explore finds each in the example that has it, and passes the one in which it is mended."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from amends.operate.cli.main import run
from amends.testing import Exploration
from bench.explore import EXPLORATION, PAIRS_ALL

HERE = Path(__file__).parents[2] / "examples" / "ten_ways"
PAGE = Path(__file__).parents[2] / "docs" / "guides" / "ten-ways-to-lose-money.md"
WAYS = {
    "refund_twice": ("hold:rejects, undo:charge:times-out", "-2500 in the till, nothing sold"),
    "assumed_result": ("charge:down", "the undo of charge failed by itself: AssertionError"),
    "missing_undo": ("charge:rejects", "9 on the shelf, nothing sold"),
    "wrong_order": ("hold:rejects", "30 in the till, nothing sold"),
    "forgotten_key": ("charge:times-out", "5000 in the till, sold"),
    "early_pivot": ("charge:rejects", "charge said no behind the pivot"),
    "cancel_race": ("refund_at_once@2", "0 in the till, sold"),
    "lost_signal": ("approval:lost", "it waits for approval for ever"),
    "left_sibling": ("hold:rejects", "2500 in the till, and there was nothing to sell"),
    "cut_undo": ("deadline@0", "2500 in the till, nothing sold"),
}


@pytest.fixture(autouse=True)
def among_the_examples(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(HERE))
    yield
    for name in set(sys.modules) - before:
        if str(HERE) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def example(name: str, which: str) -> Exploration:
    module: Any = importlib.import_module(name)
    found = getattr(module, which)
    assert isinstance(found, Exploration)
    return found


@pytest.mark.parametrize("way", WAYS)
def test_the_way_is_found_with_the_smallest_faults_that_show_it(way: str) -> None:
    faults, words = WAYS[way]

    found = example(way, "wrong").run().counterexample

    assert found is not None
    assert ", ".join(map(str, found.faults)) == faults
    assert words in found.wrong


@pytest.mark.parametrize("way", WAYS)
def test_the_mended_saga_passes_every_single_fault_and_every_pair(way: str) -> None:
    report = example(way, "mended").run(runs=450)

    assert report.ok, str(report)
    assert report.pairs == report.pairs_of
    assert report.unreached == ()


@pytest.mark.parametrize("way", WAYS)
def test_the_command_of_the_docs_finds_it_and_the_command_it_prints_repeats_it(
    way: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status = run(["explore", f"{way}:wrong"])
    out = capsys.readouterr().out
    again = out.rpartition("run it again: amends ")[2].split()

    assert status == 10
    assert run(again) == 10
    assert WAYS[way][1] in capsys.readouterr().out


def test_every_example_stands_in_the_docs_as_it_is() -> None:
    page = PAGE.read_text()

    missing = [path.name for path in sorted(HERE.glob("*.py")) if path.read_text().strip() not in page]

    assert missing == []


def test_the_order_of_the_examples_keeps_its_law() -> None:
    report = EXPLORATION.run(runs=PAIRS_ALL)

    assert report.ok, str(report)
    assert (report.pairs, report.pairs_of) == (PAIRS_ALL - 1 - report.singles, PAIRS_ALL - 1 - report.singles)
    assert report.unreached == ()
