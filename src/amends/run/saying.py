"""What is complained of while something is tried again and again: it is said once.

Guarantees: a complaint is logged when it is new, and when its reason has changed.
Must not: decide what is tried again.
"""

from __future__ import annotations

import logging


class Said:
    """What was complained of, by what it was of."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._said: dict[str, str] = {}

    def warn(self, what: str, error: Exception) -> str:
        """Say it, unless that is what was said of it last; gives the reason."""
        why = str(error) or type(error).__name__
        if self._said.get(what) != why:
            self._log.warning("%s: %s", what, why)
        self._said[what] = why
        return why
