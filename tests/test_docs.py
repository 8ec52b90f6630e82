"""Every block of code in the README and the docs is executed, every link between pages leads somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from docs_page import NATS, POSTGRES, BlockFailed, Page, blocks

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGE_SECONDS = 240


def name_of(path: Path) -> str:
    """A page's name in the project."""
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", [page for page in PAGES if list(blocks(page.read_text()))], ids=name_of)
def test_every_block_of_the_page_runs(page: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    command = [sys.executable, str(ROOT / "tests" / "docs_page.py"), str(page)]
    environment = dict(os.environ)
    if POSTGRES in page.read_text():
        environment["AMENDS_DOCS_POSTGRES"] = request.getfixturevalue("postgres_url")
    if NATS in page.read_text():
        prefix = request.getfixturevalue("broker_prefix")
        environment["AMENDS_DOCS_NATS"] = f"{request.getfixturevalue('nats_url')}?prefix={prefix}"

    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=PAGE_SECONDS, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_of_the_page_leads_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
    wrong = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        goal = (page.parent / file).resolve() if file else page
        if not goal.exists() or (anchor and goal.suffix == ".md" and anchor not in anchors(goal.read_text())):
            wrong.append(target)

    assert not wrong


def anchors(text: str) -> set[str]:
    """The anchors that a page's headings make."""
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_a_block_that_fails_is_told_with_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = Page("page.md")
    block = next(blocks("\n\n```console\n$ echo one\ntwo\n```\n"))

    with pytest.raises(BlockFailed, match=r"page.md:4: `echo one` printed"):
        page.run(block)
