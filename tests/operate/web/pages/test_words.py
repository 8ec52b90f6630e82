"""Words, bars and filters: what pages are made of, without a page."""

from __future__ import annotations

import pytest

from amends.decide.state import Action, Status, Undo
from amends.operate.values import Search, Trouble
from amends.operate.web.access import Person
from amends.operate.web.pages import filters, words
from amends.operate.web.pages.payloads import CHARACTERS_MAX, shown
from amends.operate.web.pages.spark import spark

NOW = 1_000_000.0


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.0124, "12 ms"),
        (1.25, "1.2 s"),
        (59.0, "59 s"),
        (61.0, "1 min 1 s"),
        (3600.0, "1 h"),
        (3660.0, "1 h 1 min"),
        (90_000.0, "1 d 1 h"),
        (40 * 86_400.0, "40 d"),
        (-5.0, "0 ms"),
    ],
)
def test_a_length_of_time_is_told_in_the_unit_that_says_most(seconds: float, told: str) -> None:
    assert words.span(seconds) == told


@pytest.mark.parametrize(("at", "told"), [(NOW - 1, "just now"), (NOW - 90, "1 min ago"), (NOW + 7200, "in 2 h")])
def test_an_instant_is_told_from_now(at: float, told: str) -> None:
    assert words.ago(at, NOW) == told


def test_every_status_and_trouble_there_is_has_a_tone_and_a_shape_of_its_own_kind() -> None:
    known = [*Status, *Action, *Undo, *Trouble]

    assert all(words.mark(str(word)).shape != "ring" for word in known if word not in (Action.PENDING, Undo.PENDING))
    assert words.mark("what is this").tone == "quiet"


def test_names_in_a_sentence_are_not_more_than_one_reads() -> None:
    assert words.listed(["a"]) == "a"
    assert words.listed(["a", "b", "c"]) == "a, b and c"
    assert words.listed(["a", "b", "c"], 2) == "a, b and 1 more"


def test_a_sentence_keeps_its_names_and_gets_its_end() -> None:
    assert words.capital("calls charge_card") == "Calls charge_card."
    assert words.capital("and the saga is completed") == "The saga is completed."
    assert words.capital("") == ""


def test_bars_are_as_high_as_their_values_and_the_minute_that_runs_is_lighter() -> None:
    drawn = str(spark((0, 2, 4), 'Started "&" so'))

    assert drawn.count("<rect") == 2
    assert drawn.count('class="now"') == 1
    assert 'aria-label="Started &#34;&amp;&#34; so"' in drawn
    assert "style" not in drawn


def test_filters_are_read_from_an_address_and_give_the_same_address_again() -> None:
    pairs = [("status", "parked"), ("saga", "place-order"), ("input", "sku=tea"), ("older", "2h"), ("at", "x")]

    found = filters.read(pairs, NOW)

    assert found.wrong == ()
    assert found.search == Search(
        statuses=("parked",), sagas=("place-order",), input=(("sku", "tea"),), started_before=NOW - 7200
    )
    assert found.pairs == tuple(pairs[:4])
    assert filters.read(found.pairs, NOW) == found


def test_what_is_not_understood_is_said_and_narrows_nothing() -> None:
    found = filters.read([("status", "odd"), ("trouble", "odd"), ("input", "sku"), ("newer", "long")], NOW)

    assert found.search == Search()
    assert [text.partition(":")[0] for text in found.wrong] == ["status=odd", "trouble=odd", "newer=long", "input=sku"]


def test_nobody_is_a_person_that_can_be_looked_for() -> None:
    assert filters.read([("assigned", "nobody")], NOW).search.assigned == ""
    assert filters.read([("assigned", "Ada")], NOW).search.assigned == "Ada"
    assert filters.read([], NOW).search.assigned is None


def test_a_chip_leaves_out_its_own_filter_and_no_other() -> None:
    found = filters.read([("status", "parked"), ("step", "a"), ("step", "b")], NOW)

    assert [(chip.value, chip.without) for chip in found.chips] == [
        ("a", (("status", "parked"), ("step", "b"))),
        ("b", (("status", "parked"), ("step", "a"))),
    ]


def test_a_filter_is_switched_on_and_off() -> None:
    on = filters.toggled((), "status", "parked")

    assert on == (("status", "parked"),)
    assert filters.toggled(on, "status", "parked") == ()


def test_a_payload_is_shown_in_lines_only_to_who_may_read_it_and_never_without_end() -> None:
    reader, other = Person("Ada", payloads=True), Person("Victor")
    large = b'{"a":"' + b"x" * CHARACTERS_MAX + b'"}'

    assert shown(None, reader) is None
    assert (short := shown(b'{"a":1}', reader)) is not None
    assert short.text == '{"a":1}'
    assert (long := shown(b'{"a":"' + b"x" * 90 + b'"}', reader)) is not None
    assert long.text.startswith('{\n  "a"')
    assert (cut := shown(large, reader)) is not None
    assert len(cut.text) == CHARACTERS_MAX
    assert "20,000 of" in cut.note
    assert (hidden := shown(b'{"a":1}', other)) is not None
    assert hidden.text == ""
    assert "right of its own" in hidden.hidden
