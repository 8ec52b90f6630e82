"""Commands written so that a shell reads them as they are meant.

Guarantees: a line pasted into a POSIX shell gives exactly the words it was made of.
Must not: run anything.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence


def quoted(words: Sequence[str]) -> str:
    """The words as one line of shell."""
    return " ".join(_quote(word) for word in words)


def _quote(word: str) -> str:
    """An option's value is quoted behind its `=`, which reads better."""
    name, equals, value = word.partition("=")
    if equals and name.startswith("--") and name[2:].replace("-", "").isalnum():
        return f"{name}={shlex.quote(value)}"
    return shlex.quote(word)
