"""The OpenAPI document: sound, of every route, and true, as Schemathesis finds by asking at random."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import httpx
import jsonschema_rs
import msgspec
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.core.transport import Response
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance
from starlette.applications import Starlette
from web_scene import TOKENS, Asking, access, asking

from amends.operate.web.access import Right
from amends.operate.web.answers_bulk import BulkMove
from amends.operate.web.app import web
from amends.operate.web.openapi import document
from amends.operate.web.routing import Guarded

EXAMPLES = 3
Case = schemathesis.Case[Any]
ROUTES = [route for route in web("memory://", access=access()).routes if isinstance(route, Guarded)]
API = [route for route in ROUTES if route.path.startswith("/api/")]


def described() -> dict[str, Any]:
    """The document, without asking for it."""
    return document(API, "/", "amends-0")


def operations(doc: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Path, method and description of each."""
    for path, methods in doc["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_every_route_of_the_api_is_described_and_nothing_else_is() -> None:
    told = {(path, method.upper()) for path, method, _ in operations(described())}

    assert told == {(route.path, method) for route in API for method in (route.methods or set()) - {"HEAD"}}
    assert all(route.told is not None for route in API)


def test_the_document_is_served_under_wherever_it_is_mounted() -> None:
    async def main() -> None:
        async with asking() as at:
            here = (await at.get("/api/v1/openapi.json", "viewer")).json()
            transport = httpx.ASGITransport(at.app, root_path="/amends")
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                headers = {"authorization": f"Bearer {TOKENS['viewer']}"}
                there = (await client.get("/amends/api/v1/openapi.json", headers=headers)).json()

        assert (here["openapi"], here["servers"], there["servers"]) == ("3.1.0", [{"url": "/"}], [{"url": "/amends"}])
        assert here["paths"] == there["paths"]

    asyncio.run(main())


def test_every_reference_leads_somewhere_and_every_schema_is_one() -> None:
    doc = described()
    for reference in re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(doc)):
        found: Any = doc
        for part in reference.split("/"):
            found = found[part]
        assert found
    for schema in doc["components"]["schemas"].values():
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})


def test_every_operation_has_a_name_of_its_own_and_says_who_may_ask() -> None:
    found = [operation for _, _, operation in operations(described())]

    assert len({operation["operationId"] for operation in found}) == len(found)
    assert all(operation["description"].startswith("Takes a") for operation in found)


def test_an_act_takes_the_version_that_was_looked_at_and_says_whether_it_needs_it() -> None:
    for path, method, operation in operations(described()):
        needed = {parameter["name"]: parameter["required"] for parameter in operation["parameters"]}
        if method == "post" and path.startswith("/api/v1/sagas/{id}/") and not path.endswith("/preview"):
            assert "Idempotency-Key" in needed, path
            assert needed["If-Match"] is not path.endswith(("/signal", "/note")), path
            assert "412" in operation["responses"], path
            assert ("428" in operation["responses"]) is needed["If-Match"], path


def test_what_takes_a_body_may_find_it_too_large_and_what_counts_sagas_may_still_be_counting() -> None:
    for path, _, operation in operations(described()):
        assert ("413" in operation["responses"]) is ("requestBody" in operation), path
    begun = described()["paths"]["/api/v1/bulks"]
    assert ("504" in begun["post"]["responses"], "504" in begun["get"]["responses"]) == (True, False)


def test_the_log_of_a_bulk_operation_is_the_list_that_is_described() -> None:
    answered = described()["paths"]["/api/v1/bulks/{id}/log"]["get"]["responses"]["200"]

    async def main() -> None:
        async with asking() as at:
            await at.parked("job-1")
            body = {"verb": "unpark", "reason": "the far side is back", "search": {"status": ["parked"]}}
            made = await at.post("/api/v1/bulks", body)
            found = await at.get(f"{made.headers['location']}/log")

        begun, *_ = msgspec.convert(found.json(), list[BulkMove])
        assert (begun.move, begun.actor, begun.reason) == ("begun", "ola", "the far side is back")

    assert answered["content"]["application/json"]["schema"]["type"] == "array"
    asyncio.run(main())


def test_nothing_is_said_to_be_unchanged_since_more_than_a_version_changes() -> None:
    assert all("304" not in operation["responses"] for _, _, operation in operations(described()))


class Blocking:
    """An application on a loop of its own, asked by whoever has none."""

    def __init__(self, runner: asyncio.Runner, at: Asking) -> None:
        self._runner = runner
        self._at = at

    def ask(self, case: Case) -> Response:
        """What a case gives."""
        asked = requests.Request(**case.as_transport_kwargs(base_url="http://localhost")).prepare()
        request = httpx.Request(asked.method or "", asked.url or "", headers=dict(asked.headers), content=asked.body)  # type: ignore[arg-type]
        found = self._runner.run(self._at.client.send(request))
        found.elapsed = timedelta()
        return Response.from_httpx(found, verify=False)


@contextmanager
def scene() -> Iterator[Blocking]:
    """Sagas at work, to be asked at random."""
    with asyncio.Runner() as runner:
        entering = asking()
        at = runner.run(entering.__aenter__())
        try:
            runner.run(at.parked("job-1"))
            yield Blocking(runner, at)
        finally:
            runner.run(entering.__aexit__(None, None, None))


def test_what_is_asked_at_random_is_answered_as_it_is_described() -> None:
    schema = schemathesis.openapi.from_dict(described())
    config = settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    asked: set[str] = set()
    with scene() as at:

        def one(case: Case) -> None:
            case.headers["authorization"] = f"Bearer {TOKENS['admin']}"
            found = at.ask(case)
            asked.add(f"{case.method} {case.path}")
            assert found.status_code not in (401, 403, 429, 500), (case.as_curl_command(), found.content)
            case.validate_response(found, checks=[conformance, problem_is_one])

        for result in schema.get_all_operations():
            operation: Any = result.ok()  # type: ignore[union-attr]  # the document is sound
            if operation.path.endswith("/outcome"):
                continue  # it would wait
            run: Any = config(given(operation.as_strategy())(one))  # type: ignore[no-untyped-call]  # Hypothesis' own
            run()

    assert len(asked) == len(API) - 1


def conformance(ctx: Any, response: Response, case: Case) -> None:
    """The status is described, and the body has the shape that is."""
    status_code_conformance(ctx, response, case)
    response_schema_conformance(ctx, response, case)


def problem_is_one(ctx: Any, response: Response, case: Case) -> None:
    """Whatever is refused is a problem with a code."""
    if response.status_code >= 400:
        assert response.headers["content-type"] == ["application/problem+json"]
        assert json.loads(response.content)["code"]


def test_the_rights_of_the_api_are_in_its_description() -> None:
    words = {Right.VIEW: "a viewer", Right.OPERATE: "an operator", Right.ADMIN: "an admin"}
    told = {(path, method.upper()): operation["description"] for path, method, operation in operations(described())}

    for route in API:
        for method in (route.methods or set()) - {"HEAD"}:
            assert words[route.right] in told[route.path, method]


def test_an_application_can_be_made_without_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("amends.operate.web.app.has_pages", lambda: False)
    app: Starlette = web("memory://", access=access())

    assert {route.path for route in app.routes if isinstance(route, Guarded)} >= {"/login", "/logout"}
