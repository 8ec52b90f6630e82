"""The guard: what is refused before anything is asked, and what every answer has."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from starlette.requests import Request
from web_scene import ORIGIN, TOKENS, Job, access, asking, asks

from amends.operate.web.access import Access, Person, Role
from amends.operate.web.context import Limits
from amends.operate.web.guard import HEADERS
from amends.operate.web.rates import NAMES_MAX, Rate

PATHS = ("/healthz", "/api/v1/me", "/api/v1/nothing", "/", "/login", "/nothing")
FORM = {"content-type": "application/x-www-form-urlencoded"}


class Slow:
    """Says who asks once it may: until then requests are in work."""

    def __init__(self) -> None:
        self.asked = 0
        self.may = asyncio.Event()

    async def __call__(self, request: Request) -> Person:
        self.asked += 1
        await self.may.wait()
        return Person("hana", Role.OPERATOR)


class Body:
    """A body that comes once it may. begun: somebody reads it."""

    def __init__(self, text: bytes = b"{}") -> None:
        self.begun = asyncio.Event()
        self.may = asyncio.Event()
        self._text = text

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.begun.set()
        await self.may.wait()
        yield self._text


def test_every_answer_keeps_a_page_to_itself_and_is_stored_nowhere() -> None:
    async def main() -> None:
        async with asking() as at:
            for path in PATHS:
                for who in ("admin", ""):
                    found = await at.get(path, who, accept="text/html")
                    assert {name: found.headers[name] for name in HEADERS} == HEADERS, path
                    assert found.headers["cache-control"] == "no-store", path

    asyncio.run(main())


def test_no_script_and_no_style_may_stand_in_a_page_and_no_page_may_frame_it() -> None:
    rules = dict(rule.strip().split(" ", 1) for rule in HEADERS["content-security-policy"].split(";"))

    assert (rules["default-src"], rules["script-src"], rules["style-src"]) == ("'none'", "'self'", "'self'")
    assert (rules["frame-ancestors"], rules["base-uri"], rules["form-action"]) == ("'none'", "'none'", "'self'")


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "evil.example:8300", "[::2]", ""])
def test_a_host_that_is_not_its_own_is_refused_on_every_path_but_for_probes(host: str) -> None:
    async def main() -> None:
        async with asking(hosts=["localhost", "127.0.0.1", "::1"]) as at:
            for path in ("/api/v1/me", "/login", "/"):
                found = await at.get(path, "admin", host=host)
                assert found.status_code == 403, path
            assert (await at.get("/healthz", "", host=host)).status_code == 200
            for own in ("localhost", "LOCALHOST:8300", "127.0.0.1:1", "[::1]:8300"):
                assert (await at.get("/api/v1/me", "admin", host=own)).status_code == 200, own

    asyncio.run(main())


def test_a_page_of_its_own_origin_may_act_and_one_that_is_named() -> None:
    async def main() -> None:
        async with asking(origins=["https://ops.example.com"]) as at:
            for origin in (ORIGIN, "https://localhost", "https://ops.example.com"):
                found = await at.post("/api/v1/sagas/no-such/note", {"text": "x"}, origin=origin)
                assert found.status_code == 404, origin

    asyncio.run(main())


def test_a_cookie_with_the_token_of_its_session_acts_and_with_another_sessions_does_not() -> None:
    async def main() -> None:
        async with asking() as at:
            known = at.app.state.web.access
            sessions = []
            for _ in range(2):
                at.client.cookies.set(known.sessions.cookie, known.sessions.begin(known.by_text(TOKENS["operator"]).id))
                sessions.append((dict(at.client.cookies), (await at.get("/api/v1/me", "")).json()["csrf"]))
                at.client.cookies.clear()
            (cookie, own), (_, other) = sessions
            at.client.cookies.update(cookie)

            acted = await at.post("/api/v1/sagas/no-such/note", {"text": "x"}, "", x_csrf_token=own)
            forged = await at.post("/api/v1/sagas/no-such/note", {"text": "x"}, "", x_csrf_token=other)

        assert (acted.status_code, forged.status_code) == (404, 403)
        assert own != other

    asyncio.run(main())


def test_a_wrong_token_is_nobodys_whatever_else_goes_along() -> None:
    async def main() -> None:
        async with asking() as at:
            known = at.app.state.web.access
            at.client.cookies.set(known.sessions.cookie, known.sessions.begin(known.by_text(TOKENS["operator"]).id))

            found = await at.get("/api/v1/me", "", authorization="Bearer wrong")

        assert found.status_code == 401

    asyncio.run(main())


def test_what_a_proxy_asks_for_itself_is_no_token_and_locks_nobody_out() -> None:
    async def main() -> None:
        basic = {"authorization": "Basic b2xhOmNoZWNrZWQtYnktdGhlLXByb3h5"}
        async with asking(limits=Limits(logins_per_minute=0.01, logins_burst=1)) as at:
            strangers = [await at.get("/api/v1/me", "", **basic) for _ in range(3)]
            logged_in = await at.client.post("/login", data={"token": TOKENS["operator"]}, headers=basic)
            me = (await at.get("/api/v1/me", "", **basic)).json()
            note = ("/api/v1/sagas/no-such/note", {"text": "x"}, "")
            forged = await at.post(*note, **basic)
            acted = await at.post(*note, **basic, x_csrf_token=me["csrf"])

        assert [one.status_code for one in (*strangers, logged_in)] == [401, 401, 401, 303]
        assert (me["name"], forged.status_code, acted.status_code) == ("ola", 403, 404)

    asyncio.run(main())


def test_a_person_of_the_host_application_needs_the_token_unless_a_bearer_token_says_who_it_is() -> None:
    def authenticate(request: object) -> Person:
        return Person("hana", Role.OPERATOR)

    async def main() -> None:
        async with asking(given=Access(authenticate=authenticate)) as at:
            csrf = (await at.get("/api/v1/me", "")).json()["csrf"]
            asked = [
                {},
                {"authorization": "Basic aGFuYTp4"},
                {"x_csrf_token": csrf},
                {"authorization": "Bearer theirs"},
            ]

            found = [await at.post("/api/v1/sagas/no-such/note", {"text": "x"}, "", **one) for one in asked]

        assert [one.status_code for one in found] == [403, 403, 404, 404]

    asyncio.run(main())


def test_a_large_body_is_refused_whether_its_length_is_said_or_not() -> None:
    async def much() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 1000

    async def main() -> None:
        headers = {"authorization": f"Bearer {TOKENS['admin']}", "content-type": "application/json"}
        async with asking(limits=Limits(body_bytes=50_000)) as at:
            said = await at.client.post("/api/v1/prune", content=b" " * 60_000, headers=headers)
            unsaid = await at.client.post("/api/v1/prune", content=much(), headers=headers)

        assert [(one.status_code, one.json()["code"]) for one in (said, unsaid)] == [(413, "too-large")] * 2

    asyncio.run(main())


@pytest.mark.parametrize("field", ["input", "id"])
def test_a_body_that_is_nested_very_deeply_is_refused_soon(field: str) -> None:
    async def main() -> None:
        headers = {"authorization": f"Bearer {TOKENS['admin']}", "content-type": "application/json"}
        deep = b'{"saga": "jobs", "%s": ' % field.encode() + b"[" * 100_000 + b"]" * 100_000 + b"}"
        async with asking() as at:
            began = time.monotonic()
            found = await at.client.post("/api/v1/sagas", content=deep, headers=headers)

        assert found.status_code in (400, 422)
        assert time.monotonic() - began < 2

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data; boundary=x", ""])
def test_a_body_of_a_kind_that_other_pages_may_send_is_refused(kind: str) -> None:
    async def main() -> None:
        headers = {"authorization": f"Bearer {TOKENS['admin']}", "content-type": kind}
        async with asking() as at:
            found = await at.client.post("/api/v1/prune", content=b'{"older_than_seconds": 0}', headers=headers)

        assert (found.status_code, found.json()["code"]) == (400, "malformed")

    asyncio.run(main())


def test_one_person_acts_only_so_often_and_another_is_not_held_back_by_that() -> None:
    async def main() -> None:
        async with asking(limits=Limits(acts_per_second=0.001, acts_burst=2)) as at:
            found = [await at.post("/api/v1/sagas/no-such/note", {"text": "x"}) for _ in range(3)]
            other = await at.post("/api/v1/sagas/no-such/note", {"text": "x"}, "admin")
            read = await at.get("/api/v1/me", "operator")

        assert [one.status_code for one in found] == [404, 404, 429]
        assert int(found[2].headers["retry-after"]) > 0
        assert (other.status_code, read.status_code) == (404, 200)

    asyncio.run(main())


def test_whoever_guesses_is_held_back_and_whoever_has_a_token_is_not() -> None:
    async def main() -> None:
        async with asking(limits=Limits(logins_per_minute=0.01, logins_burst=3)) as at:
            guessed = [await at.get("/api/v1/me", "", authorization=f"Bearer guess-{n}") for n in range(5)]
            known = await at.get("/api/v1/me", "viewer")
            form = await at.client.post("/login", data={"token": "guess"})

        assert [one.status_code for one in guessed] == [401, 401, 401, 429, 429]
        assert (known.status_code, form.status_code) == (200, 429)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (f"token={TOKENS['viewer']}", 303),
        (f"token=%20{TOKENS['viewer']}%0A", 303),  # as it is copied now and then
        (f"token=guess&token={TOKENS['viewer']}", 429),  # only the first one would log in
        ("next=/sagas", 429),
    ],
)
def test_a_good_token_logs_in_though_others_have_guessed_from_the_same_address(body: str, status: int) -> None:
    async def main() -> None:
        async with asking(limits=Limits(logins_per_minute=0.01, logins_burst=1)) as at:
            guessed = [await at.client.post("/login", data={"token": "guess"}) for _ in range(2)]

            found = await at.client.post("/login", content=body, headers=FORM)

        assert [one.status_code for one in guessed] == [401, 429]
        assert found.status_code == status

    asyncio.run(main())


def test_a_body_of_nobody_is_not_read() -> None:
    async def main() -> None:
        async with asking() as at:
            for path in ("/api/v1/prune", "/api/v1/sagas", "/api/v1/bulks", "/bulk"):
                for headers in ({}, {"authorization": "Bearer wrong"}, {"content-type": "text/plain"}):
                    body = Body()
                    async with asyncio.timeout(10):
                        found = await at.client.post(path, content=body, headers=headers)
                    assert (found.status_code, body.begun.is_set()) == (401, False), path

    asyncio.run(main())


def test_no_more_requests_are_in_work_than_are_taken_at_once_and_probes_are_answered_all_the_same() -> None:
    async def main() -> None:
        slow = Slow()
        async with asking(given=Access(authenticate=slow), limits=Limits(requests=2)) as at, asyncio.timeout(20):
            working = [asyncio.create_task(at.get("/api/v1/me", "")) for _ in range(2)]
            while slow.asked < 2:
                await asyncio.sleep(0)
            found = await at.get("/api/v1/me", "")
            probes = [await at.get(path, "") for path in ("/healthz", "/readyz")]
            slow.may.set()
            done = await asyncio.gather(*working)
            after = await at.get("/api/v1/me", "")

        assert (found.status_code, found.json()["code"], found.headers["retry-after"]) == (503, "busy", "1")
        assert [one.status_code for one in (*probes, *done, after)] == [200] * 5

    asyncio.run(main())


def test_whoever_waits_for_an_end_holds_up_only_others_who_would() -> None:
    async def main() -> None:
        async with asking(limits=Limits(requests=2)) as at:
            await at.orchestrator.start(asks, Job(), id="ask-1")
            waiting = [asyncio.create_task(at.get("/api/v1/sagas/ask-1/outcome?wait=20")) for _ in range(2)]
            await asyncio.sleep(0)  # both are in work now
            third = await at.get("/api/v1/sagas/ask-1/outcome")
            other = await at.get("/api/v1/me")
            for task in waiting:
                task.cancel()
            await asyncio.wait(waiting)
            after = await at.get("/api/v1/sagas/ask-1/outcome")

        assert (third.status_code, third.json()["code"]) == (503, "busy")
        assert (other.status_code, after.status_code) == (200, 200)

    asyncio.run(main())


@pytest.mark.parametrize("path", ["/api/v1/sagas/job-1/retry", "/sagas/job-1/note"])
def test_acts_that_wait_for_a_worker_hold_up_only_other_acts(path: str) -> None:
    async def main() -> None:
        async with asking(limits=Limits(requests=2)) as at, asyncio.timeout(20):
            bodies = [Body() for _ in range(2)]
            headers = {"authorization": f"Bearer {TOKENS['operator']}", "content-type": "application/json"}
            acts = [asyncio.create_task(at.client.post(path, content=body, headers=headers)) for body in bodies]
            for body in bodies:
                await body.begun.wait()
            third = await at.post(path)
            others = [await at.get("/api/v1/me"), await at.get("/sagas")]
            others += [await at.post("/api/v1/sagas/no-such/preview", {"verb": "cancel"})]
            others += [await at.post("/api/v1/sagas", {"saga": "no-such", "input": {}})]
            for body in bodies:
                body.may.set()
            await asyncio.gather(*acts)

        assert (third.status_code, third.headers["retry-after"]) == (503, "1")
        assert [one.status_code for one in others] == [200, 200, 404, 404]

    asyncio.run(main())


def test_static_files_are_had_however_much_is_in_work_and_nobody_is_asked_whose_the_request_is() -> None:
    async def main() -> None:
        slow = Slow()
        async with asking(given=Access(authenticate=slow), limits=Limits(requests=1)) as at, asyncio.timeout(20):
            working = asyncio.create_task(at.get("/api/v1/me", ""))
            while slow.asked < 1:
                await asyncio.sleep(0)
            found = await at.get("/static/amends.css", "")
            slow.may.set()
            await working

        assert (found.status_code, slow.asked) == (200, 1)

    asyncio.run(main())


def test_strangers_who_log_in_slowly_hold_up_nobody_who_is_known() -> None:
    async def main() -> None:
        async with asking(limits=Limits(requests=2)) as at, asyncio.timeout(20):
            bodies = [Body(b"token=guess") for _ in range(2)]
            strangers = [asyncio.create_task(at.client.post("/login", content=body, headers=FORM)) for body in bodies]
            for body in bodies:
                await body.begun.wait()
            third = await at.client.post("/login", data={"token": TOKENS["viewer"]})
            known = await at.get("/api/v1/me")
            for body in bodies:
                body.may.set()
            refused = await asyncio.gather(*strangers)

        assert (third.status_code, known.status_code) == (503, 200)
        assert [one.status_code for one in refused] == [401, 401]

    asyncio.run(main())


def test_what_nobody_foresaw_tells_nothing_of_itself(caplog: pytest.LogCaptureFixture) -> None:
    def broken(request: object) -> Person:
        raise RuntimeError("the password is hunter2")

    async def main() -> None:
        async with asking(given=Access(authenticate=broken)) as at:
            found = await at.get("/api/v1/me", "")

        assert (found.status_code, found.json()["code"]) == (500, "unforeseen")
        assert "hunter2" not in found.text
        assert "hunter2" in caplog.text

    asyncio.run(main())


def test_a_rate_fills_by_itself_and_keeps_no_more_names_than_it_may() -> None:
    now = 0.0
    rate = Rate(2.0, 3, lambda: now)

    assert [rate.take("ada") for _ in range(4)] == [0, 0, 0, 0.5]
    now = 0.5
    assert rate.take("ada") == 0
    for number in range(NAMES_MAX + 5):
        rate.take(str(number))
    assert rate.take("ada") == 0  # forgotten, and so full again


def test_websockets_are_not_taken() -> None:
    async def main() -> None:
        async with asking() as at:
            said: list[object] = []

            async def send(message: object) -> None:
                said.append(message)

            async def receive() -> dict[str, str]:
                return {"type": "websocket.connect"}

            await at.app({"type": "websocket", "path": "/live", "headers": []}, receive, send)

        assert said == [{"type": "websocket.close", "code": 1008}]

    asyncio.run(main())


def test_two_tokens_are_told_apart_by_their_digests() -> None:
    known = access()

    assert known.by_text(TOKENS["admin"]) is not None
    assert known.by_text(TOKENS["admin"][:-1]) is None
    assert known.by_text("") is None
