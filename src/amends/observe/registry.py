"""Counters, gauges and histograms, and no more than that.

Guarantees: a counter or a histogram without labels is there from the beginning, with 0: of one that appears with its
first event, Prometheus sees no increase. No family has more than `SERIES_MAX` series; what comes beyond them is
counted together, under the label values `…`, so that nobody's names can fill a memory.
Must not: know what is counted, nor lock: whoever holds it does.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import NamedTuple

SERIES_MAX = 2000
OVERFLOW = "…"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
LONG_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 60.0, 600.0, 3600.0, 86400.0)
MANY = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)


class Spec(NamedTuple):
    """What a metric is. kind: counter, gauge or histogram. labels: their names. buckets: of a histogram, upper bounds.
    A counter's name ends with `_total`, and a unit stands before that."""

    name: str
    kind: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


class Sample(NamedTuple):
    """One number. suffix: what follows the metric's name. labels: with their values."""

    suffix: str
    labels: tuple[tuple[str, str], ...]
    value: float


class Family(NamedTuple):
    """A metric with all its numbers at an instant."""

    spec: Spec
    samples: tuple[Sample, ...]


class Number:
    """A counter or a gauge."""

    __slots__ = ("_values", "spec")

    def __init__(self, spec: Spec) -> None:
        self.spec: Spec = spec
        self._values: dict[tuple[str, ...], float] = {}
        if spec.kind == "counter" and not spec.labels:
            self.add((), 0.0)

    def add(self, labels: tuple[str, ...], amount: float = 1.0) -> None:
        """Count. labels: the values, in the order of the specification."""
        values = self._values
        if labels not in values and len(values) >= SERIES_MAX:
            labels = (OVERFLOW,) * len(labels)
        values[labels] = values.get(labels, 0.0) + amount

    def set(self, labels: tuple[str, ...], value: float) -> None:
        """Of a gauge: what it is now."""
        if labels not in self._values and len(self._values) >= SERIES_MAX:
            return  # several cannot be one
        self._values[labels] = value

    def drop(self, labels: tuple[str, ...]) -> None:
        """Of a gauge: there is nothing any more that it would be about."""
        self._values.pop(labels, None)

    def value(self, *labels: str) -> float:
        """What it is; 0 where nothing was counted."""
        return self._values.get(labels, 0.0)

    def family(self) -> Family:
        """All its numbers."""
        names = self.spec.labels
        return Family(
            self.spec,
            tuple(Sample("", tuple(zip(names, labels, strict=True)), v) for labels, v in self._values.items()),
        )


class Histogram:
    """How often something took how long, or was how large."""

    __slots__ = ("_values", "spec")

    def __init__(self, spec: Spec) -> None:
        self.spec: Spec = spec
        self._values: dict[tuple[str, ...], list[float]] = {}  # per bucket, then beyond them; last the sum
        if not spec.labels:
            self._counts(())

    def observe(self, labels: tuple[str, ...], value: float) -> None:
        """Count one."""
        counts = self._values.get(labels) or self._counts(labels)
        counts[bisect_left(self.spec.buckets, value)] += 1.0
        counts[-1] += value

    def count(self, *labels: str) -> float:
        """How many there were."""
        return sum(self._values.get(labels, [0.0])[:-1])

    def family(self) -> Family:
        """All its numbers."""
        return Family(self.spec, tuple(self._samples()))

    def _counts(self, labels: tuple[str, ...]) -> list[float]:
        if len(self._values) >= SERIES_MAX:
            labels = (OVERFLOW,) * len(labels)
        return self._values.setdefault(labels, [0.0] * (len(self.spec.buckets) + 2))

    def _samples(self) -> Iterator[Sample]:
        for values, counts in self._values.items():
            labels = tuple(zip(self.spec.labels, values, strict=True))
            total = 0.0
            for bound, count in zip((*map(_bound, self.spec.buckets), "+Inf"), counts, strict=False):
                total += count
                yield Sample("_bucket", (*labels, ("le", bound)), total)
            yield Sample("_sum", labels, counts[-1])
            yield Sample("_count", labels, total)


def gauges(spec: Spec, values: Sequence[tuple[tuple[str, ...], float]]) -> Family:
    """A gauge that was asked just now."""
    found = (Sample("", tuple(zip(spec.labels, labels, strict=True)), value) for labels, value in values[:SERIES_MAX])
    return Family(spec, tuple(found))


def _bound(bound: float) -> str:
    return repr(float(bound))
