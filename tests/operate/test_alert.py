"""The alert: a change is told once, signed, at least once under one id, and to no address that was not judged."""

from __future__ import annotations

import asyncio
import base64
import errno
import hashlib
import hmac
import json
import os
from collections.abc import AsyncGenerator, Callable, Collection, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from amends.errors import DefinitionError, StoreUnavailable
from amends.operate.alert import LOOK_MAX, TROUBLES, Alert, Look
from amends.operate.alert_notice import LISTED_MAX, Pages, Position, compare, notice, position_of
from amends.operate.alert_post import Message, NotDelivered, Webhook, secrets_of, signatures
from amends.operate.alert_target import target_of
from amends.operate.values import SagaLine, StuckLine, StuckPage, Trouble

KEY = bytes(range(32))
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"
MESSAGE = Message("msg_1", b'{"type":"x"}')


def stuck(
    name: str, trouble: Trouble = Trouble.PARKED, print_: str = "f00", why: str = "the bank refuses"
) -> StuckLine:
    """A stuck saga."""
    head = SagaLine(name, "place-order", "parked", 1.0, 2.0, None, None, why, "pay", "", "")
    return StuckLine(head._replace(fingerprint=print_, step="pay"), trouble, why)


def page(*lines: StuckLine, more: bool = False) -> StuckPage:
    return StuckPage(lines, more)


def awaited(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test that needs a loop, with one of its own."""

    @wraps(test)
    def run(**given: object) -> None:
        asyncio.run(test(**given))

    return run


class Sagas:
    """What is stuck, as a test wants it."""

    def __init__(self, *lines: StuckLine) -> None:
        self.page = page(*lines)
        self.asked: list[frozenset[Trouble]] = []
        self.away = False

    async def stuck(self, *, limit: int = 50, troubles: Collection[Trouble] = ()) -> StuckPage:
        assert limit == LOOK_MAX
        self.asked.append(frozenset(troubles))
        if self.away:
            raise StoreUnavailable("the database is away")
        return self.page


class Hook:
    """A webhook that keeps what it gets, and fails when told to."""

    def __init__(self) -> None:
        self.got: list[Message] = []
        self.down = False

    async def post(self, message: Message, at: float) -> None:
        self.got.append(message)
        if self.down:
            raise NotDelivered("it answered 503")

    def said(self, index: int = -1) -> dict[str, object]:
        data: dict[str, object] = json.loads(self.got[index].body)["data"]
        return data


def names(data: dict[str, object]) -> list[str]:
    """The new sagas of a notice."""
    new = data["new"]
    assert isinstance(new, list)
    return [entry["id"] for entry in new]


# What is told


@awaited
async def test_what_is_new_is_told_once_and_what_is_settled_after_it() -> None:
    sagas, hook = Sagas(stuck("a"), stuck("b")), Hook()
    alert = Alert(sagas, hook, place="shop")

    assert (await alert.look()).told == "2 new"
    assert await alert.look() == Look()
    sagas.page = page(stuck("b"), stuck("c"))
    assert (await alert.look()).told == "1 new, 1 settled"

    assert [names(hook.said(index)) for index in (0, 1)] == [["a", "b"], ["c"]]
    assert hook.said()["settled"] == ["a"]
    assert sagas.asked[0] == TROUBLES
    assert Trouble.WAITING not in TROUBLES


@awaited
async def test_a_saga_in_which_something_else_went_wrong_is_new() -> None:
    sagas, hook = Sagas(stuck("a")), Hook()
    alert = Alert(sagas, hook)
    await alert.look()

    sagas.page = page(stuck("a", print_="bad"))
    await alert.look()
    sagas.page = page(stuck("a", Trouble.STALLED, "bad"))
    await alert.look()

    assert [names(hook.said(index)) for index in range(3)] == [["a"], ["a"], ["a"]]


def test_a_notice_is_bounded_and_counts_what_it_leaves_out() -> None:
    lines = [stuck(f"order-{number}", why="x" * 5000) for number in range(400)] + [stuck("z", print_="other")]
    seen = page(*lines)
    body = notice(compare({}, seen), seen, 0.0, "shop")
    said = json.loads(body)

    assert len(body) < 20_000
    assert said["type"] == "amends.stuck.changed"
    assert said["timestamp"] == "1970-01-01T00:00:00.000Z"
    assert (len(said["data"]["new"]), said["data"]["new_total"], said["data"]["stuck"]) == (LISTED_MAX, 401, 401)
    assert said["data"]["groups"][0] == {
        "trouble": "parked",
        "saga": "place-order",
        "fingerprint": "f00",
        "count": 400,
        "example": "order-0",
    }


def test_reasons_stay_in_the_house_where_that_is_wanted() -> None:
    seen = page(stuck("a", why="card 4242 declined"))

    assert b"4242" in notice(compare({}, seen), seen, 0.0, "shop")
    assert b"4242" not in notice(compare({}, seen), seen, 0.0, "shop", reasons=False)


@pytest.mark.parametrize(
    ("pages", "all_", "one"),
    [
        (Pages("https://amends.shop"), "https://amends.shop/stuck", "https://amends.shop/sagas/order%2F1"),
        (
            Pages("https://shop/a/", "orders"),
            "https://shop/a/stuck?at=orders",
            "https://shop/a/sagas/order%2F1?at=orders",
        ),
    ],
)
def test_a_notice_leads_to_the_dashboard_where_there_is_one(pages: Pages, all_: str, one: str) -> None:
    seen = page(stuck("order/1"))

    data = json.loads(notice(compare({}, seen), seen, 0.0, "shop", pages=pages))["data"]
    without = json.loads(notice(compare({}, seen), seen, 0.0, "shop"))["data"]

    assert (data["link"], data["new"][0]["link"]) == (all_, one)
    assert "link" not in without
    assert "link" not in without["new"][0]


def test_of_a_list_that_has_more_behind_it_nothing_is_called_settled() -> None:
    change = compare({"a": "parked f00", "b": "parked f00"}, page(stuck("b"), more=True))

    assert not change
    assert set(change.known) == {"a", "b"}


# At least once, under one id


@awaited
async def test_a_notice_that_did_not_arrive_is_sent_again_under_its_id_before_anything_else(tmp_path: Path) -> None:
    sagas, hook, state = Sagas(stuck("a")), Hook(), tmp_path / "deep" / "alert.json"
    hook.down = True
    assert "503" in (await Alert(sagas, hook, state=state).look()).wrong

    sagas.page = page(stuck("a"), stuck("b"))
    hook.down = False
    after_restart = Alert(sagas, hook, state=state)
    assert (await after_restart.look()).told == "one that could not be delivered before"
    assert (await after_restart.look()).told == "1 new"

    assert hook.got[0] == hook.got[1]
    assert hook.got[2].id != hook.got[1].id
    assert names(hook.said()) == ["b"]


@awaited
async def test_a_restart_repeats_nothing_that_arrived(tmp_path: Path) -> None:
    sagas, hook, state = Sagas(stuck("a")), Hook(), tmp_path / "alert.json"
    await Alert(sagas, hook, state=state).look()

    assert await Alert(sagas, hook, state=state).look() == Look()
    assert len(hook.got) == 1
    assert state.stat().st_mode & 0o077 == 0


@awaited
async def test_a_database_that_is_away_is_told_to_the_log_and_ends_nothing() -> None:
    sagas, hook = Sagas(), Hook()
    sagas.away = True

    assert "cannot be seen: the database is away" in (await Alert(sagas, hook).look()).wrong
    assert not hook.got


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"known": []}', '{"known": {}, "pending": {"id": "x"}}', "\xff"])
@awaited
async def test_a_position_that_cannot_be_read_says_what_to_do(tmp_path: Path, text: str) -> None:
    state = tmp_path / "alert.json"
    state.write_bytes(text.encode("latin-1"))

    with pytest.raises(DefinitionError, match=r"alert\.json.*Remove the file"):
        await Alert(Sagas(), Hook(), state=state).look()


def test_a_position_is_read_as_it_was_written() -> None:
    position = Position({"a": "parked f00", "ü": ""}, None)

    assert position_of(position.json()) == position


@awaited
async def test_the_watch_looks_again_and_again_and_soon_where_something_went_wrong() -> None:
    sagas, hook, looks = Sagas(stuck("a")), Hook(), list[Look]()
    hook.down = True
    done = asyncio.Event()

    def report(look: Look) -> None:
        looks.append(look)
        hook.down = False
        if look.told:
            done.set()

    loop = asyncio.get_running_loop()
    begun = loop.time()
    slept: list[float] = []

    async def quick(seconds: float) -> None:
        slept.append(seconds)
        await real(0)

    real = asyncio.sleep
    patch = pytest.MonkeyPatch()
    patch.setattr("amends.operate.alert.asyncio.sleep", quick)
    try:
        watching = asyncio.ensure_future(Alert(sagas, hook).run(every=3600.0, report=report))
        await done.wait()
        watching.cancel()
    finally:
        patch.undo()

    assert [bool(look.wrong) for look in looks[:2]] == [True, False]
    assert 2.5 <= slept[0] <= 5.0
    assert loop.time() - begun < 60


@awaited
async def test_a_position_that_cannot_be_written_ends_no_watch_and_keeps_nothing_from_being_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sagas, hook, looks, state = Sagas(stuck("a")), Hook(), list[Look](), tmp_path / "alert.json"
    state.write_text(Position().json())
    replace, sleep, full = os.replace, asyncio.sleep, [True]
    slept: list[float] = []

    def replaced(old: str, new: Path) -> None:
        if full[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(old, new)

    async def quick(seconds: float) -> None:
        slept.append(seconds)
        await sleep(0)

    def report(look: Look) -> None:
        looks.append(look)
        sagas.page = page(stuck("a"), stuck("b"))
        full[0] = len(looks) < 3
        if len(looks) == 4:
            watching.cancel()

    monkeypatch.setattr("amends.operate.alert.os.replace", replaced)
    monkeypatch.setattr("amends.operate.alert.asyncio.sleep", quick)
    watching = asyncio.ensure_future(Alert(sagas, hook, state=state).run(every=3600.0, report=report))
    with pytest.raises(asyncio.CancelledError):
        await watching

    assert [look.told for look in looks] == ["1 new", "1 new", "", ""]
    assert ["No space left" in look.wrong for look in looks] == [True, True, True, False]
    assert [names(hook.said(index)) for index in range(len(hook.got))] == [["a"], ["b"]]
    assert slept[:3] == [3600.0] * 3
    assert set(position_of(state.read_text()).known) == {"a", "b"}
    assert os.listdir(tmp_path) == [state.name]


@awaited
async def test_a_single_look_that_cannot_keep_its_position_tells_nothing(tmp_path: Path) -> None:
    hook = Hook()
    (tmp_path / "file").touch()

    with pytest.raises(DefinitionError, match=r"alert\.json: the position of the alert cannot be"):
        await Alert(Sagas(stuck("a")), hook, state=tmp_path / "file" / "alert.json").look()
    assert not hook.got


# The wire


class Request(NamedTuple):
    """What a webhook got."""

    line: str
    headers: dict[str, str]
    body: bytes


@asynccontextmanager
async def server(answer: bytes) -> AsyncGenerator[tuple[int, list[Request]], None]:
    """A server on this machine that answers everything so; gives its port and what it got."""
    got: list[Request] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        headers["webhook-signature"] = next(
            line.split(": ", 1)[1] for line in head if line.lower().startswith("webhook-signature")
        )
        got.append(Request(head[0], headers, await reader.readexactly(int(headers["content-length"]))))
        writer.write(answer)
        await writer.drain()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1], got


def hook_at(url: str, resolve: Sequence[Sequence[str]] = (), **rest: object) -> tuple[Webhook, list[str]]:
    """A webhook whose name comes to these addresses, one list for each time it is asked for."""
    asked: list[str] = []

    async def answer(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return resolve[min(len(asked), len(resolve)) - 1]

    target = target_of(url, allow_http=True)
    return Webhook(target, [KEY], resolve=answer, **rest), asked  # type: ignore[arg-type]


@awaited
async def test_a_message_arrives_signed_as_standard_webhooks_has_it() -> None:
    async with server(b"HTTP/1.1 204 No Content\r\n\r\n") as (port, got):
        hook, _ = hook_at(f"http://127.0.0.1:{port}/in?x=1", allow_private=True)
        await hook.post(MESSAGE, 1_700_000_000.9)

    (request,) = got
    signed = b"msg_1.1700000000." + MESSAGE.body
    assert request.line == "POST /in?x=1 HTTP/1.1"
    assert request.body == MESSAGE.body
    assert (request.headers["webhook-id"], request.headers["webhook-timestamp"]) == ("msg_1", "1700000000")
    expected = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    assert request.headers["webhook-signature"] == f"v1,{expected}"


def test_the_signature_is_that_of_the_specifications_own_example() -> None:
    secrets = secrets_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    message = Message("msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}')

    assert signatures(secrets, message, 1614265330) == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_while_a_new_secret_is_brought_in_both_sign() -> None:
    both = secrets_of(f"{SECRET}\n\nwhsec_{base64.b64encode(bytes(24)).decode()}\n")

    assert len(signatures(both, MESSAGE, 1).split()) == 2


@pytest.mark.parametrize(
    "text", ["", "hunter2", "whsec_hunter2!", "whsec_YWJj", "\n".join([SECRET] * 5), "whsec_" + "A" * 400]
)
def test_a_secret_that_is_none_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(DefinitionError, match=r"openssl|lines") as told:
        secrets_of(text)

    assert "hunter2" not in str(told.value)


@awaited
async def test_a_name_that_comes_to_this_machine_is_refused_before_anything_is_sent() -> None:
    async with server(b"HTTP/1.1 200 OK\r\n\r\n") as (port, got):
        for addresses in (["127.0.0.1"], ["93.184.216.34", "127.0.0.1"], ["::ffff:127.0.0.1"], ["169.254.169.254"]):
            hook, _ = hook_at(f"http://hooks.example.com:{port}/", [addresses])
            with pytest.raises(NotDelivered, match="is refused"):
                await hook.post(MESSAGE, 0.0)

    assert not got


@awaited
async def test_a_name_is_resolved_once_and_the_connection_goes_to_the_address_that_was_judged() -> None:
    async with server(b"HTTP/1.1 200 OK\r\n\r\n") as (port, got):
        hook, asked = hook_at(f"http://hooks.example.com:{port}/", [["127.0.0.1"], ["127.0.0.2"]], allow_private=True)
        await hook.post(MESSAGE, 0.0)

    assert asked == ["hooks.example.com"]
    assert got[0].headers["host"] == f"hooks.example.com:{port}"


@awaited
async def test_a_redirect_is_a_failure_and_is_not_followed() -> None:
    async with server(b"HTTP/1.1 200 OK\r\n\r\n") as (other, followed):
        answer = f"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:{other}/\r\n\r\n".encode()
        async with server(answer) as (port, got):
            hook, _ = hook_at(f"http://127.0.0.1:{port}/", allow_private=True)
            with pytest.raises(NotDelivered, match="307, a redirect"):
                await hook.post(MESSAGE, 0.0)

    assert (len(got), followed) == (1, [])


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 503 Away\r\n\r\n", "it answered 503"),
        (b"SSH-2.0-x\r\n", "not HTTP"),
        (b"", "not HTTP"),
        (b"x" * 5000 + b"\n", "not HTTP"),
    ],
)
@awaited
async def test_only_a_2xx_counts_as_told(answer: bytes, said: str) -> None:
    async with server(answer) as (port, _):
        hook, _ = hook_at(f"http://127.0.0.1:{port}/", allow_private=True)
        with pytest.raises(NotDelivered, match=said):
            await hook.post(MESSAGE, 0.0)


@awaited
async def test_a_webhook_that_never_answers_or_is_not_there_does_not_hold_the_watch_up() -> None:
    silent = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await silent.wait()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    hook, _ = hook_at(f"http://127.0.0.1:{port}/", allow_private=True, seconds=0.05)
    with pytest.raises(NotDelivered, match=r"no answer within 0\.05 s"):
        await hook.post(MESSAGE, 0.0)
    silent.set()
    listening.close()
    await listening.wait_closed()
    with pytest.raises(NotDelivered, match="the connection failed"):
        await hook.post(MESSAGE, 0.0)


@awaited
async def test_the_proxies_of_the_environment_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async with server(b"HTTP/1.1 200 OK\r\n\r\n") as (proxy, passed), server(b"HTTP/1.1 200 OK\r\n\r\n") as (port, got):
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy}")
        hook, _ = hook_at(f"http://127.0.0.1:{port}/", allow_private=True)
        await hook.post(MESSAGE, 0.0)

    assert (len(got), passed) == (1, [])
