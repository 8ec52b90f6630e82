"""The forms to assign somebody and to keep a note: what is typed is done, kept for a worker, or still there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from page_shop import HTML, ORIGIN, Shop, field, opened, words_of
from scene import FAULTS
from web_scene import SAGAS, TOKENS, Far, Job, access, client_of, jobs

from amends import Orchestrator
from amends.operate.operations import Operations
from amends.operate.web.app import web

FORMS = [("assign", {"person": "Grace"}), ("note", {"note": "the bank was called"})]


@pytest.fixture
def fresh() -> Iterator[Shop]:
    with opened(full=False) as made:
        made.wait(made.scene.park(1))
        yield made


@pytest.mark.parametrize(("form", "typed"), FORMS)
def test_where_no_worker_answers_it_is_kept_and_the_page_says_so(
    form: str, typed: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("amends.operate.web.desks.ANSWER_SECONDS", 0.05)
    url = f"sqlite:///{tmp_path}/jobs.db"
    Far.down = True

    async def main() -> tuple[httpx.Response, httpx.Response]:
        async with Orchestrator(url, sagas=SAGAS) as orchestrator:
            await orchestrator.run(jobs, Job(), id="job-1")
        async with client_of(web(url, access=access())) as client:
            client.headers.update({**HTML, "authorization": f"Bearer {TOKENS['operator']}", "origin": ORIGIN})
            version = field(await client.get("/sagas/job-1"), "version")
            sent = await client.post(f"/sagas/job-1/{form}", data={**typed, "version": version, "message": "one"})
            return sent, await client.get(sent.headers["location"])

    sent, page = asyncio.run(main())

    assert (sent.status_code, sent.headers["location"]) == (303, f"/sagas/job-1?acted={form}&unanswered=1")
    assert "No worker has answered yet. What you asked is kept" in words_of(page)


def test_what_was_refused_is_still_in_its_form_with_why(fresh: Shop) -> None:
    version = fresh.version("order-1")
    act = {"verb": "compensate", "reason": "the bank is gone", "version": version, "message": "one"}
    FAULTS.add("warehouse")
    fresh.post("/sagas/order-1/act", **act)
    fresh.wait(moved(fresh, int(version)))

    late = fresh.post(
        "/sagas/order-1/assign", person="Grace", reason="she knows the bank", version=version, message="two"
    )
    long = fresh.post("/sagas/order-1/note", note="x" * 2001, message="three")
    empty = fresh.post("/sagas/order-1/note", note=" ", message="four")

    assert [found.status_code for found in (late, long, empty)] == [409, 409, 409]
    assert 'name="person" value="Grace"' in late.text
    assert 'name="reason" value="she knows the bank"' in late.text
    assert field(late, "version") == fresh.version("order-1") != version
    assert "x" * 2001 in long.text
    assert "note: 2001 characters, the limit is 2000" in words_of(long)
    assert "a note needs a text" in words_of(empty)
    assert "data-live" not in late.text + long.text + empty.text, "no page is asked for at the address of a form"


def test_a_note_that_comes_too_late_is_shown_to_whoever_typed_it(fresh: Shop) -> None:
    act = {"verb": "compensate", "reason": "enough", "version": fresh.version("order-1"), "message": "act"}
    fresh.post("/sagas/order-1/act", **act)
    fresh.wait(becomes(fresh, "compensated"))

    found = fresh.post("/sagas/order-1/note", note="the bank was called", message="one")

    assert found.status_code == 409
    assert "Your note was: the bank was called" in words_of(found)


async def moved(shop: Shop, version: int) -> None:
    """Wait until the order has gone on from a version, and come to rest."""
    desk = Operations(shop.scene.orchestrator.session)
    while (line := (await desk.show("order-1")).line).version <= version or line.status != "parked":
        await asyncio.sleep(0.005)


async def becomes(shop: Shop, status: str) -> None:
    """Wait until that is what has become of the order."""
    desk = Operations(shop.scene.orchestrator.session)
    while (await desk.show("order-1")).line.status != status:
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("version", ["", "soon", "-1", "1" * 10])
def test_somebody_is_assigned_to_the_saga_that_was_looked_at_and_a_note_is_about_no_version(
    fresh: Shop, version: str
) -> None:
    assigned = fresh.post("/sagas/order-1/assign", person="Grace", version=version, message="one")
    acted = fresh.post("/sagas/order-1/act", verb="compensate", reason="why", version=version, message="two")
    noted = fresh.post("/sagas/order-1/note", note="hello", version=version, message="three")

    assert [found.status_code for found in (assigned, acted, noted)] == [428, 428, 303]
    assert "Load the page anew" in words_of(assigned)


def test_why_somebody_is_assigned_stands_in_the_history(fresh: Shop) -> None:
    version = fresh.version("order-1")

    fresh.post("/sagas/order-1/assign", person="Grace", reason="she knows the bank", version=version, message="one")

    assert "Ada: assigned to Grace, because: she knows the bank" in fresh.text("/sagas/order-1")
