"""A saga's history as lines for people.

Guarantees: one line per event, in order; payloads are not shown.
Must not: be parsed by anything.
"""

from __future__ import annotations

from collections.abc import Iterable

from amends.run import journal


def timeline(rows: Iterable[bytes]) -> list[str]:
    """The events of some journal rows, with the time since the first."""
    lines: list[str] = []
    start: float | None = None
    for seq, row in enumerate(rows):
        at, worker, events = journal.decode(row)
        start = at if start is None else start
        for event in events:
            fields = ", ".join(
                f"{name}={value}"
                for name, value in zip(event._fields, event, strict=True)
                if value not in (None, "", False, 0) and not isinstance(value, (bytes, tuple))
            )
            lines.append(f"{at - start:9.3f}  {seq:4} w{worker}  {type(event).__name__}({fields})")
    return lines
