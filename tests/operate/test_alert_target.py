"""Where an alert may be sent: what is refused, in whatever way it is written."""

from __future__ import annotations

import pytest

from amends.errors import DefinitionError
from amends.operate.alert_target import Target, refusal, target_of


def test_a_url_says_https_and_a_public_name() -> None:
    assert target_of("https://hooks.example.com/a/b?c=d") == Target("hooks.example.com", 443, "/a/b?c=d", True, False)
    assert target_of("https://HOOKS.example.com.:8443") == Target("hooks.example.com", 8443, "/", True, False)
    assert target_of("https://[2606:4700::1111]/x") == Target("2606:4700::1111", 443, "/x", True, True)
    assert target_of("http://93.184.216.34", allow_http=True) == Target("93.184.216.34", 80, "/", False, True)


@pytest.mark.parametrize(
    ("url", "authority"),
    [
        ("https://hooks.example.com:443/", "hooks.example.com"),
        ("https://hooks.example.com:8443/", "hooks.example.com:8443"),
        ("https://[2606:4700::1111]:8443/", "[2606:4700::1111]:8443"),
    ],
)
def test_a_request_names_the_host_as_the_url_does(url: str, authority: str) -> None:
    assert target_of(url).authority == authority


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "127.0.0.1.",
        "127.0.0.01",
        "1.2.3.4.5",
        "0x",
        "example.0x7f",
        "999.1.1.1",
    ],
)
def test_an_address_in_a_form_that_could_be_read_in_two_ways_is_refused(host: str) -> None:
    with pytest.raises(DefinitionError, match="four decimal numbers"):
        target_of(f"https://{host}/")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://hooks.example.com/",
        "hooks.example.com",
        "https:///x",
        "https://user:secret@hooks.example.com/",
        "https://hooks.example.com@127.0.0.1/",
        "https://hooks.example.com/#x",
        "https://hooks.example.com:0/",
        "https://hooks.example.com:99999/",
        "https://hooks.example.com/a b",
        "https://hooks.example.com/\r\nX: y",
        "https://hooks.example.com\\@127.0.0.1/",
        "https://münchen.example/",
        "https://①②⑦.⓪.⓪.①/",
        "https://[fe80::1%25eth0]/",
        "https://[::1/",
        "https://[nonsense]/",
        "https://-a.example.com/",
        "https://a..example.com/",
        "https://hooks.example.com/" + "x" * 2000,
    ],
)
def test_a_url_that_is_not_plainly_one_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(DefinitionError) as told:
        target_of(url)

    assert "secret" not in str(told.value)


def test_http_has_to_be_asked_for() -> None:
    with pytest.raises(DefinitionError, match="--allow-http"):
        target_of("http://hooks.example.com/")


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.9.9.9", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1"),
        *("::1", "fc00::1", "fd12:3456::1", "fd00:ec2::253"),
    ],
)
def test_this_machine_and_private_networks_are_refused_unless_allowed(address: str) -> None:
    assert refusal(address)
    assert refusal(address, allow_private=True) == ""


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "0.1.2.3", "255.255.255.255", "169.254.169.254"),  # noqa: S104  # nothing listens there
        *("224.0.0.1", "239.1.1.1", "240.0.0.1"),
        *("192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "192.0.0.8", "192.88.99.1"),
        *("::", "::ffff:127.0.0.1", "::ffff:93.184.216.34", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1"),
        *("2002:7f00:1::", "2001:0:7f00:1::", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "2001:db8::1"),
        *("100.100.100.200", "168.63.129.16", "fd00:ec2::254", "fd20:ce::254"),  # metadata, in what else is private
        *("3fff::1", "4000::1", "100::1", "nonsense", "1.2.3", "1:2"),
    ],
)
def test_what_is_no_address_of_a_public_host_is_never_sent_to(address: str) -> None:
    assert refusal(address)
    assert refusal(address, allow_private=True)


@pytest.mark.parametrize("address", ["93.184.216.34", "1.1.1.1", "172.15.0.1", "172.32.0.1", "2606:4700::1111"])
def test_a_public_address_may_be_sent_to(address: str) -> None:
    assert refusal(address) == ""
