"""What holds of every example: it runs by itself, in either manner of annotating, and is short."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))
FUTURE = "from __future__ import annotations\n"
LINES_MAX = 160
SAGA_LINES_MAX = 20
SECONDS = 120


def run(script: Path, place: Path) -> str:
    """What a script prints, run in a directory of its own."""
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    environment.pop("AMENDS_DATABASE", None)
    done = subprocess.run(
        [sys.executable, script],
        check=False,
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def with_future_annotations(text: str) -> str:
    """The same example, with annotations that are only evaluated when asked for."""
    begin = text.index('"""', 3) + 4
    return f"{text[:begin]}\n{FUTURE}{text[begin:]}"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_by_itself_and_again_on_what_it_has_left(example: Path, tmp_path: Path) -> None:
    assert run(example, tmp_path)
    assert run(example, tmp_path)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_with_postponed_annotations(example: Path, tmp_path: Path) -> None:
    text = with_future_annotations(example.read_text())
    compiled = compile(text, example.name, "exec")
    assert compiled.co_flags & 0x1000000, "the line must have its effect"
    copy = tmp_path / example.name
    copy.write_text(text)

    assert run(copy, tmp_path)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_and_has_a_test_of_its_own(example: Path) -> None:
    assert len(example.read_text().splitlines()) <= LINES_MAX
    assert (Path(__file__).parent / f"test_{example.stem}.py").exists()


def test_the_order_saga_with_its_compensations_fits_in_20_lines() -> None:
    text = next(path for path in EXAMPLES if path.stem == "order").read_text()
    saga = text[text.index("# The saga.") : text.index("# Where it runs.")]

    lines = [line for line in saga.splitlines() if line.strip() and not line.startswith("#")]

    assert len(lines) <= SAGA_LINES_MAX


def test_the_order_example_shows_a_completed_and_a_compensated_order(tmp_path: Path) -> None:
    printed = run(next(path for path in EXAMPLES if path.stem == "order"), tmp_path)

    assert "book: completed" in printed
    assert "piano: compensated" in printed
    assert "in stock: {'book': 9, 'piano': 1}, charged: 29.00" in printed
