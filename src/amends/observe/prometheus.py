"""Metrics as text: what Prometheus, and all that speaks its formats, reads.

Guarantees: the text is in the format 0.0.4, or in OpenMetrics 1.0 where that is asked for; whatever a label has in it,
it stays within its quotes.
Must not: count.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf, isnan

from amends.observe.registry import Family, Sample

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def exposition(families: Sequence[Family], *, openmetrics: bool = False) -> str:
    """The text. Families of one name are put together, as the formats want it."""
    lines = list(_lines(_together(families), openmetrics=openmetrics))
    if openmetrics:
        lines.append("# EOF")
    return "".join(f"{line}\n" for line in lines)


def accepts_openmetrics(accept: str) -> bool:
    """Whether whoever asks wants OpenMetrics, by the header `Accept`."""
    return "application/openmetrics-text" in accept


def _together(families: Sequence[Family]) -> list[Family]:
    found: dict[str, Family] = {}
    for family in families:
        known = found.get(family.spec.name)
        samples = family.samples if known is None else known.samples + family.samples
        found[family.spec.name] = Family(family.spec, _distinct(samples))
    return sorted(found.values(), key=lambda family: family.spec.name)


def _distinct(samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
    """One number for a series: of several of the same, the last."""
    return tuple({(sample.suffix, sample.labels): sample for sample in samples}.values())


def _lines(families: Sequence[Family], *, openmetrics: bool) -> Iterator[str]:
    for spec, samples in families:
        name = spec.name.removesuffix("_total") if openmetrics and spec.kind == "counter" else spec.name
        yield f"# HELP {name} {_help(spec.help, openmetrics=openmetrics)}"
        yield f"# TYPE {name} {spec.kind}"
        for suffix, labels, value in samples:
            yield f"{spec.name}{suffix}{_labels(labels)} {_number(value)}"


def _labels(labels: tuple[tuple[str, str], ...]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_quoted(value)}"' for name, value in labels) + "}"


def _quoted(value: str) -> str:
    return _help(value, openmetrics=True)


def _help(text: str, *, openmetrics: bool) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if openmetrics else text


def _number(value: float) -> str:
    if isnan(value):
        return "NaN"
    if value in (inf, -inf):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)
