"""The tables of `docs/reference/events.md`, which the code knows itself.

    python -m amends.operate.events_reference docs/reference/events.md

writes them between two marks of that page; a test says when that is due.

Guarantees: the same code gives the same text.
Must not: be imported by anything that runs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from amends.observe.events import NAMES, About
from amends.observe.metrics import METRICS
from amends.observe.registry import Spec
from amends.operate.web.measures import GAUGES

START = "<!-- generated: what the code says of itself -->\n"
END = "<!-- end of what is generated -->\n"


def reference() -> str:
    """Events and metrics, as Markdown."""
    return "\n".join(_parts()) + "\n"


def written(page: str) -> str:
    """A page with the tables as they are now."""
    before, _, rest = page.partition(START)
    return f"{before}{START}{reference()}{END}{rest.partition(END)[2]}"


def _parts() -> Iterator[str]:
    yield "\n## Events\n\n| name | class and fields | what it says |\n|---|---|---|"
    for kind, name in NAMES.items():
        fields = ", ".join(kind._fields)
        yield f"| `{name}` | `{kind.__name__}({fields})` | {_text(kind.__doc__)} |"
    yield f"\n`About({', '.join(About._fields)})` says which saga. {_text(About.__doc__)}"
    yield "\n## Metrics of a process\n\nWhat `Metrics()` counts, and `amends worker --metrics` serves."
    yield from _metrics(METRICS)
    yield "\n## Metrics of the database\n"
    yield "What the dashboard serves at `/metrics`: how all sagas fare, whoever runs them."
    yield from _metrics(GAUGES)


def _metrics(specs: Sequence[Spec]) -> Iterator[str]:
    yield "\n| name | kind | labels | what it counts |\n|---|---|---|---|"
    for spec in specs:
        labels = ", ".join(f"`{label}`" for label in spec.labels)
        yield f"| `{spec.name}` | {spec.kind} | {labels} | {spec.help} |"


def _text(documented: str | None) -> str:
    """A docstring in one line."""
    return " ".join((documented or "").split()).replace("|", "\\|")


if __name__ == "__main__":
    page: Path = Path(sys.argv[1])
    page.write_text(written(page.read_text()))
