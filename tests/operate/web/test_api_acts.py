"""The HTTP API, acting: each act once, by who is known, on the version that was looked at."""

from __future__ import annotations

import asyncio
import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import msgspec
import pytest
from web_scene import SAGAS, TOKENS, Far, Job, access, asking, asks, client_of, jobs

from amends import Completed, Orchestrator
from amends.operate.web import answers
from amends.operate.web.app import web


def test_an_act_is_done_by_whoever_is_known_and_stands_in_the_history() -> None:
    async def main() -> None:
        async with asking() as at:
            await at.parked("job-1")
            Far.down = False
            tag = (await at.get("/api/v1/sagas/job-1")).headers["etag"]

            found = await at.post("/api/v1/sagas/job-1/retry", {"step": "work", "reason": "it is up"}, if_match=tag)

            assert await at.orchestrator.handle(jobs, "job-1").outcome() == Completed(1)
            history = (await at.get("/api/v1/sagas/job-1/history")).json()["history"]

        told = msgspec.convert(found.json(), answers.Answered)
        assert (found.status_code, told.answer, told.verb, told.step) == (200, "accepted", "retry", "work")
        acted = [(line["actor"], line["reason"]) for line in history if line["event"] == "operated"]
        assert acted == [("ola", "it is up")]

    asyncio.run(main())


def test_an_act_for_a_version_that_is_no_more_is_refused() -> None:
    async def main() -> None:
        async with asking() as at:
            await at.parked("job-1")
            tag = (await at.get("/api/v1/sagas/job-1")).headers["etag"]
            await at.post("/api/v1/sagas/job-1/unpark", {}, if_match=tag)

            found = await at.post("/api/v1/sagas/job-1/cancel", {"reason": "no"}, if_match=tag)
            history = (await at.get("/api/v1/sagas/job-1/history")).json()["history"]

        assert (found.status_code, found.json()["code"]) == (412, "changed")
        assert not [line for line in history if line["event"] == "turned_back"]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("given", "status"), [(None, 428), ("", 428), ("7", 400), ('W/"7"', 400), ('"7", "8"', 400), ('"99"', 412)]
)
def test_an_act_says_which_version_it_is_for(given: str | None, status: int) -> None:
    async def main() -> None:
        async with asking() as at:
            await at.parked("job-1")
            headers = {} if given is None else {"if_match": given}

            found = await at.post("/api/v1/sagas/job-1/unpark", {}, **headers)

        assert found.status_code == status, found.text

    asyncio.run(main())


def test_the_same_key_counts_once_and_gives_the_same_answer() -> None:
    async def main() -> None:
        async with asking() as at:
            await at.parked("job-1")
            words = {"person": "ola", "reason": "I am on call"}

            found = [
                await at.post("/api/v1/sagas/job-1/assign", words, if_match="*", idempotency_key='"k-1"')
                for _ in range(2)
            ]
            history = (await at.get("/api/v1/sagas/job-1/history")).json()["history"]

        assert [one.status_code for one in found] == [200, 200]
        assert found[0].json() == found[1].json()
        assert len([line for line in history if line["event"] == "assigned"]) == 1

    asyncio.run(main())


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("retry", {"step": "work"}),
        ("skip", {"step": "work", "reason": "seen"}),
        ("resolve", {"step": "work", "reason": "by hand", "result": 5}),
        ("compensate", {"reason": "no"}),
        ("unpark", {}),
        ("cancel", {"reason": "no"}),
        ("assign", {"person": "ola"}),
        ("note", {"text": "seen"}),
    ],
)
def test_each_verb_is_taken_and_was_foreseen(verb: str, body: dict[str, Any]) -> None:
    async def main() -> None:
        async with asking() as at:
            await at.parked("job-1")
            given = {name: value for name, value in body.items() if name in ("step", "result")}
            seen = await at.post("/api/v1/sagas/job-1/preview", {"verb": verb, **given})

            found = await at.post(f"/api/v1/sagas/job-1/{verb}", body, if_match=seen.headers["etag"])

        told = msgspec.convert(seen.json(), answers.Preview)
        assert told.answer == ("would be accepted" if found.status_code == 200 else "would be refused"), found.text

    asyncio.run(main())


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("skip", {"step": "work"}),
        ("skip", {"step": "work", "reason": ""}),
        ("retry", {"step": "work", "actor": "somebody else"}),
        ("cancel", {"reason": "x" * 3000}),
        ("note", {"text": 5}),
        ("signal", {"name": "approval"}),
        ("retry", ["work"]),
    ],
)
def test_a_body_that_is_written_wrongly_is_refused_and_nothing_is_done(verb: str, body: Any) -> None:
    async def main() -> None:
        async with asking() as at:
            await at.parked("job-1")
            before = (await at.get("/api/v1/sagas/job-1")).headers["etag"]

            found = await at.post(f"/api/v1/sagas/job-1/{verb}", body, if_match="*")

            assert (found.status_code, found.json()["code"]) == (400, "malformed")
            assert (await at.get("/api/v1/sagas/job-1")).headers["etag"] == before

    asyncio.run(main())


def test_a_saga_is_started_once_under_its_key_and_is_where_the_answer_says() -> None:
    async def main() -> None:
        async with asking() as at:
            body = {"saga": "asks", "input": {"size": 3}}
            made = [await at.post("/api/v1/sagas", body, idempotency_key="o/1") for _ in range(2)]
            found = await at.get(made[0].headers["location"])
            other = await at.post("/api/v1/sagas", {**body, "input": {"size": 4}}, idempotency_key="o/1")
            both = await at.post("/api/v1/sagas", {**body, "id": "o/2"}, idempotency_key="o/1")
            wrong = await at.post("/api/v1/sagas", {"saga": "asks", "input": {"syze": 3}})
            nobody = await at.post("/api/v1/sagas", {"saga": "jbos", "input": {}})

        assert [(one.status_code, one.json()["id"]) for one in made] == [(201, "o/1"), (201, "o/1")]
        assert found.json()["input"] == {"size": 3, "name": "plain"}
        assert [one.status_code for one in (other, both, wrong, nobody)] == [409, 400, 422, 404]

    asyncio.run(main())


@pytest.mark.parametrize("entered", [False, True])
def test_an_act_that_no_worker_answers_in_time_is_kept_and_said_to_be(tmp_path: Path, entered: bool) -> None:
    orchestrator = Orchestrator(f"sqlite:///{tmp_path}/jobs.db", sagas=SAGAS)

    async def main() -> None:
        async with orchestrator:
            await orchestrator.start(asks, Job(), id="ask-1")
        headers = {"authorization": f"Bearer {TOKENS['operator']}", "if-match": "*", "idempotency-key": "k-1"}
        here = orchestrator.client() if entered else nullcontext()
        async with here, client_of(web(orchestrator, access=access())) as client, asyncio.timeout(20):
            found = await client.post("/api/v1/sagas/ask-1/cancel", json={"reason": "no"}, headers=headers)

        told = msgspec.convert(found.json(), answers.Answered)
        assert (found.status_code, told.answer) == (202, "kept")
        async with orchestrator:
            assert type(await orchestrator.handle(asks, "ask-1").outcome()).__name__ == "Compensated"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("amends.operate.web.desks.ANSWER_SECONDS", 0.1)
        asyncio.run(main())


def test_forgetting_counts_first_and_takes_an_admin() -> None:
    async def main() -> None:
        async with asking() as at:
            Far.down = False
            await at.orchestrator.run(jobs, Job(), id="job-1")

            counted = await at.post("/api/v1/prune", {"older_than_seconds": 0}, "admin")
            still = await at.get("/api/v1/sagas/job-1")
            gone = await at.post("/api/v1/prune", {"older_than_seconds": 0, "dry_run": False}, "admin")
            after = await at.get("/api/v1/sagas/job-1")

        assert [msgspec.convert(one.json(), answers.Pruned).pruned for one in (counted, gone)] == [0, 1]
        assert (counted.json()["would_prune"], still.status_code, after.status_code) == (1, 200, 404)

    asyncio.run(main())


def test_the_log_says_who_had_sagas_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with asking() as at:
            Far.down = False
            await at.orchestrator.run(jobs, Job(), id="job-1")
            for dry in (True, False):
                await at.post("/api/v1/prune", {"older_than_seconds": 0, "dry_run": dry}, "admin")

        told = [record.getMessage() for record in caplog.records if record.name == "amends.web"]
        assert len(told) == 1
        assert re.fullmatch(r"ada has sagas forgotten that ended before 20\d\d-\d\d-\d\dT\S+Z: 1", told[0]), told

    asyncio.run(main())
