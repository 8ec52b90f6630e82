"""The contract of what whoever observes is told: every event has a name and is documented, and none has a payload."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from amends.observe.events import NAMES, About, Event
from amends.observe.metrics import METRICS
from amends.observe.registry import Spec
from amends.operate.events_reference import written
from amends.operate.web.measures import GAUGES

ROOT = Path(__file__).parents[2]
KINDS = get_args(Event)
STABLE = (
    "saga.requested saga.started saga.turned_back saga.parked saga.resumed saga.ended saga.adopted saga.moved "
    "attempt.began command.sent attempt.ended retry.scheduled step.stuck signal.taken act.taken ask.refused "
    "answer.late worker.registered worker.looked lease.renewed worker.retired worker.left batch.written write.failed "
    "handler.began handler.ended event.began event.ended hop.sent event.published message.buried"
)


def test_every_event_has_a_name_of_its_own_that_stays() -> None:
    assert " ".join(NAMES.values()) == STABLE
    assert len(set(NAMES.values())) == len(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_an_event_says_when_and_what_it_means_and_has_no_payload(kind: type[Event]) -> None:
    hints = get_type_hints(kind)

    assert hints["at"] is float
    assert kind.__doc__ is not None
    assert not kind.__doc__.startswith(f"{kind.__name__}("), "the docstring is the one that named tuples have anyhow"
    assert bytes not in hints.values()
    assert not {"reason", "result", "input", "data", "value"} & set(hints), "a word of it may quote a payload"


def test_the_page_says_what_the_code_says() -> None:
    page = (ROOT / "docs" / "reference" / "events.md").read_text()

    assert page == written(page), "write it anew: python -m amends.operate.events_reference docs/reference/events.md"


def test_a_saga_was_made_when_its_id_says() -> None:
    made = 1_764_190_000.123
    saga = (int(made * 1000) << 80).to_bytes(16, "big")

    assert About("default", "trip", "one", saga).made_at == pytest.approx(made, abs=0.001)


@pytest.mark.parametrize("spec", METRICS)
def test_a_metric_is_named_by_the_rules(spec: Spec) -> None:
    assert spec.name.startswith("amends_")
    assert spec.name.endswith("_total") == (spec.kind == "counter")
    assert bool(spec.buckets) == (spec.kind == "histogram")
    assert not {"saga_id", "key", "id"} & set(spec.labels), "as many series as there are sagas"


def test_the_dashboard_asks_for_metrics_that_there_are() -> None:
    text = (ROOT / "examples" / "observe" / "grafana.json").read_text()
    board = json.loads(text)
    asked = {target["expr"] for panel in board["panels"] for target in panel.get("targets", [])}
    suffixes = ("", "_bucket", "_sum", "_count")
    names = {spec.name + suffix for spec in (*METRICS, *GAUGES) for suffix in suffixes}

    assert asked
    for expression in asked:
        assert any(name in expression for name in names), expression
