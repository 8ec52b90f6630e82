"""`amends alert`: what it tells, when, and what it refuses before it sends anything."""

from __future__ import annotations

import base64
import json
import shutil
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from shop_floor import Floor

ORDERS = "--database=sqlite:///orders.db"
HERE = ("--allow-http", "--allow-private")


class Inbox(HTTPServer):
    """A webhook on this machine."""

    got: list[dict[str, Any]]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook?token=hush"


class _Answer(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Inbox)
        self.server.got.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on the terminal."""


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    server = Inbox(("127.0.0.1", 0), _Answer)
    server.got = []
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    yield server
    server.shutdown()
    serving.join()
    server.server_close()


@pytest.fixture
def secret(floor: Floor) -> str:
    path = floor.directory / "webhook.secret"
    path.write_text(f"whsec_{base64.b64encode(b'a secret of at least 24 bytes').decode()}\n")
    return f"--secret-file={path}"


def test_a_parked_saga_is_told_once_and_again_when_it_is_settled(floor: Floor, inbox: Inbox, secret: str) -> None:
    def alert() -> str:
        where = (f"--webhook={inbox.url}", secret, *HERE, ORDERS, "--dashboard=https://amends.shop")
        return floor.ok("alert", "--once", *where, "--state=told.json").out

    floor.park("order-1")
    said = [alert(), alert()]
    with floor.worker():
        floor.ok("retry", "order-1", "charge_card", "--reason=the bank is back", ORDERS)
        floor.wait_for(lambda: floor.ok("show", "order-1", ORDERS, "--json").data["status"] == "completed")
    said.append(alert())

    assert [line.strip() for line in said] == ["the webhook was told: 1 new", "", "the webhook was told: 1 settled"]
    new, settled = (body["data"] for body in inbox.got)
    assert [(line["id"], line["trouble"], line["why"]) for line in new["new"]] == [
        ("order-1", "parked", "charge_card: the bank does not answer")
    ]
    assert settled["settled"] == ["order-1"]
    assert new["place"] == "sqlite:///orders.db"
    assert [new["link"], new["new"][0]["link"]] == ["https://amends.shop/stuck", "https://amends.shop/sagas/order-1"]


def test_a_webhook_that_is_not_there_is_an_exit_code_and_its_address_stays_unsaid(floor: Floor, secret: str) -> None:
    floor.park("order-1")
    url = "--webhook=http://127.0.0.1:1/hush"

    ended = floor.amends("alert", "--once", url, secret, *HERE, ORDERS, "--state=told.json")

    assert (ended.code, ended.out) == (9, "")
    assert "the webhook was not told: the connection failed" in ended.err
    assert "hush" not in ended.err
    assert Path("told.json").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--webhook=http://hooks.example.com/"], "https"),
        (["--webhook=https://1.1.1.1/", "--dashboard=javascript:x"], "the address of a dashboard is expected"),
        (["--webhook=https://1.1.1.1/", "--dashboard=https://ada:hush@amends.shop"], "the address of a dashboard is"),
        (["--webhook=https://127.1/"], "four decimal numbers"),
        (["--webhook=https://a:hush@hooks.example.com/"], "no user or password"),
    ],
)
def test_what_may_not_be_sent_to_is_refused_before_anything_is_read(
    floor: Floor, secret: str, options: list[str], says: str
) -> None:
    ended = floor.amends("alert", "--once", *options, secret, ORDERS)

    assert ended.code == 2
    assert says in ended.err
    assert "hush" not in ended.err


def test_this_machine_has_to_be_allowed(floor: Floor, inbox: Inbox, secret: str) -> None:
    floor.park("order-1")
    ended = floor.amends(
        "alert", "--once", f"--webhook={inbox.url}", secret, "--allow-http", ORDERS, "--state=told.json"
    )

    assert ended.code == 9
    assert "127.0.0.1, which is refused: this machine" in ended.err
    assert inbox.got == []


def test_a_secret_that_is_none_is_refused(floor: Floor) -> None:
    Path("bad.secret").write_text("hush")

    ended = floor.amends("alert", "--once", "--webhook=https://hooks.example.com/", "--secret-file=bad.secret", ORDERS)
    missing = floor.amends("alert", "--once", "--webhook=https://hooks.example.com/", "--secret-file=none", ORDERS)

    assert (ended.code, missing.code) == (2, 2)
    assert "openssl rand" in ended.err
    assert "hush" not in ended.err
    assert "none" in missing.err


def test_the_watch_goes_on_until_it_is_told_to_stop_and_keeps_its_place_in_the_users_state(
    floor: Floor, inbox: Inbox, secret: str
) -> None:
    floor.park("order-1")
    state = floor.directory / "state"
    watching = floor.process(
        "alert", f"--webhook={inbox.url}", secret, *HERE, ORDERS, "--every=1", XDG_STATE_HOME=str(state)
    )
    floor.wait_for(lambda: bool(list(state.glob("amends/alert-*.json"))) and bool(inbox.got))
    watching.send_signal(signal.SIGTERM)
    ended = floor.ended(watching)

    assert ended.code == 0
    assert "looking every 1 s; what was told is kept in" in ended.err
    assert len(inbox.got) == 1
    (kept,) = state.glob("amends/alert-*.json")
    assert kept.stat().st_mode & 0o077 == 0
    assert b"hush" not in kept.read_bytes()


def test_each_database_and_each_set_of_kinds_has_a_position_of_its_own(
    floor: Floor, inbox: Inbox, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def alert(*options: str) -> str:
        given = ("--app=shop:orchestrator", f"--webhook={inbox.url}", secret, *HERE)
        return floor.ok("alert", "--once", *given, *options).out.strip()

    monkeypatch.setenv("XDG_STATE_HOME", str(floor.directory / "state"))
    floor.park("order-1")
    shutil.copy("orders.db", "other.db")
    told = "the webhook was told: 1 new"

    assert [alert(), alert(ORDERS), alert(f"--database=sqlite:///{floor.directory}/orders.db")] == [told, "", ""]
    assert alert("--database=sqlite:///other.db") == told
    assert [alert("--trouble=parked"), alert("--trouble=parked", "--trouble=stuck")] == [told, told]
    assert alert("--trouble=stuck", "--trouble=parked") == ""
    places = [body["data"]["place"] for body in inbox.got]
    assert places == ["sqlite:///orders.db", "sqlite:///other.db", "sqlite:///orders.db", "sqlite:///orders.db"]


def test_only_the_kinds_that_are_asked_for_are_told_and_no_reasons_where_none_are_wanted(
    floor: Floor, inbox: Inbox, secret: str
) -> None:
    floor.park("order-1")
    common = ("alert", "--once", f"--webhook={inbox.url}", secret, *HERE, ORDERS)

    assert floor.ok(*common, "--state=one.json", "--trouble=stalled").out == ""
    assert "1 new" in floor.ok(*common, "--state=two.json", "--trouble=parked", "--without-reasons").out
    (body,) = inbox.got
    assert "why" not in body["data"]["new"][0]
