"""The README's promises are the design's words, and each names a test that exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
_ROW = re.compile(r"^\| (P[1-7]) \| (.*?) \|", re.M)


def test_every_promise_of_the_readme_names_a_test_that_exists() -> None:
    rows = re.findall(r"^\| (P[1-7]) \| .* \| \[`(\w+)`\]\(([\w/.]+)\) \|$", (ROOT / "README.md").read_text(), re.M)

    assert [name for name, _, _ in rows] == [f"P{number}" for number in range(1, 8)]
    for promise, test, file in rows:
        assert test.startswith(f"test_{promise.lower()}_")
        assert f"def {test}(" in (ROOT / file).read_text(), f"{promise}: there is no {test} in {file}"


def test_the_promises_are_in_the_same_words_wherever_they_stand() -> None:
    readme = dict(_ROW.findall((ROOT / "README.md").read_text()))
    page = dict(_ROW.findall((ROOT / "docs/concepts/guarantees.md").read_text()))

    assert readme == page
