"""URLs of transports are read exactly, and no text about them shows a password."""

from __future__ import annotations

import builtins
import sys
from typing import Any

import pytest

from amends.errors import TransportRefused
from amends.transport.local import LocalTransport
from amends.transport.open import transport_for
from amends.transport.url import Host, parse

PORTS = {"amqp": 5672, "amqps": 5671}


def test_a_url_is_its_parts() -> None:
    url = parse("amqp://us%40er:p%2Fw%3A@one:1,two,[::1]:3/orders?prefix=eu&create=no&publish_seconds=2.5", PORTS)

    assert (url.user, url.password, url.path) == ("us@er", "p/w:", "orders")
    assert url.hosts == (Host("one", 1), Host("two", 5672), Host("::1", 3))
    assert (url.prefix, url.create, url.publish_seconds) == ("eu", False, 2.5)


def test_what_is_left_out_has_its_default() -> None:
    url = parse("amqps://broker", PORTS)

    assert (url.user, url.password, url.path, url.host) == (None, None, None, Host("broker", 5671))
    assert (url.prefix, url.create, url.publish_seconds) == ("amends", True, 10.0)


def test_a_url_is_shown_without_its_secrets() -> None:
    url = parse("amqp://user:hunter2@broker:1/v?token=hunter3&prefix=eu", PORTS)

    assert url.shown == "amqp://user@broker:1/v?token=…&prefix=eu"
    assert "hunter" not in repr(url)
    assert "hunter" not in str(url.refused("no"))


@pytest.mark.parametrize(
    "text",
    [
        "amqp://user:hunter2/x@broker",
        "amqp://user:12/hunter2@broker",
        "amqp://user:hunter2?x@broker",
        "amqp://user:12?hunter2@broker",
        "amqp://user:hunter2#x@broker",
        "amqp://user:hunter2@x@broker",
        "amqp://user:hunter2@broker:port",
        "amqp://user:hunter2@broker:99999",
        "amqp://user:hunter2@[broker",
        "http://user:hunter2@broker",
        "user:hunter2@broker",
        "amqp://user:hunter2@broker?prefix",
        "amqp://user:hunter2@broker?prefix=a&prefix=b",
        "",
    ],
)
def test_a_url_that_makes_no_sense_is_refused_and_nothing_of_it_is_shown(text: str) -> None:
    with pytest.raises(TransportRefused) as refused:
        parse(text, PORTS)

    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "option",
    [
        *("prefix=a%20b", "prefix=", "create=maybe", "publish_seconds=0", "publish_seconds=nan", "publish_seconds=-1"),
        *("message_bytes=0", "message_bytes=1e3", "connect_seconds=inf", "verify=no", "verify=yes", "unknown=1"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_by_name(option: str) -> None:
    with pytest.raises(TransportRefused, match=option.partition("=")[0]):
        LocalTransport(f"local://?{option}")


def test_an_authority_that_is_not_there_is_named() -> None:
    url = parse("amqps://broker?cafile=/nowhere/authority.pem", PORTS)

    with pytest.raises(TransportRefused, match=r"cafile=/nowhere/authority\.pem"):
        url.tls()


def test_a_key_without_its_certificate_is_refused() -> None:
    with pytest.raises(TransportRefused, match="certfile"):
        parse("amqps://broker?keyfile=/nowhere/key.pem", PORTS).tls()


def test_without_a_url_the_transport_is_the_process_own() -> None:
    assert isinstance(transport_for(None), LocalTransport)
    assert transport_for("local://?prefix=eu").prefix == "eu"


def test_a_scheme_that_nobody_knows_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(TransportRefused, match="kafka://") as refused:
        transport_for("mqtt://user:hunter2@broker")

    assert "hunter2" not in str(refused.value)


def test_a_driver_that_is_not_installed_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_aiormq(name: str, *rest: Any, **named: Any) -> Any:
        if name.partition(".")[0] == "aiormq":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *rest, **named)

    for name in [name for name in sys.modules if name.startswith("amends.transport.rabbitmq")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without_aiormq)

    with pytest.raises(TransportRefused, match=r'pip install "amends\[rabbitmq\]"'):
        transport_for("amqp://broker")
