"""Rates as a row of little bars: a minute each, drawn by the server.

Guarantees: pure; the drawing has no text but its title, which says what the bars say.
Must not: know what is counted.
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

WIDTH, HEIGHT, GAP = 240.0, 44.0, 1.0


def spark(values: Sequence[float], label: str) -> Markup:
    """Bars for values, oldest first; the last one is not over yet and is drawn lighter."""
    most = max([*values, 1.0])
    step = WIDTH / max(len(values), 1)
    bars = [
        _bar(index * step, step - GAP, value / most, index == len(values) - 1)
        for index, value in enumerate(values)
        if value > 0
    ]
    foot = f'<line x1="0" x2="{WIDTH:g}" y1="{HEIGHT - 0.5:g}" y2="{HEIGHT - 0.5:g}"/>'
    head = f'<svg class="spark" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" preserveAspectRatio="none" role="img"'
    return Markup(f'{head} aria-label="{escape(label)}">{foot}{"".join(bars)}</svg>')  # noqa: S704  # escaped above


def _bar(x: float, width: float, share: float, now: bool) -> str:
    height = max(share * (HEIGHT - 2), 1.5)
    kind = ' class="now"' if now else ""
    return f'<rect{kind} x="{x:.2f}" y="{HEIGHT - height:.2f}" width="{width:.2f}" height="{height:.2f}"/>'
