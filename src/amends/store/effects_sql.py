"""The inbox's statements in the manner of other drivers than asyncpg.

Guarantees: a parameter keeps its number.
Must not: change anything else of a statement.
"""

from __future__ import annotations

import re

_PARAMETER = re.compile(r"\$(\d+)")


def named(text: str, form: str) -> str:
    """A statement whose `$1` is `form` with `p1` in it."""
    return _PARAMETER.sub(lambda found: form.format(f"p{found[1]}"), text)
