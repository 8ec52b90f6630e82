"""The URL of a transport, read: where the broker is, who asks, and the options behind the `?`.

Guarantees: no text that is made here shows a password, also not of a URL that makes no sense; an option that nobody
knows is refused by name; so is whatever would turn the check of the broker's certificate off.
Must not: connect, or know what an option of one broker means.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from amends.errors import TransportRefused
from amends.transport.door import MESSAGE_BYTES
from amends.transport.names import PREFIX, check_prefix

PUBLISH_SECONDS = 10.0
CONNECT_SECONDS = 10.0
COMMON = ("prefix", "create", "publish_seconds", "connect_seconds", "message_bytes")  # of every transport
TLS = ("cafile", "certfile", "keyfile")
_SECRET = ("password", "token", "secret")  # options whose names have one of these are shown without their value
_YES, _NO = ("yes", "true", "1", "on"), ("no", "false", "0", "off")


class Host(NamedTuple):
    """Of a broker."""

    name: str
    port: int

    def __str__(self) -> str:
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"


@dataclass(frozen=True)
class Url:
    """One URL. path: without the first slash. shown: the URL for messages and logs, without secrets."""

    scheme: str
    hosts: tuple[Host, ...]
    path: str | None
    options: Mapping[str, str] = field(repr=False)
    shown: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def host(self) -> Host:
        """The first of them."""
        return self.hosts[0]

    @property
    def prefix(self) -> str:
        """Of every name at the broker."""
        return check_prefix(self.text("prefix", PREFIX))

    @property
    def create(self) -> bool:
        """Whether what is missing at the broker is made."""
        return self.flag("create", True)

    @property
    def publish_seconds(self) -> float:
        """How long a confirm is waited for."""
        return self.seconds("publish_seconds", PUBLISH_SECONDS)

    @property
    def connect_seconds(self) -> float:
        """How long one try to connect may take."""
        return self.seconds("connect_seconds", CONNECT_SECONDS)

    @property
    def message_bytes(self) -> int:
        """How long a body may be."""
        return self.number("message_bytes", MESSAGE_BYTES)

    def only(self, *names: str) -> None:
        """Raises TransportRefused for an option that is none of these, nor one of every transport, and for a value
        of those that makes no sense."""
        if "verify" in self.options:
            raise self.refused(
                "verify= is no option: the broker's certificate is always checked. "
                "Say whom to trust with cafile=/path/to/authority.pem"
            )
        known = sorted({*COMMON, *names})
        for name in self.options:
            if name not in known:
                raise self.refused(f"there is no option {name!r:.40}; there are {', '.join(known)}")
        _ = self.prefix, self.create, self.publish_seconds, self.connect_seconds, self.message_bytes

    def refused(self, why: str) -> TransportRefused:
        """The error that says so of this URL."""
        return TransportRefused(f"{self.shown}: {why}")

    def text(self, name: str, default: str = "") -> str:
        """An option as it stands."""
        return self.options.get(name, default)

    def seconds(self, name: str, default: float) -> float:
        """An option that is a duration, more than nothing."""
        given = self.options.get(name)
        if given is None:
            return default
        try:
            value = float(given)
        except ValueError:
            value = math.nan
        if not 0 < value < math.inf:
            raise self.refused(f"{name}={given:.40} is no number of seconds")
        return value

    def number(self, name: str, default: int) -> int:
        """An option that is a whole number, 1 at least."""
        given = self.options.get(name)
        if given is None:
            return default
        if not (given.isascii() and given.isdigit() and 0 < len(given) < 16 and int(given) > 0):
            raise self.refused(f"{name}={given:.40} is no whole number, 1 at least")
        return int(given)

    def flag(self, name: str, default: bool) -> bool:
        """An option that is yes or no."""
        given = self.options.get(name, "").lower()
        if given in ("", *_YES, *_NO):
            return default if not given else given in _YES
        raise self.refused(f"{name}={given:.40}: yes or no is expected")

    def tls(self) -> ssl.SSLContext:
        """What to connect with over TLS: the machine's authorities, or those of `cafile`, and the client's own
        certificate where `certfile` (and `keyfile`, unless it is in the same file) names one."""
        cafile, certfile, keyfile = (self.options.get(name) for name in TLS)
        if keyfile and not certfile:
            raise self.refused("keyfile= needs certfile=, too")
        try:
            context = ssl.create_default_context(cafile=cafile)
            if certfile:
                context.load_cert_chain(certfile, keyfile or None)
        except (OSError, ssl.SSLError) as error:
            named = ", ".join(f"{name}={self.options[name]}" for name in TLS if self.options.get(name))
            raise self.refused(f"{named}: {error}") from error
        return context


def parse(text: str, ports: Mapping[str, int]) -> Url:
    """A URL with one of these schemes; the port is the scheme's, unless the URL has one.

    Raises TransportRefused for what makes no sense.
    """
    scheme, found, _ = text.partition("://")
    if not found or scheme not in ports:
        expected = " or ".join(f"{name}://" for name in ports)
        raise TransportRefused(f"{_harmless(text)}: a URL that begins with {expected} is expected")
    try:
        parts = urlsplit(text)
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise TransportRefused(f"{_harmless(text)}: that is no URL") from None
    login, _, place = parts.netloc.rpartition("@")
    if parts.fragment or "@" in login + parts.path + parts.query:
        raise TransportRefused(
            f"{_harmless(text)}: a user or password with one of / ? # @ : % must be percent-encoded in a URL"
        )
    user, has_password, password = login.partition(":")
    options: dict[str, str] = {}
    for name, value in pairs:
        if name in options:
            raise TransportRefused(f"{_harmless(text)}: the option {name!r:.40} is there twice")
        options[name] = value
    return Url(
        scheme,
        tuple(_host(one, ports[scheme], text) for one in place.split(",")),
        parts.path[1:] if parts.path else None,
        options,
        _shown(scheme, unquote(user), place, parts.path, options),
        unquote(user) if login else None,
        unquote(password) if has_password else None,
    )


def _host(text: str, port: int, url: str) -> Host:
    """`name`, `name:port`, `[::1]` or `[::1]:port`."""
    name, colon, given = text.rpartition(":")
    if not colon or text.endswith("]"):
        name, given = text, ""
    if given and not (given.isascii() and given.isdigit() and 0 < int(given) < 65536):
        # A password with a slash ends the place early: what stands here may be a part of it.
        raise TransportRefused(f"{_harmless(url)}: its port is no port (a / in a password is written %2F)")
    bare = name[1:-1] if name.startswith("[") and name.endswith("]") else name
    return Host(bare or "localhost", int(given) if given else port)


def _shown(scheme: str, user: str, place: str, path: str, options: Mapping[str, str]) -> str:
    login = f"{quote(user)}@" if user else ""
    told = [f"{k}=…" if any(part in k.lower() for part in _SECRET) else f"{k}={v}" for k, v in options.items()]
    return f"{scheme}://{login}{place}{path}" + (f"?{'&'.join(told)}" if told else "")


def _harmless(text: str) -> str:
    """What may be shown of a URL that nobody understood: its scheme."""
    scheme, found, _ = text.partition("://")
    return f"{scheme:.20}://…" if found and scheme.replace("+", "").isalnum() else "the broker's URL"
