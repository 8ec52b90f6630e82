"""Journal rows: what is put together from parts is the JSON that an encoder would write."""

from __future__ import annotations

import json

import pytest

from amends.decide import events as e
from amends.decide.events import Event
from amends.run import journal

ODD = 'trip "é"/book\n[3]'
EVENTS: tuple[tuple[Event, list[object]], ...] = (
    (e.Started(b'{"sku":"chair"}', 12.5), ["started", {"sku": "chair"}, 12.5]),
    (e.Issued("book", e.ACTION), ["issued", "book", "action"]),
    (e.Issued("book", e.UNDO), ["issued", "book", "undo"]),
    (e.Begun("book", e.ACTION), ["begun", "book", "action"]),
    (e.Issued(ODD, e.ACTION), ["issued", ODD, "action"]),
    (e.Succeeded("book", b'{"id":17}'), ["succeeded", "book", {"id": 17}]),
    (e.Succeeded(ODD, b"null"), ["succeeded", ODD, None]),
    (e.Listed("hotels", (b"1", b'"b"')), ["listed", "hotels", [1, "b"]]),
    (e.Late("book", e.ACTION, "succeeded", b"null"), ["late", "book", "action", "succeeded", None]),
    (e.Late("book", e.ACTION, "rejected: no"), ["late", "book", "action", "rejected: no"]),
    (e.Closed("book", e.ACTION, "by hand", b"null"), ["closed", "book", "action", "by hand", None]),
    (e.Closed("book", e.UNDO, "by hand"), ["closed", "book", "undo", "by hand"]),
    (e.Unknown("book", "no line"), ["unknown", "book", "no line"]),
    (e.Unknown("book", "it died", lost=True), ["unknown", "book", "it died", True]),
    (e.Stuck("book", e.UNDO, "no", overdue=3), ["stuck", "book", "undo", "no", False, False, 3]),
    (e.Stuck("book", e.UNDO, "it died", lost=True), ["stuck", "book", "undo", "it died", False, False, 0, True]),
    (e.Undone("book"), ["undone", "book"]),
    (e.Completed(), ["completed"]),
)


@pytest.mark.parametrize("at", [0.0, 1_764_112_265.123456, 1e-9, 1e22])
def test_a_row_is_the_json_of_its_instant_its_worker_and_its_events(at: float) -> None:
    row = journal.encode(at, 7, [event for event, _ in EVENTS])

    assert json.loads(row) == [at, 7, [written for _, written in EVENTS]]


@pytest.mark.parametrize("count", range(len(EVENTS) + 1))
def test_a_row_reads_back_as_what_was_written(count: int) -> None:
    events = tuple(event for event, _ in EVENTS[:count])

    assert journal.decode(journal.encode(1.5, 7, events)) == (1.5, 7, events)
