"""What drawings in SVG have in common: text that is safe and fits, and elements.

Guarantees: any text comes out as text, whatever is in it; a text that `fit` gives is not wider than was asked for, in
any of the usual sans-serif fonts.
Must not: have a colour or a style; a page's style sheet has them, by class.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from html import escape

SMALL, NORMAL = 11.0, 13.0  # sizes of text, in the drawing's own units
BOLD = 1.12  # how much wider bold text is
NOTE_CHARACTERS_MAX = 400
_NARROW, _THIN = frozenset("ijl.,:;|!'`"), frozenset(' ()[]{}/\\-rtfI"')
_WIDE = frozenset("mwMW@%")
_ELLIPSIS = "…"


def width_of(text: str, size: float = NORMAL, *, bold: bool = False) -> float:
    """About how wide a text is: rather more than less, whichever font draws it."""
    return sum(map(_em, text)) * size * (BOLD if bold else 1.0)


def fit(text: str, width: float, size: float = NORMAL, *, bold: bool = False) -> str:
    """The text, cut with an ellipsis where it is wider than that."""
    if width_of(text, size, bold=bold) <= width:
        return text
    room = width - width_of(_ELLIPSIS, size, bold=bold)
    kept = 0
    for kept, character in enumerate(text):  # noqa: B007  # where it ends is what is asked
        room -= _em(character) * size * (BOLD if bold else 1.0)
        if room < 0:
            break
    return text[:kept].rstrip() + _ELLIPSIS


def clean(text: str) -> str:
    """As it may stand in XML, bounded: what no XML may hold, and line breaks, become blanks."""
    cut = text if len(text) <= NOTE_CHARACTERS_MAX else text[: NOTE_CHARACTERS_MAX - 1] + _ELLIPSIS
    return escape("".join(" " if _forbidden(character) else character for character in cut))


def number(value: float) -> str:
    """A coordinate: short, the same on every machine."""
    return f"{value:.1f}".removesuffix(".0")


def element(name: str, classes: str = "", body: str | Iterable[str] = "", **attributes: str | float) -> str:
    """An element. body: markup, as it stands. attributes: numbers or words; `_` in a name is `-`."""
    parts = [name]
    if classes:
        parts.append(f'class="{escape(classes)}"')
    for key, value in attributes.items():
        said = number(value) if isinstance(value, (int, float)) else escape(value)
        parts.append(f'{key.replace("_", "-")}="{said}"')
    inner = body if isinstance(body, str) else "".join(body)
    return f"<{' '.join(parts)}>{inner}</{name}>" if inner else f"<{' '.join(parts)}/>"


def text(x: float, y: float, said: str, classes: str = "", anchor: str = "") -> str:
    """A line of text, its baseline at y."""
    if anchor:
        return element("text", classes, clean(said), x=x, y=y, text_anchor=anchor)
    return element("text", classes, clean(said), x=x, y=y)


def picture(classes: str, name: str, size: tuple[float, float], told: tuple[str, str], body: Iterable[str]) -> str:
    """A whole drawing. name: an id that the page has once. size: width and height. told: its title and, in words, what
    it shows."""
    title, description = told
    head = element("title", "", clean(title), id=f"{name}-title")
    head += element("desc", "", escape("".join(" " if _forbidden(c) else c for c in description)), id=f"{name}-desc")
    return element(
        "svg",
        classes,
        (head, *body),
        xmlns="http://www.w3.org/2000/svg",
        id=name,
        viewBox=f"0 0 {number(size[0])} {number(size[1])}",
        width=size[0],
        height=size[1],
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
    )


def _em(character: str) -> float:
    """The width of one character, in its font's size."""
    if character in _NARROW:
        return 0.36
    if character in _THIN:
        return 0.44
    if character in _WIDE:
        return 1.0
    if character.isascii():
        return 0.74 if character.isupper() else 0.64
    if unicodedata.combining(character):
        return 0.0
    return 1.3 if unicodedata.east_asian_width(character) in "WF" or ord(character) > 0xFFFF else 0.9


def _forbidden(character: str) -> bool:
    code = ord(character)
    return code < 0x20 or 0x7F <= code < 0xA0 or 0xD800 <= code < 0xE000 or code in (0xFFFE, 0xFFFF)
