"""`amends dashboard`: who may ask from where, what is printed, and how it ends."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from shop_floor import PATIENCE_SECONDS, TEA, Floor

from amends.operate.web import tokens
from amends.operate.web.access import Person, Role, Token
from amends.operate.web.serving import Tls, is_loopback, origin_of

ORDERS = "--database=sqlite:///orders.db"


@pytest.fixture
def shop(floor: Floor, monkeypatch: pytest.MonkeyPatch) -> Floor:
    """A shop with one order, and a home directory in it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(floor.directory / "state"))
    assert floor.amends("run", "shop:place_order", TEA, "--id=order-1").code == 0
    return floor


def own_file(floor: Floor) -> Path:
    """Where one's own token is kept."""
    return floor.directory / "state" / "amends" / "dashboard.tokens"


def begun(process: subprocess.Popen[str]) -> str:
    """The address that it prints, once it answers."""
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.fullmatch(r"The dashboard is at (http\S+)\n", line)
    assert found is not None, line + (process.stderr.read() if process.stderr and process.poll() is not None else "")
    return found[1]


def test_by_default_it_is_here_alone_and_the_address_that_is_printed_logs_in_once(shop: Floor) -> None:
    process = shop.process("dashboard", "shop:orchestrator", "--port=0")
    url = begun(process)
    with httpx.Client(base_url=re.sub(r"/login.*", "", url), timeout=PATIENCE_SECONDS) as browser:
        nobody = browser.get("/api/v1/sagas")
        browser.get(url)
        listed = browser.get("/api/v1/sagas")
        text = own_file(shop).read_text().split()[-1]
        program = httpx.get(f"{browser.base_url}/api/v1/me", headers={"authorization": f"Bearer {text}"})
        foreign = httpx.get(f"{browser.base_url}/api/v1/me", headers={"host": "evil.example"})
        with browser.stream("GET", "/live?about=overview") as stream:
            lines = stream.iter_lines()
            first = next(lines)
            process.send_signal(signal.SIGTERM)  # somebody still listens
            ended = shop.ended(process)

    assert url.startswith("http://127.0.0.1:")  # which is bound, while somebody else may have ::1
    assert (nobody.status_code, [saga["id"] for saga in listed.json()["sagas"]]) == (401, ["order-1"])
    assert (program.json()["role"], program.json()["payloads"], foreign.status_code) == ("admin", True, 403)
    assert own_file(shop).stat().st_mode & 0o777 == 0o600
    assert first.startswith("retry")
    assert (ended.code, text in ended.out + ended.err) == (0, False)
    assert "logs you in once" in ended.err


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com"])  # noqa: S104
def test_elsewhere_it_refuses_to_begin_before_it_is_told_who_may_ask(shop: Floor, host: str) -> None:
    refused = shop.amends("dashboard", ORDERS, f"--host={host}")

    assert refused.code == 2
    assert "say who may ask: --token-file" in refused.err
    assert not own_file(shop).exists()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--token-file=nowhere"], "the tokens cannot be read"),
        (["--token-file=a", "--auth=shop:ship"], "one of the two"),
        (["--auth=shop:NAP"], "a function of the request is expected"),
        (["--auth=shop:nobody"], "has no 'nobody'"),
        (["--tls-key=key.pem"], "--tls-key without --tls-cert"),
        (["--tls-cert=cert.pem"], "there is no such file"),
        (["shop:orchestrator", "shop:trip"], "one orchestrator or watcher"),
    ],
)
def test_what_is_given_wrongly_is_named_and_nothing_is_served(shop: Floor, given: list[str], words: str) -> None:
    place = [] if any(word.startswith("shop") for word in given) else [ORDERS]
    refused = shop.amends("dashboard", *place, *given)

    assert refused.code == 2
    assert words in refused.err


def test_a_port_that_somebody_else_has_is_named(shop: Floor) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        refused = shop.amends("dashboard", ORDERS, f"--port={other.getsockname()[1]}")

    assert refused.code == 2
    assert "Address already in use" in refused.err


def test_a_database_that_is_not_there_is_an_error(shop: Floor) -> None:
    refused = shop.amends("dashboard", "--database=sqlite:///nowhere.db")

    assert refused.code == 7
    assert not Path("nowhere.db").exists()


def test_a_token_for_somebody_is_made_and_printed_once(shop: Floor) -> None:
    made = shop.ok("dashboard", "--add-token=ada:operator+payloads", "--token-file=tokens")
    wrong = shop.amends("dashboard", "--add-token=ada:boss", "--token-file=tokens")

    assert Path("tokens").read_text().splitlines()[-1] == f"ada  operator+payloads  {made.out.strip()}"
    assert (wrong.code, "a role is expected: viewer, operator, admin" in wrong.err) == (2, True)


def test_a_token_for_somebody_that_is_made_before_the_first_start_leaves_the_dashboard_its_owners(shop: Floor) -> None:
    made = [shop.ok("dashboard", f"--add-token={who}").out.strip() for who in ("ada:operator", "bob:viewer")]

    owner, *others = tokens.read(own_file(shop))
    assert (owner.person.role, owner.person.payloads) == (Role.ADMIN, True)
    assert [(token.person.name, token) for token in others] == [
        ("ada", Token.of(made[0], Person("ada", Role.OPERATOR))),
        ("bob", Token.of(made[1], Person("bob", Role.VIEWER))),
    ]
    assert tokens.own(own_file(shop)) == owner


@pytest.mark.parametrize(
    ("host", "here"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False)],  # noqa: S104
)
def test_what_is_reached_from_this_machine_alone(host: str, here: bool) -> None:
    assert is_loopback(host) is here


def test_localhost_is_printed_as_the_address_that_was_bound() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        port = listening.getsockname()[1]

        assert origin_of(listening, "localhost", None) == f"http://127.0.0.1:{port}"
        assert origin_of(listening, "localhost", Tls(Path("cert.pem"), None)) == f"https://localhost:{port}"
        assert origin_of(listening, "ops.example.com", None) == f"http://ops.example.com:{port}"
