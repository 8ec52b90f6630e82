"""The cookie of somebody who has logged in: signed, not stored.

Guarantees: a session ends after `SESSION_SECONDS`, when its token is taken back, and when it is left, as far as this
process knows; it survives a restart, since its key comes from the tokens; one that was changed anywhere is none.
Must not: hold the token.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

SESSION_SECONDS = 12 * 3600.0
CODE_SECONDS = 600.0
CODES_MAX = 10
LEFT_MAX = 10_000  # sessions that were left early; the oldest are forgotten beyond that
TEXT_CHARACTERS_MAX = 300


class Session(NamedTuple):
    """token: the id of the one that was shown. nonce: of this session alone."""

    token: str
    expires: int
    nonce: str


class Sessions:
    """Makes and reads cookies. digests: of the tokens that there are; with none, the key is of this process alone."""

    def __init__(self, digests: Sequence[bytes], clock: Callable[[], float] = time.time) -> None:
        given = b"".join(sorted(digests)) or secrets.token_bytes(32)
        self._key = hashlib.sha256(b"amends sessions\0" + given).digest()
        self._clock = clock
        self._left: OrderedDict[str, None] = OrderedDict()
        self.cookie: str = f"amends-{self._mac('cookie')[:8]}"  # two dashboards on one host keep apart

    def begin(self, token_id: str) -> str:
        """The text of a new session's cookie."""
        expires = int(self._clock() + SESSION_SECONDS)
        text = f"{token_id}.{expires}.{secrets.token_hex(16)}"
        return f"{text}.{self._mac('session', text)}"

    def read(self, text: str) -> Session | None:
        """The session of a cookie, if it is one of ours and has not ended."""
        parts = text.split(".")
        if len(text) > TEXT_CHARACTERS_MAX or len(parts) != 4 or not text.isascii():
            return None
        token, expires, nonce, mac = parts
        if not hmac.compare_digest(mac, self._mac("session", f"{token}.{expires}.{nonce}")):
            return None
        if int(expires) <= self._clock() or nonce in self._left:
            return None
        return Session(token, int(expires), nonce)

    def leave(self, session: Session) -> None:
        """End a session before its time."""
        self._left[session.nonce] = None
        while len(self._left) > LEFT_MAX:
            self._left.popitem(last=False)

    def csrf(self, bound: str) -> str:
        """The token of forms for one session, or one of the host's persons."""
        return self._mac("csrf", bound)

    def _mac(self, use: str, text: str = "") -> str:
        return hmac.new(self._key, f"{use}\0{text}".encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


class Codes:
    """Codes that log in once, for the address that is printed when a dashboard starts."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._open: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def issue(self, token_id: str) -> str:
        """A new one, for whoever has this token."""
        code = secrets.token_urlsafe(24)
        self._open[code] = token_id, self._clock() + CODE_SECONDS
        while len(self._open) > CODES_MAX:
            self._open.popitem(last=False)
        return code

    def take(self, code: str) -> str | None:
        """The id of the token that it is for; never again."""
        given, until = self._open.pop(_same(code, self._open), ("", 0.0))
        return given if given and self._clock() < until else None


def _same(code: str, known: Iterable[str]) -> str:
    """The code that this one is; takes as long whichever it is."""
    found = ""
    for one in known:
        if hmac.compare_digest(one.encode(), code.encode("utf-8", "surrogatepass")):
            found = one
    return found
