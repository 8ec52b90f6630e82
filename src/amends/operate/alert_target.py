"""Where an alert may be sent: its URL, and the addresses that a name may come to.

Whoever may name a URL could otherwise have this process ask what only it can reach: a service on this machine, an
address of the private network, the metadata of the cloud. So the URL says https and a public name, and every address
that the name comes to is judged before anything is sent.

Guarantees: an address is allowed only where this file says so; a host that could be read in two ways is refused.
Must not: ask a name server, or connect.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import NamedTuple
from urllib.parse import urlsplit

from amends.errors import DefinitionError

URL_MAX = 2000
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")

_OURS4 = {  # may be allowed
    "this machine": ("127.0.0.0/8",),
    "a private network": ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"),
}
_NEVER4 = {
    "no address of a host": ("0.0.0.0/8", "255.255.255.255/32"),
    "link-local, where clouds keep their metadata": ("169.254.0.0/16",),
    "where clouds keep their metadata": ("100.100.100.200/32", "168.63.129.16/32"),
    "multicast": ("224.0.0.0/4",),
    "reserved": (
        *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
        "240.0.0.0/4",
    ),
}
_OURS6: dict[str, tuple[str, ...]] = {"this machine": ("::1/128",), "a private network": ("fc00::/7",)}
_NEVER6 = {
    "where clouds keep their metadata": ("fd00:ec2::254/128", "fd20:ce::254/128"),  # in what is private
    "no address of a host": ("::/128",),
    "an IPv4 address in disguise": (
        "::ffff:0:0/96",
        "::/96",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "2002::/16",
        "2001::/32",
    ),
    "link-local": ("fe80::/10", "fec0::/10"),
    "multicast": ("ff00::/8",),
    "reserved": ("2001::/23", "2001:db8::/32", "3fff::/20"),
}
_SELF6 = IPv6Address("::1")  # which is in ::/96, and yet no IPv4 address in disguise
_PUBLIC6 = IPv6Network("2000::/3")


class Target(NamedTuple):
    """Where to send to. path: with its query. literal: the host is an address, and no name."""

    host: str
    port: int
    path: str
    tls: bool
    literal: bool

    @property
    def authority(self) -> str:
        """The host as a request names it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


def target_of(url: str, *, allow_http: bool = False) -> Target:
    """The target of a URL. Raises DefinitionError for one that is refused, and says why; the URL itself may be a
    secret and is not repeated."""
    if len(url) > URL_MAX or not url.isascii() or re.search(r"[\x00-\x20\x7f\\]", url):
        raise DefinitionError(
            f"the webhook's URL: up to {URL_MAX} printable ASCII characters without blanks are expected"
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise DefinitionError(f"the webhook's URL cannot be read: {error}") from None
    if parts.scheme not in ("https", "http"):
        raise DefinitionError("the webhook's URL: it begins with https://")
    if parts.scheme == "http" and not allow_http:
        raise DefinitionError(
            "the webhook's URL: it begins with https://. `--allow-http` allows a wire that anybody can read"
        )
    if "@" in parts.netloc:
        raise DefinitionError("the webhook's URL: no user or password belongs into it; the signature says who sends")
    if parts.fragment:
        raise DefinitionError("the webhook's URL: leave the part behind # out, it is never sent")
    tls = parts.scheme == "https"
    if port == 0:
        raise DefinitionError("the webhook's URL: the port is 1 to 65535")
    host, literal = _host(parts.hostname or "")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(host, port or (443 if tls else 80), path, tls, literal)


def _host(host: str) -> tuple[str, bool]:
    """The host, and whether it is an address."""
    if ":" in host:
        if "%" in host:
            raise DefinitionError("the webhook's URL: an address with a zone is not allowed")
        try:
            return str(IPv6Address(host)), True
        except AddressValueError:
            raise DefinitionError("the webhook's URL: what stands in brackets is no IPv6 address") from None
    if _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
        try:
            return str(IPv4Address(host)), True
        except AddressValueError:
            raise DefinitionError(
                "the webhook's URL: an address is written as four decimal numbers, such as 203.0.113.7; short, octal "
                "and hexadecimal forms are refused"
            ) from None
    if len(host) > 253 or not _NAME.fullmatch(host):
        raise DefinitionError("the webhook's URL: it needs a host, as a DNS name in ASCII (`xn--…` for others)")
    return host.rstrip("."), False


def refusal(address: str, *, allow_private: bool = False) -> str:
    """Why nothing is sent to an address; empty where it may be."""
    try:
        if ":" not in address:
            return _refusal4(IPv4Address(address), allow_private=allow_private)
        return _refusal6(IPv6Address(address), allow_private=allow_private)
    except AddressValueError:
        return "not an address that can be judged"


def _refusal4(address: IPv4Address, *, allow_private: bool) -> str:
    for why, networks in _NEVER4.items():
        if any(address in IPv4Network(network) for network in networks):
            return why
    ours = (why for why, networks in _OURS4.items() if any(address in IPv4Network(network) for network in networks))
    why = next(ours, "")
    return "" if allow_private else why


def _refusal6(address: IPv6Address, *, allow_private: bool) -> str:
    if address.scope_id is not None:
        return "link-local"
    for why, networks in _NEVER6.items():
        if address != _SELF6 and any(address in IPv6Network(network) for network in networks):
            return why
    for why, networks in _OURS6.items():
        if any(address in IPv6Network(network) for network in networks):
            return "" if allow_private else why
    return "" if address in _PUBLIC6 else "reserved"
