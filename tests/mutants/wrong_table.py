"""The table of wrong engines and of what catches them, for the docs. Run, it measures them all and writes it anew.

    python tests/mutants/wrong_table.py

Guarantees: the table is what is registered.
Must not: say that something is caught; the test does.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests" / "testing"))

import wrong_sagas  # noqa: E402
import wrong_services  # noqa: E402
import wrong_stores  # noqa: E402
from wrong_engine import CATALOGUE, WRONG, Wrong  # noqa: E402

__all__ = ["PAGE", "WRONG", "rows", "table", "wrong_sagas", "wrong_services", "wrong_stores"]
PAGE = ROOT / "docs" / "internals" / "mutants.md"
HEAD = "| | what is wrong | breaks | caught by | where | seconds |"
WRONG.sort(key=lambda one: (one.number, one.soak))


def rows(text: str) -> list[list[str]]:
    """The cells of the table in a page."""
    lines = text[text.index(HEAD) :].partition("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def table(seconds: Mapping[str, float]) -> str:
    """The table, with how long each has taken."""
    return "\n".join([HEAD, "|---|---|---|---|---|---|", *(_row(one, seconds.get(one.name)) for one in WRONG)])


def _row(one: Wrong, seconds: float | None) -> str:
    path, *names = one.check.split("::")
    check = f"`{path}`: {' '.join(names).replace('test_', '').replace('_', ' ')}"
    where = "`make soak`" if one.soak else "`make test`"
    words = f"**{CATALOGUE[one.number - 1]}**: {one.words}{' In processes.' if one.processes else ''}"
    return (
        f"| {one.number} | {words} | {one.breaks} | {check} | {where} | {'' if seconds is None else f'{seconds:.1f}'} |"
    )


def main() -> int:
    """Measure, and write the page."""
    report = ROOT / ".mutants.xml"
    try:
        command = [sys.executable, "-m", "pytest", "tests/mutants", "-k=wrong_engine_is_caught", f"--junitxml={report}"]
        code = subprocess.run(command, cwd=ROOT, env={**os.environ, "AMENDS_MUTANTS": "all"}, check=False).returncode
        cases = list(ElementTree.parse(report).iter("testcase"))  # noqa: S314  # our own pytest wrote it
    finally:
        report.unlink(missing_ok=True)
    names = {str(case.get("name")).partition("[")[2].rstrip("]"): float(case.get("time") or 0) for case in cases}
    page = PAGE.read_text()
    old = re.escape(page[page.index(HEAD) :].partition("\n\n")[0])
    PAGE.write_text(re.sub(old, lambda _: table(names), page))
    return code


if __name__ == "__main__":
    sys.exit(main())
