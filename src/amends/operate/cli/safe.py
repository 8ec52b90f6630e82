"""Text from outside, made fit for a terminal.

An id, a reason or an exception's text may hold what a terminal obeys: escape sequences, a
carriage return that overwrites the line, marks that turn the direction of writing around.

Guarantees: what comes out has no control character and no invisible one; nothing is lost, it is
written out, such as `\\x1b`.
Must not: be left out anywhere between a value and the screen.
"""

from __future__ import annotations

import unicodedata

_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def safe(text: str, *, lines: bool = False) -> str:
    """The text with everything that a terminal would obey written out. lines: line ends may stay."""
    if text.isprintable():
        return text
    return "".join(_seen(character, lines) for character in text)


def _seen(character: str, lines: bool) -> str:
    if character == "\n" and lines:
        return character
    if unicodedata.category(character) not in _UNSEEN:
        return character
    return character.encode("unicode_escape").decode()
