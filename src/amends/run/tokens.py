"""Reply tokens: how an orchestrator knows its own commands again.

A token is a keyed hash (HMAC-SHA-256, RFC 2104, cut to 128 bits) over namespace, saga, step address, round and
phase. Not over the attempt: any authentic reply for an open step settles it. It may come back more than once,
which the saga's own history absorbs.

Guarantees: who has not seen the command cannot make its token; tokens are compared in constant time.
Must not: be logged.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from hashlib import sha256

from amends.decide.events import Phase
from amends.store.base import TokenKey

MAC_BYTES = 16


class Tokens:
    """Makes tokens with the newest key, and checks those that were made with any."""

    def __init__(self, keys: Sequence[TokenKey]) -> None:
        self._number = str(keys[0].number)
        self._keys = {str(key.number): hmac.new(key.secret, digestmod=sha256) for key in keys}

    def knows(self, token: str) -> bool:
        """Whether the key that a token says it was made with is one of these."""
        return token.partition(".")[0] in self._keys

    def make(self, namespace: str, saga: bytes, step: str, round_: int, phase: Phase) -> str:
        """The token of a command."""
        return f"{self._number}.{self._mac(self._number, namespace, saga, step, round_, phase).hex()}"

    def fits(self, token: str, namespace: str, saga: bytes, step: str, round_: int, phase: Phase) -> bool:
        """Whether a reply's token is one of ours, for just this."""
        if not self.knows(token):
            return False
        number, _, mac = token.partition(".")
        wanted = self._mac(number, namespace, saga, step, round_, phase).hex()
        return hmac.compare_digest(mac.encode("utf-8", "replace"), wanted.encode())

    def _mac(self, number: str, namespace: str, saga: bytes, step: str, round_: int, phase: Phase) -> bytes:
        made = self._keys[number].copy()  # a key's schedule is half of the work, and is done once
        made.update(f"{namespace}\n{saga.hex()}\n{step}\n{round_}\n{phase}".encode())
        return made.digest()[:MAC_BYTES]
