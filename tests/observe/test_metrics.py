"""What happens is counted under documented names, with few labels, in text that Prometheus reads."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
from engine import Order, virtually
from onlooker import LEASE, watched
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics_parser

from amends import Reject, Saga, for_each, step
from amends.decide.events import Phase
from amends.observe import events as o
from amends.observe.events import About
from amends.observe.metrics import Metrics
from amends.observe.prometheus import accepts_openmetrics, exposition
from amends.observe.registry import OVERFLOW, SERIES_MAX, Family, Histogram, Number, Sample, Spec, gauges

ABOUT = About("default", "trip", "one", bytes(16))
text_families: Any = parser.text_string_to_metric_families  # it has no types
openmetrics_families: Any = openmetrics_parser.text_string_to_metric_families


@step
async def book(order: Order) -> int:
    """A step."""
    return order.cents


@book.compensation
async def unbook() -> None:
    """Undo it."""


@step
async def pack(item: int) -> None:
    """Nothing odd is packed."""
    if item % 2:
        raise Reject("odd")


@pack.compensation
async def unpack(item: int) -> None:
    """Undo it."""


trip = Saga("trip", book, for_each(pack, over=lambda order: [2, 4, order.cents]), input=Order)


@pytest.fixture(scope="module")
def metrics() -> Metrics:
    """Of two sagas: one that completes and one that goes back."""
    counted = Metrics()

    async def main() -> None:
        async with watched(trip, by=counted, settings=LEASE) as orchestrator:
            await orchestrator.run(trip, Order(6))
            await orchestrator.run(trip, Order(7))

    virtually(main())
    return counted


def test_sagas_and_how_they_ended_are_counted(metrics: Metrics) -> None:
    assert metrics.value("amends_sagas_started_total", "trip") == 2
    assert metrics.value("amends_sagas_ended_total", "trip", "completed") == 1
    assert metrics.value("amends_sagas_ended_total", "trip", "compensated") == 1
    assert metrics.value("amends_sagas_turned_back_total", "trip", "rejected") == 1
    assert metrics.value("amends_saga_seconds", "trip", "completed") == 1


def test_items_are_counted_together_whatever_their_number(metrics: Metrics) -> None:
    assert metrics.value("amends_step_attempts_total", "trip", "pack[]", "action", "succeeded") == 5
    assert metrics.value("amends_step_attempts_total", "trip", "pack[]", "action", "rejected") == 1
    assert metrics.value("amends_step_attempts_total", "trip", "pack[]", "undo", "succeeded") == 2


def test_when_all_is_over_nothing_is_in_flight(metrics: Metrics) -> None:
    assert metrics.value("amends_attempts_in_flight", "trip", "action") == 0
    assert metrics.value("amends_attempts_in_flight", "trip", "undo") == 0
    assert metrics.value("amends_commit_writes") > 2


def samples(metrics: Metrics, *, openmetrics: bool) -> Iterator[tuple[str, frozenset[tuple[str, str]], float]]:
    """What Prometheus's own parser reads."""
    text = exposition(metrics.families(), openmetrics=openmetrics)
    for family in openmetrics_families(text) if openmetrics else text_families(text):
        for sample in family.samples:
            yield sample.name, frozenset(sample.labels.items()), sample.value


@pytest.mark.parametrize("openmetrics", [False, True])
def test_prometheus_reads_every_number_as_it_is(metrics: Metrics, *, openmetrics: bool) -> None:
    found = {(name, labels): value for name, labels, value in samples(metrics, openmetrics=openmetrics)}

    for family in metrics.families():
        for suffix, labels, value in family.samples:
            assert found[family.spec.name + suffix, frozenset(labels)] == value


def test_the_buckets_of_a_histogram_hold_all_that_is_smaller(metrics: Metrics) -> None:
    text = exposition(metrics.families())
    [family] = [family for family in text_families(text) if family.name == "amends_commit_writes"]
    buckets = [sample.value for sample in family.samples if sample.name.endswith("_bucket")]

    assert buckets == sorted(buckets)
    assert buckets[-1] == metrics.value("amends_commit_writes")


STRANGE = ['a"b', "a\nb", "a\\b", 'a\\"b\n', "\N{SNOWMAN}", ""]


@pytest.mark.parametrize("openmetrics", [False, True])
@pytest.mark.parametrize("strange", STRANGE)
def test_no_label_breaks_out_of_its_quotes(strange: str, *, openmetrics: bool) -> None:
    spec = Spec("amends_x_total", "counter", 'Help with "quotes"\nand \\ lines.', ("of",))
    text = exposition([Family(spec, (Sample("", (("of", strange),), 1.0),))], openmetrics=openmetrics)
    parsed = list(openmetrics_families(text) if openmetrics else text_families(text))

    [sample] = parsed[0].samples
    assert sample.labels == {"of": strange}


@pytest.mark.parametrize(("value", "text"), [(math.inf, "+Inf"), (-math.inf, "-Inf"), (math.nan, "NaN"), (0.5, "0.5")])
def test_numbers_that_are_none_are_written_as_prometheus_does(value: float, text: str) -> None:
    spec = Spec("amends_x", "gauge", "Something.")

    assert exposition([Family(spec, (Sample("", (), value),))]).splitlines()[-1] == f"amends_x {text}"


def test_families_of_one_name_are_put_together_and_the_last_number_stands() -> None:
    spec = Spec("amends_x", "gauge", "Something.", ("of",))
    text = exposition([gauges(spec, [(("a",), 1.0), (("b",), 2.0)]), gauges(spec, [(("a",), 3.0)])])

    assert text.count("# TYPE amends_x gauge") == 1
    assert 'amends_x{of="a"} 3\n' in text
    assert 'amends_x{of="b"} 2\n' in text


def test_openmetrics_is_written_for_whoever_asks_for_it() -> None:
    assert accepts_openmetrics("application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert not accepts_openmetrics("*/*")


def test_however_many_names_there_are_the_memory_is_bounded() -> None:
    number = Number(Spec("amends_x_total", "counter", "Something.", ("of",)))
    times = Histogram(Spec("amends_y", "histogram", "Something.", ("of",), (1.0,)))

    for index in range(SERIES_MAX + 50):
        number.add((str(index),))
        times.observe((str(index),), 0.5)
        number.set((str(index),), 1.0)

    assert len(number.family().samples) == SERIES_MAX + 1
    assert number.value(OVERFLOW) == 50
    assert times.count(OVERFLOW) == 50
    assert sum(sample.value for sample in number.family().samples) == SERIES_MAX + 50


def test_a_worker_that_is_gone_holds_nothing() -> None:
    metrics = Metrics()

    metrics(o.WorkerLooked(7, 1.0, 40))
    held = metrics.value("amends_sagas_held", "7")
    metrics(o.WorkerLeft(7, 2.0))

    assert (held, metrics.value("amends_sagas_held", "7")) == (40, 0)
    assert not any(family.samples for family in metrics.families() if family.spec.name == "amends_sagas_held")


HANDLED = ("stock", "stock.reserve", "reserve", Phase.ACTION, 1, 1)
COUNTED: list[tuple[Any, str, tuple[str, ...]]] = [
    (o.SagaParked(ABOUT, 1.0), "amends_sagas_parked_total", ("trip",)),
    (o.SagaResumed(ABOUT, 1.0, False), "amends_sagas_resumed_total", ("trip",)),
    (o.SagaAdopted(ABOUT, 1.0, 3, 1), "amends_sagas_adopted_total", ("trip",)),
    (o.RetryScheduled(ABOUT, 1.0, "book", Phase.UNDO, 1, 2.0), "amends_step_retries_total", ("trip", "book", "undo")),
    (o.StepStuck(ABOUT, 1.0, "book", Phase.UNDO), "amends_steps_stuck_total", ("trip", "book", "undo")),
    (o.SignalTaken(ABOUT, 1.0, "word", True), "amends_signals_total", ("trip", "word")),
    (o.ActTaken(ABOUT, 1.0, "skip", "book"), "amends_acts_total", ("trip", "skip")),
    (o.AskRefused(ABOUT, 1.0, "cancel"), "amends_asks_refused_total", ("trip", "cancel")),
    (o.AnswerLate(ABOUT, 1.0, "book", Phase.ACTION), "amends_late_answers_total", ("trip",)),
    (o.LeaseRenewed(1, 1.0), "amends_lease_renewals_total", ()),
    (o.WorkerRetired(1, 1.0), "amends_worker_retirements_total", ()),
    (o.WorkerRegistered(1, 1.0, 15.0), "amends_worker_registrations_total", ()),
    (o.WriteFailed(1, 1.0), "amends_commit_failures_total", ()),
    (
        o.CommandSent(ABOUT, 1.0, "reserve", Phase.ACTION, 1, 1, "stock.reserve"),
        "amends_commands_sent_total",
        ("trip", "stock.reserve", "action"),
    ),
    (o.HandlerBegan(ABOUT, 1.0, *HANDLED), "amends_commands_in_flight", ("stock",)),
    (
        o.HandlerEnded(ABOUT, 1.0, *HANDLED, 0.5, "succeeded", "replay"),
        "amends_commands_repeated_total",
        ("stock", "stock.reserve", "action", "replay"),
    ),
    (o.HopSent(ABOUT, 1.0, "stock", "bank", "pay", Phase.ACTION), "amends_hops_total", ("stock", "trip", "bank")),
    (o.EventPublished("stock", 1.0, "stock.empty", 0.1), "amends_event_lag_seconds", ("stock",)),
    (o.MessageBuried("stock", 1.0), "amends_messages_buried_total", ("stock",)),
]


@pytest.mark.parametrize(("event", "name", "labels"), COUNTED, ids=[type(event).__name__ for event, *_ in COUNTED])
def test_each_event_is_counted_once_under_its_name(event: Any, name: str, labels: tuple[str, ...]) -> None:
    metrics = Metrics()

    metrics(event)

    assert metrics.value(name, *labels) == 1


def test_what_is_not_counted_is_no_error() -> None:
    metrics = Metrics()

    metrics(o.SagaRequested(ABOUT, 1.0))

    assert metrics.families() == Metrics().families()


def series(metrics: Metrics) -> dict[str, float]:
    """All that there is, as it is written."""
    lines = [line for line in exposition(metrics.families()).splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_what_has_no_labels_is_there_before_it_happens() -> None:
    """Of a counter that appears with 1, Prometheus sees no increase: whoever alerts on that would miss the first."""
    found = series(Metrics())

    assert found["amends_worker_retirements_total"] == found["amends_commit_failures_total"] == 0
    assert found["amends_commit_writes_count"] == found['amends_commit_seconds_bucket{le="+Inf"}'] == 0


def test_what_may_befall_a_saga_is_there_once_one_was_started() -> None:
    metrics = Metrics()
    metrics(o.SagaStarted(ABOUT, 1.0))

    found = series(metrics)
    metrics(o.SagaParked(ABOUT, 2.0))
    metrics(o.SagaStarted(ABOUT, 3.0))

    kinds = ("sagas_parked", "sagas_resumed", "sagas_adopted", "late_answers")
    assert [found[f'amends_{kind}_total{{saga="trip"}}'] for kind in kinds] == [0, 0, 0, 0]
    assert metrics.value("amends_sagas_parked_total", "trip") == 1
