"""Payloads as text on a page.

Guarantees: pure; text in lines, never markup; bounded, and what is left out is said; somebody who may not read payloads
is told so, and sees none.
Must not: mask fields; what it is given is masked already.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from amends.operate.web.access import Person

CHARACTERS_MAX = 20_000
LINE_CHARACTERS = 90
FORBIDDEN = "Not shown to you: reading payloads is a right of its own."


class Shown(NamedTuple):
    """A payload on a page. hidden: why it is not shown; empty where it is. note: what was left out."""

    text: str
    note: str = ""
    hidden: str = ""


def shown(value: bytes | None, person: Person) -> Shown | None:
    """A payload; None where there is none."""
    if value is None:
        return None
    if not person.payloads:
        return Shown("", hidden=FORBIDDEN)
    text = _laid_out(value)
    if len(text) <= CHARACTERS_MAX:
        return Shown(text)
    return Shown(text[:CHARACTERS_MAX], f"The first {CHARACTERS_MAX:,} of {len(text):,} characters.")


def _laid_out(value: bytes) -> str:
    """As JSON in lines; a short one in one."""
    text = value.decode("utf-8", "replace")
    if len(text) <= LINE_CHARACTERS or len(text) > CHARACTERS_MAX:
        return text
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text
