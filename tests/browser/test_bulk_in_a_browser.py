"""Four hundred parked sagas are repaired together from a page, whose worker is killed in the middle: all is real, the
dashboard's process, the workers', the database and the browser."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bulk_process
import pytest
from browser_desk import BROWSING, Window
from bulk_process import park_many
from playwright.sync_api import Browser, Locator, Page, expect
from processes import Process, process

MANY = 400
SCRIPT = str(Path(bulk_process.__file__))
LONG_MILLISECONDS = 60_000


@contextmanager
def dashboard(database: str, home: Path) -> Iterator[str]:
    """`amends dashboard`, and the address that it prints."""
    command = [sys.executable, "-m", "amends", "dashboard", f"--database={database}", "--port=0"]
    given = {**os.environ, "PYTHONUNBUFFERED": "1", "XDG_STATE_HOME": str(home)}
    with subprocess.Popen(command, env=given, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
        try:
            assert child.stdout is not None
            said = re.search(r"http\S+", child.stdout.readline())
            assert said is not None
            yield said[0]
        finally:
            child.terminate()


@pytest.fixture
def door(postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, str]]:
    """The database of the parked, and the address that logs in to its dashboard."""
    monkeypatch.setattr(bulk_process, "DIRECTORY", tmp_path)
    asyncio.run(park_many(postgres_url, MANY))
    with dashboard(postgres_url, tmp_path / "state") as address:
        yield postgres_url, address


@pytest.fixture
def window(browser: Browser, door: tuple[str, str]) -> Iterator[Window]:
    """Somebody before it."""
    made = Window(browser, re.sub(r"/login.*", "", door[1]))
    yield made
    BROWSING.submit(made.close).result()


def accepted(page: Page) -> Locator:
    """How many were, as the page says."""
    return page.locator("dt", has_text="Accepted").locator("..").locator("dd")


def begin(page: Page) -> None:
    """From the first page to the operation."""
    page.get_by_role("link", name="Repair", exact=True).click()
    page.get_by_label("About so many a second").select_option("100")
    page.get_by_role("button", name="See what it would do").click()
    page.get_by_text(f"to {MANY} sagas").wait_for()
    page.locator("#reason").fill("the bank is back")
    page.get_by_role("button", name=f"Try all that is stuck again: {MANY} sagas").click()
    page.wait_for_url("**/bulk/*")


def pause_and_go_on(page: Page) -> None:
    """In the middle of it."""
    page.get_by_role("button", name="Pause").click()
    page.locator("h1 + .status", has_text="paused").wait_for()
    assert int(accepted(page).inner_text()) < MANY
    page.get_by_role("button", name="Go on").click()
    page.locator("h1 + .status", has_text="running").wait_for()


def kill_in_the_middle(page: Page, worker: Process) -> None:
    """Once some are repaired."""
    expect(accepted(page)).to_have_text(re.compile(r"^\d{3}$"), timeout=LONG_MILLISECONDS)  # and nobody loads it anew
    worker.kill()
    page.reload()
    assert int(accepted(page).inner_text()) < MANY


def test_four_hundred_are_repaired_from_a_page_though_the_worker_is_killed_in_the_middle(
    window: Window, door: tuple[str, str], tmp_path: Path
) -> None:
    given = {"BULK_URL": door[0], "BULK_DIR": str(tmp_path)}
    page = window.page(door[1].removeprefix(window.url))

    with process(SCRIPT, "worker", database=tmp_path / "jobs.db", **given) as worker:
        worker.until("ready")
        begin(page)
        pause_and_go_on(page)
        kill_in_the_middle(page, worker)
    with process(SCRIPT, "worker", database=tmp_path / "jobs.db", **given) as heir:
        heir.until("ready")
        expect(page.locator("h1 + .status")).to_contain_text("done", timeout=LONG_MILLISECONDS)
        expect(accepted(page)).to_have_text(str(MANY))
        page.goto(f"{window.url}/sagas/job-7")
        page.locator("h1 + .status", has_text="completed").wait_for()
        assert "the bank is back (bulk" in page.locator("main").inner_text()
        page.goto(f"{window.url}/sagas?status=parked")
        assert page.locator("tbody tr").count() == 0

    calls = {tuple(line.split()) for line in (tmp_path / "calls.txt").read_text().splitlines()}
    assert len(calls) == len({saga for saga, _ in calls}) == MANY
