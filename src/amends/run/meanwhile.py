"""Which sagas have left a worker's memory while the store was asked which are its.

A saga can be started here while the answer is under way, go on, and end: what was read of it in between is old when it
comes, and an attempt that is long over would be made once more.

Guarantees: whoever has left since the question was put is known when the answer is there.
Must not: ask anything.
"""

from __future__ import annotations


class Meanwhile:
    """Those that leave between `with` and its end; of any other time nothing is kept."""

    def __init__(self) -> None:
        self._left: set[bytes] | None = None

    def __enter__(self) -> None:
        self._left = set()

    def __exit__(self, *_: object) -> None:
        self._left = None

    def __contains__(self, saga: bytes) -> bool:
        """Whether a saga has left since."""
        return self._left is not None and saga in self._left

    def leaves(self, saga: bytes) -> None:
        """A saga leaves the memory."""
        if self._left is not None:
            self._left.add(saga)
