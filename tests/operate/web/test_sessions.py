"""Logging in and out: cookies, the address that logs in once, and the file of tokens."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from web_scene import TOKENS, asking

from amends.errors import DefinitionError
from amends.operate.web import tokens
from amends.operate.web.access import Person, Role, Token
from amends.operate.web.sessions import CODE_SECONDS, CODES_MAX, LEFT_MAX, SESSION_SECONDS, Codes, Sessions

DIGESTS = [b"a" * 32, b"b" * 32]


class Clock:
    """Time as a test has it."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_session_ends_by_itself_when_it_is_left_and_when_its_key_is_another() -> None:
    clock = Clock()
    sessions = Sessions(DIGESTS, clock)
    text = sessions.begin("token-1")
    found = sessions.read(text)

    assert found is not None
    assert found.token == "token-1"  # noqa: S105
    assert Sessions(DIGESTS[::-1], clock).read(text) == found  # after a restart
    assert Sessions(DIGESTS[:1], clock).read(text) is None  # a token was taken back
    assert Sessions([], clock).read(text) is None

    clock.now += SESSION_SECONDS
    assert sessions.read(text) is None
    clock.now -= 1
    sessions.leave(found)
    assert sessions.read(text) is None


@pytest.mark.parametrize("place", range(4))
def test_a_cookie_that_was_changed_anywhere_is_none(place: int) -> None:
    sessions = Sessions(DIGESTS)
    parts = sessions.begin("0123456789abcdef").split(".")
    parts[place] = "9" + parts[place][1:] if parts[place][0] != "9" else "8" + parts[place][1:]

    assert sessions.read(".".join(parts)) is None


@pytest.mark.parametrize("text", ["", ".", "...", "a.b.c.d", "ä.1.b.c", "x" * 5000, "a.1e9.b.c"])
def test_what_is_no_cookie_is_none(text: str) -> None:
    assert Sessions(DIGESTS).read(text) is None


def test_sessions_that_were_left_do_not_fill_the_memory() -> None:
    sessions = Sessions(DIGESTS)
    for _ in range(LEFT_MAX + 10):
        found = sessions.read(sessions.begin("t"))
        assert found is not None
        sessions.leave(found)

    assert len(sessions._left) == LEFT_MAX


def test_a_code_logs_in_once_and_only_for_a_while() -> None:
    clock = Clock()
    codes = Codes(clock)
    first, second = codes.issue("token-1"), codes.issue("token-1")

    assert [codes.take(first), codes.take(first), codes.take("guess"), codes.take("")] == ["token-1", None, None, None]
    clock.now += CODE_SECONDS
    assert codes.take(second) is None
    issued = [codes.issue("token-1") for _ in range(CODES_MAX + 1)]
    assert [codes.take(issued[0]), codes.take(issued[1])] == [None, "token-1"]


def test_the_address_that_was_printed_logs_in_with_a_cookie_that_no_script_and_no_other_site_has() -> None:
    async def main() -> None:
        async with asking() as at:
            access = at.app.state.web.access
            token: Token = access.by_text(TOKENS["admin"])
            code = access.codes.issue(token.id)

            looked = await at.client.head(f"/login/{code}")
            found = await at.client.get(f"/login/{code}")
            me = await at.client.get("/api/v1/me")
            again = await at.client.get(f"/login/{code}")

        cookie = found.headers["set-cookie"]
        assert (looked.status_code, found.status_code, found.headers["location"]) == (200, 303, "/")
        assert all(word in cookie for word in ("HttpOnly", "SameSite=lax", "Path=/"))
        assert (me.json()["name"], again.headers["location"]) == ("ada", "/login?wrong=1")

    asyncio.run(main())


def test_under_https_the_cookie_goes_over_nothing_else() -> None:
    async def main() -> None:
        async with asking() as at:
            access = at.app.state.web.access
            code = access.codes.issue(access.by_text(TOKENS["admin"]).id)
            transport = httpx.ASGITransport(at.app)
            async with httpx.AsyncClient(transport=transport, base_url="https://localhost") as client:
                found = await client.get(f"/login/{code}")

        assert "Secure" in found.headers["set-cookie"]

    asyncio.run(main())


@pytest.mark.parametrize(("origin", "secure"), [("https://localhost", True), ("http://localhost", False)])
def test_behind_a_proxy_that_speaks_tls_the_cookie_goes_over_nothing_else(origin: str, secure: bool) -> None:
    async def main() -> None:
        async with asking() as at:
            found = await at.client.post("/login", data={"token": TOKENS["viewer"]}, headers={"origin": origin})

        assert found.status_code == 303
        assert ("Secure" in found.headers["set-cookie"]) is secure

    asyncio.run(main())


def test_logging_out_ends_the_session_itself() -> None:
    async def main() -> None:
        async with asking() as at:
            access = at.app.state.web.access
            cookie = access.sessions.begin(access.by_text(TOKENS["viewer"]).id)
            at.client.cookies.set(access.sessions.cookie, cookie)
            csrf = (await at.client.get("/api/v1/me")).json()["csrf"]

            left = await at.client.post("/logout", data={"csrf": csrf})
            at.client.cookies.set(access.sessions.cookie, cookie)  # somebody who has kept it
            after = await at.client.get("/api/v1/me")

        assert (left.status_code, after.status_code) == (303, 401)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 303), ({"origin": "http://evil.example"}, 403), ({"sec-fetch-site": "cross-site"}, 403)],
)
def test_somebody_who_is_logged_in_may_log_in_anew_from_a_page_of_its_own(headers: dict[str, str], status: int) -> None:
    async def main() -> None:
        async with asking() as at:
            access = at.app.state.web.access
            at.client.cookies.set(access.sessions.cookie, access.sessions.begin(access.by_text(TOKENS["viewer"]).id))

            found = await at.client.post("/login", data={"token": TOKENS["admin"]}, headers=headers)
            me = await at.client.get("/api/v1/me")

        assert (found.status_code, me.json()["name"]) == (status, "ada" if status == 303 else "vera")

    asyncio.run(main())


@pytest.mark.parametrize(
    ("asked", "led"),
    [
        ("/sagas?status=parked", "/sagas?status=parked"),
        ("//evil.example", "/"),
        ("https://evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/\tevil", "/"),
        ("", "/"),
    ],
)
def test_logging_in_leads_to_a_page_of_its_own(asked: str, led: str) -> None:
    async def main() -> None:
        async with asking() as at:
            found = await at.client.post("/login", data={"token": TOKENS["viewer"], "next": asked})

        assert (found.status_code, found.headers["location"]) == (303, led)

    asyncio.run(main())


# The file of tokens


def test_a_file_is_made_for_its_owner_alone_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "tokens"

    text = tokens.add(path, Person("ada", Role.OPERATOR, payloads=True))
    tokens.add(path, tokens.person_of("grafana:viewer"))

    assert path.stat().st_mode & 0o777 == 0o600
    found = tokens.read(path)
    assert [token.person for token in found] == [Person("ada", Role.OPERATOR, True), Person("grafana", Role.VIEWER)]
    assert found[0] == Token.of(text, found[0].person)
    assert text not in repr(found)


def test_a_token_of_ones_own_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "tokens"

    assert tokens.own(path) == tokens.own(path)
    assert tokens.own(path).person.role is Role.ADMIN


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    tokens.add(path, Person("ada", Role.ADMIN))
    path.chmod(0o640)

    with pytest.raises(DefinitionError, match="others can read"):
        tokens.read(path)
    with pytest.raises(DefinitionError, match="others can read"):
        tokens.add(path, Person("bob", Role.ADMIN))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("ada admin", "line 2: a name, a role and a token"),
        ("ada boss " + "x" * 30, "line 2: 'boss': a role is expected"),
        ("ada admin short", "line 2: the token of ada: 20 to 200"),
        ("", "there is no token in it"),
    ],
)
def test_a_line_that_is_wrong_is_named(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "tokens"
    path.touch(0o600)
    path.write_text(f"# who may ask\n{line}\n")

    with pytest.raises(DefinitionError, match=words):
        tokens.read(path)


@pytest.mark.parametrize("given", ["ada", "ada:boss", ":admin", "a b:admin", "ada:viewer+all"])
def test_a_person_that_is_written_wrongly_gets_no_token(tmp_path: Path, given: str) -> None:
    with pytest.raises(DefinitionError):
        tokens.add(tmp_path / "tokens", tokens.person_of(given))
    assert not (tmp_path / "tokens").exists()


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="cannot be read"):
        tokens.read(tmp_path / "nowhere")
    with pytest.raises(DefinitionError, match="cannot be"):
        tokens.read(tmp_path)
