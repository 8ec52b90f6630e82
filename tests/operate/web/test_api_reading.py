"""The HTTP API, reading: what is there, in which shape, and for whom."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from web_scene import Far, Job, asking, asks, jobs

from amends.operate.web import answers


def test_a_cursor_is_good_though_the_saga_it_was_made_behind_is_forgotten() -> None:
    async def main() -> None:
        async with asking() as at:
            Far.down = False
            for number in range(4):
                await at.orchestrator.run(jobs, Job(), id=f"job-{number}")
            first = (await at.get("/api/v1/sagas?limit=2")).json()
            await at.post("/api/v1/prune", {"older_than_seconds": 0, "dry_run": False}, "admin")
            for number in (8, 9):
                await at.orchestrator.run(jobs, Job(), id=f"job-{number}")
            second = await at.get(f"/api/v1/sagas?limit=2&cursor={first['next']}")

        assert (len(first["sagas"]), first["more"]) == (2, True)
        assert (second.status_code, second.json()["sagas"], second.json()["more"]) == (200, [], False)

    asyncio.run(main())


def test_whoever_wants_one_and_names_it_has_that_one() -> None:
    async def main() -> None:
        async with asking() as at:
            for id_ in ("a", "ab"):
                await at.orchestrator.start(asks, Job(), id=id_)
            found = (await at.get("/api/v1/sagas?key=a&limit=1")).json()

        assert ([saga["id"] for saga in found["sagas"]], found["more"], found["next"]) == (["a"], False, None)

    asyncio.run(main())


def test_a_list_has_the_shape_that_is_described_and_pages_that_meet() -> None:
    async def main() -> None:
        async with asking() as at:
            for number in range(5):
                await at.orchestrator.start(asks, Job(), id=f"ask-{number}")
            seen: list[str] = []
            cursor = ""
            while True:
                found = await at.get(f"/api/v1/sagas?limit=2{cursor}")
                page = msgspec.convert(found.json(), answers.Page)
                seen += [saga.id for saga in page.sagas]
                if page.next is None:
                    break
                cursor = f"&cursor={page.next}"

        assert sorted(seen) == [f"ask-{number}" for number in range(5)]
        assert (found.status_code, page.more) == (200, False)

    asyncio.run(main())


def test_one_saga_is_shown_with_its_version_as_etag_and_shown_again_since_more_than_that_may_change() -> None:
    async def main() -> None:
        async with asking() as at:
            await at.parked("job-1")

            found = await at.get("/api/v1/sagas/job-1")
            again = await at.get("/api/v1/sagas/job-1", if_none_match=found.headers["etag"])

        view = msgspec.convert(found.json(), answers.View)
        assert (view.status, view.input) == ("parked", {"size": 1, "name": "plain"})
        assert found.headers["etag"] == f'"{view.state_version}"'
        assert "retry" in [act.verb for act in view.next]
        assert (again.status_code, again.json()) == (200, found.json())

    asyncio.run(main())


def test_who_may_not_read_payloads_gets_none_and_cannot_ask_around_that() -> None:
    async def main() -> None:
        async with asking() as at:
            Far.down = False
            await at.orchestrator.run(jobs, Job(7, "canary"), id="job-1")

            shown = await at.get("/api/v1/sagas/job-1", "reader")
            paths = ("", "/history", "/outcome", "/flow")
            hidden = [await at.get(f"/api/v1/sagas/job-1{path}", "viewer") for path in paths]
            asked = await at.get("/api/v1/sagas?input=name=canary", "viewer")
            revealed = await at.get("/api/v1/sagas/job-1?reveal=true", "viewer")

        assert (shown.json()["result"], shown.json()["payloads"]) == (7, "shown")
        assert all("canary" not in found.text for found in hidden)
        assert [found.json().get("result") for found in hidden[::2]] == [None, None]
        assert hidden[0].json()["payloads"] == "hidden"
        assert [(asked.status_code, asked.json()["code"]), revealed.status_code] == [(403, "forbidden"), 403]

    asyncio.run(main())


def test_an_id_may_have_any_printable_characters_in_a_path() -> None:
    async def main() -> None:
        async with asking() as at:
            for id_, path in (
                ("a/b?c", "a%2Fb%3Fc"),
                ("100%", "100%25"),
                ("ü ß", "%C3%BC%20%C3%9F"),
                ("x/history", "x%2Fhistory"),
            ):
                await at.orchestrator.start(asks, Job(), id=id_)
                assert (await at.get(f"/api/v1/sagas/{path}")).json()["id"] == id_
                assert "history" in (await at.get(f"/api/v1/sagas/{path}/history")).json()

    asyncio.run(main())


def test_what_is_not_there_or_written_wrongly_is_a_problem_with_a_stable_code() -> None:
    async def main() -> None:
        async with asking() as at:
            asked = {
                "/api/v1/sagas/nobody": (404, "unknown-saga"),
                "/api/v1/sagas?saga=jbos": (404, "unknown-saga"),
                "/api/v1/sagas?at=nowhere": (404, "unknown-saga"),
                "/api/v1/sagas?limit=0": (400, "malformed"),
                "/api/v1/sagas?limit=5&limit=6": (400, "malformed"),
                "/api/v1/sagas?colour=red": (400, "malformed"),
                "/api/v1/sagas?cursor=%21": (400, "malformed"),
                "/api/v1/sagas?cursor=YWJj": (400, "malformed"),
                "/api/v1/sagas?started_after=yesterday": (400, "malformed"),
                "/api/v1/sagas/%00": (422, "value-refused"),
                f"/api/v1/sagas/{'x' * 300}": (422, "limit-exceeded"),
                "/api/v1/nothing": (404, "no-such-page"),
            }
            for path, (status, code) in asked.items():
                found = await at.get(path)
                assert found.headers["content-type"] == "application/problem+json", path
                told = msgspec.convert(found.json(), answers.ProblemShape)
                assert (found.status_code, told.status, told.code) == (status, status, code), path

    asyncio.run(main())


def test_the_end_of_a_saga_can_be_waited_for() -> None:
    async def main() -> None:
        async with asking() as at:
            await at.orchestrator.start(asks, Job(), id="ask-1")
            waiting = asyncio.create_task(at.get("/api/v1/sagas/ask-1/outcome?wait=20"))
            await at.post("/api/v1/sagas/ask-1/signal", {"name": "approval", "value": {"yes": True}})

            found = await waiting
            at_once = await at.get("/api/v1/sagas/ask-1/outcome")

        assert msgspec.convert(found.json(), answers.Outcome).status == "completed"
        assert at_once.json() == found.json()

    asyncio.run(main())


def test_what_has_been_stuck_for_longer_is_asked_for_by_an_instant() -> None:
    async def main() -> None:
        async with asking() as at:
            await at.parked("job-1")

            old = await at.get("/api/v1/stuck?changed_before=2001-01-01T00:00:00Z")
            all_ = await at.get("/api/v1/stuck?changed_before=2901-01-01T00:00:00Z")

        assert [len(msgspec.convert(one.json(), answers.Stuck).sagas) for one in (old, all_)] == [0, 1]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("me", answers.Me),
        ("stuck", answers.Stuck),
        ("doctor", answers.Findings),
        ("plans", answers.Plans),
        ("plans/jobs", answers.FlowAnswer),
        ("sagas/job-1/flow", answers.FlowAnswer),
        ("sagas/job-1/history", answers.History),
        ("overview", answers.Overview),
        ("groups", answers.Groups),
        ("workers", answers.Workers),
        ("openapi.json", answers.OpenApi),
    ],
)
def test_each_answer_has_the_shape_that_is_described(path: str, shape: type[msgspec.Struct]) -> None:
    async def main() -> None:
        async with asking() as at:
            await at.parked("job-1")

            found = await at.get(f"/api/v1/{path}")

        assert found.status_code == 200, found.text
        msgspec.convert(found.json(), shape)

    asyncio.run(main())
