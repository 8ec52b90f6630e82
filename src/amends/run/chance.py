"""Where randomness comes from: ids and jitter.

Guarantees: with a seeded source the same ids and jitter come again.
Must not: be used for secrets.
"""

from __future__ import annotations

import os
from itertools import count
from random import Random, SystemRandom
from threading import Lock
from weakref import WeakSet


class Chance:
    """Ids and shares of jitter, for any thread."""

    def __init__(self, source: Random | None = None) -> None:
        self._source = source or SystemRandom()
        self.refresh()
        _all.add(self)

    def refresh(self) -> None:
        """Forget what was drawn: a forked child must not give its parent's ids."""
        self._lock = Lock()  # a parent may hold the one before
        self._pool = 0
        self._bits = 0
        self._operations = count(self._source.getrandbits(62) + 1)

    def share(self) -> float:
        """A number from 0 to 1."""
        return self._bits_of(24) / 2**24

    def uuid7(self, now: float) -> bytes:
        """The 16 bytes of a UUIDv7 (RFC 9562): time first, so that rows written together lie
        together."""
        milliseconds = int(now * 1000) & 0xFFFFFFFFFFFF
        random = self._bits_of(74)
        high = (milliseconds << 16) | 0x7000 | (random >> 62)
        low = (0b10 << 62) | (random & ((1 << 62) - 1))
        return ((high << 64) | low).to_bytes(16, "big")

    def operation(self) -> int:
        """A number for one decision's commit: 63 bits, counting from a random start."""
        return next(self._operations) & 0x7FFFFFFFFFFFFFFF

    def _bits_of(self, wanted: int) -> int:
        """Random bits, drawn from the source by the kilobyte: a system call per id is dear."""
        with self._lock:
            if self._bits < wanted:
                self._pool = self._source.getrandbits(8192)
                self._bits = 8192
            value = self._pool & ((1 << wanted) - 1)
            self._pool >>= wanted
            self._bits -= wanted
            return value


_all: WeakSet[Chance] = WeakSet()


def _refresh_all() -> None:
    for chance in list(_all):
        chance.refresh()


os.register_at_fork(after_in_child=_refresh_all)


def id_text(internal_id: bytes) -> str:
    """An internal id as people write UUIDs."""
    digits = internal_id.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
