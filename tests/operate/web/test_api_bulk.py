"""The HTTP API, in bulk: which sagas are meant, and who is told what was looked for."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from web_scene import PEOPLE, TOKENS, Asking, Job, asking, jobs

from amends.operate.web import answers_bulk as answers
from amends.operate.web.access import Access, Person, Role, Token

UNPARK = {"verb": "unpark", "reason": "the far side is up", "paused": True}
PLAIN = f"plain-{'x' * 30}"


async def parked(at: Asking, *names: str) -> None:
    """A saga for each name, which is in its input; all wait for a person."""
    for number, name in enumerate(names):
        await at.orchestrator.run(jobs, Job(number, name), id=f"job-{number}")


async def begun(at: Asking) -> list[Any]:
    """All bulk operations that there are."""
    found: list[Any] = (await at.get("/api/v1/bulks")).json()["bulks"]
    return found


def plain_access() -> Access:
    """Everybody, and an operator who may not read payloads."""
    known = [Token.of(text, PEOPLE[name]) for name, text in TOKENS.items()]
    return Access([*known, Token.of(PLAIN, Person("pia", Role.OPERATOR))])


@pytest.mark.parametrize("more", [{}, {"expected": 2}, {"search": {"status": ["parked"]}}])
def test_a_list_of_no_ids_is_refused_and_does_not_mean_all(more: dict[str, Any]) -> None:
    async def main() -> None:
        async with asking() as at:
            await parked(at, "a", "b")

            found = await at.post("/api/v1/bulks", {**UNPARK, **more, "ids": []})
            planned = await at.post("/api/v1/bulks/plan", {"verb": "unpark", "ids": []})

            assert [(one.status_code, one.json()["code"]) for one in (found, planned)] == [(400, "malformed")] * 2
            assert await begun(at) == []

    asyncio.run(main())


def test_what_is_begun_is_what_was_looked_at_and_not_as_many_others() -> None:
    async def main() -> None:
        async with asking() as at:
            await parked(at, "a", "b")
            planned = await at.post("/api/v1/bulks/plan", {"verb": "unpark", "ids": ["job-0"]})
            seen = planned.json()["digest"]

            wrong = await at.post("/api/v1/bulks", {**UNPARK, "ids": ["job-1"], "expected": 1, "seen": seen})
            assert await begun(at) == []
            right = await at.post("/api/v1/bulks", {**UNPARK, "ids": ["job-0"], "seen": seen})

        assert (wrong.status_code, wrong.json()["code"]) == (412, "changed")
        assert (right.status_code, right.json()["total"]) == (201, 1)

    asyncio.run(main())


@pytest.mark.parametrize("search", [{}, {"search": {}}, {"search": {"status": [], "key": "", "input": {}}}])
def test_every_open_saga_is_meant_only_by_who_says_how_many_that_are(search: dict[str, Any]) -> None:
    async def main() -> None:
        async with asking() as at:
            await parked(at, "a", "b")

            unsaid = await at.post("/api/v1/bulks", {**UNPARK, **search})
            planned = await at.post("/api/v1/bulks/plan", {"verb": "unpark", **search})
            wrong = await at.post("/api/v1/bulks", {**UNPARK, **search, "expected": 3})
            assert await begun(at) == []
            right = await at.post("/api/v1/bulks", {**UNPARK, **search, "expected": planned.json()["total"]})

        assert (unsaid.status_code, "expected" in unsaid.json()["detail"]) == (400, True)
        assert (wrong.status_code, wrong.json()["code"]) == (412, "changed")
        assert (right.status_code, right.json()["total"]) == (201, 2)

    asyncio.run(main())


@pytest.mark.parametrize("which", [{"search": {"status": ["parked"]}}, {"ids": ["job-0", "job-1"]}])
def test_what_narrows_needs_no_number(which: dict[str, Any]) -> None:
    async def main() -> None:
        async with asking() as at:
            await parked(at, "a", "b")

            found = await at.post("/api/v1/bulks", {**UNPARK, **which})

        assert (found.status_code, found.json()["total"]) == (201, 2)

    asyncio.run(main())


def test_who_may_not_read_payloads_does_not_read_which_were_looked_for() -> None:
    async def main() -> None:
        async with asking(given=plain_access()) as at:
            await parked(at, "canary", "other")
            search = {"status": ["parked"], "input": {"name": "canary"}}
            made = await at.post("/api/v1/bulks", {**UNPARK, "search": search})
            there = made.headers["location"]
            page = there.removeprefix("/api/v1/bulks")

            hidden = [await at.get(path, "viewer") for path in ("/api/v1/bulks", there, f"{there}/log")]
            pages = [await at.get(path, "viewer", accept="text/html") for path in ("/bulk", f"/bulk{page}")]
            known = {"authorization": f"Bearer {PLAIN}", "if-match": made.headers["etag"]}
            moved = await at.client.post(f"{there}/cancel", json={}, headers=known)
            shown = [(await at.get(there, who)).json()["search"] for who in ("viewer", "reader")]

        assert made.json()["search"]["input"] == [["name", "canary"]]
        assert [one.status_code for one in (*hidden, *pages, moved)] == [200] * 6
        assert [one.url.path for one in (*hidden, *pages, moved) if "canary" in one.text] == []
        assert [one["input"] for one in shown] == [[["name", "***"]], [["name", "canary"]]]
        assert [one["statuses"] for one in shown] == [["parked"]] * 2  # which is no payload

    asyncio.run(main())


def test_each_answer_about_bulk_operations_has_the_shape_that_is_described() -> None:
    async def main() -> None:
        async with asking() as at:
            await parked(at, "a", "b")

            plan = await at.post("/api/v1/bulks/plan", {"verb": "unpark", "search": {"status": ["parked"]}})
            made = await at.post("/api/v1/bulks", {**UNPARK, "search": {"status": ["parked"]}})
            there = made.headers["location"]
            found = [await at.get(path) for path in ("/api/v1/bulks", there, f"{there}/results", f"{there}/log")]

        told = [one.json() for one in found]
        assert len(msgspec.convert(plan.json(), answers.BulkPlan).examples) == 2
        assert msgspec.convert(made.json(), answers.Bulk) == msgspec.convert(told[1], answers.Bulk)
        assert len(msgspec.convert(told[0], answers.Bulks).bulks) == 1
        assert [line.result for line in msgspec.convert(told[2], answers.BulkResults).results] == [None, None]
        assert [line.move for line in msgspec.convert(told[3], list[answers.BulkMove])] == ["begun", "counted, paused"]

    asyncio.run(main())
