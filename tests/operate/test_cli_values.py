"""What a person types as a value: what is wrong is named by its field, beside an example."""

from __future__ import annotations

import io
import sys

import msgspec
import pytest
from shop_floor import TEA, Floor

from amends.define.values import codec_for
from amends.errors import ValueRefused
from amends.operate.cli.inputs import value_of
from amends.operate.cli.safe import safe

EXAMPLE = """for example: '{"sku":"text","quantity":1}'"""


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("{", "the input of place-order is not JSON: Expecting property name"),
        ("", "the input of place-order is not JSON: Expecting value, line 1, column 1; given: ''"),
        ("{'sku': 'tea'}", "is not JSON: Expecting property name enclosed in double quotes, line 1, column 2"),
        ("{}", "does not fit Order: Object missing required field `sku`"),
        ('{"sku": 7}', "does not fit Order: Expected `str`, got `int` - at `$.sku`"),
        ('{"sku": "tea", "quantity": "2"}', "Expected `int`, got `str` - at `$.quantity`"),
        ('{"sku": "tea", "quantiti": 2}', "does not fit Order: it has no field `$.quantiti`"),
        ("[1]", "does not fit Order: Expected `object`, got `array`"),
        ('{"sku": NaN}', "is not JSON: NaN is no JSON number"),
        ('{"sku": "tea", "quantity": 1e999}', "the input of place-order.quantity: it is not a finite number"),
        (
            '{"sku": "tea", "quantity": 73786976294838206464}',
            "the input of place-order.quantity: the integer is outside -2^63 to 2^63-1",
        ),
        ('{"sku": "\\u0000"}', "the input of place-order.sku: the text contains a NUL character"),
        ('{"sku": "\\ud800"}', "the input of place-order.sku: the text contains half a character"),
        ("[" * 100_000, "it is nested too deeply"),
    ],
)
def test_a_bad_input_names_its_field_and_shows_an_example(floor: Floor, typed: str, said: str) -> None:
    for verb in ("run", "start"):
        result = floor.amends(verb, "shop:place_order", typed)

        assert result.code == 2, result
        assert said in result.err
        assert EXAMPLE in result.err
    assert not (floor.directory / "orders.db").exists()


def test_a_missing_input_shows_the_whole_command(floor: Floor) -> None:
    plain = floor.amends("run", "shop:place_order")
    named = floor.amends("start", "shop:orchestrator", "place-order")

    assert (plain.code, named.code) == (2, 2)
    assert """amends run shop:place_order '{"sku":"text","quantity":1}'""" in plain.err
    assert """amends start shop:orchestrator place-order '{"sku":"text","quantity":1}'""" in named.err


@pytest.mark.parametrize(
    "words", [("bog\x1bus",), ("list", "--bog\x1bus"), ("list", "--status=\x1b"), ("show", "\x1b")]
)
def test_what_a_person_mistyped_is_shown_without_what_a_terminal_would_obey(
    floor: Floor, words: tuple[str, ...]
) -> None:
    result = floor.amends(*words)

    assert result.code in (2, 7)
    assert "\x1b" not in result.out + result.err


def test_a_dash_reads_the_input_from_stdin(floor: Floor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TEA.encode())))

    result = floor.ok("run", "shop:place_order", "-", "--json")

    assert result.data["result"] == {"code": "S-1"}


def test_bytes_on_stdin_that_are_no_text_are_refused(floor: Floor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"sku": "\xff"}')))

    result = floor.amends("run", "shop:place_order", "-")

    assert result.code == 2
    assert "half a character" in result.err


def test_the_same_id_with_the_same_input_is_the_same_saga_and_with_another_a_conflict(floor: Floor) -> None:
    first = floor.order("order-1")
    again = floor.amends("run", "shop:place_order", '{"quantity": 1, "sku": "tea"}', "--id=order-1")
    other = floor.amends("start", "shop:place_order", '{"sku": "coffee"}', "--id=order-1")
    strange = floor.amends("start", "shop:place_order", TEA, "--id=a\x1bb")

    assert (first.code, again.code, other.code, strange.code) == (0, 0, 5, 2)
    assert "the id 'order-1' belongs to another input of place-order" in other.err
    assert "\x1b" not in strange.err
    assert len(floor.ok("list", "--app=shop:orchestrator", "--json").data["sagas"]) == 1


def test_a_start_from_code_and_one_from_the_command_line_are_the_same(floor: Floor) -> None:
    with floor.worker():
        shop = sys.modules["shop"]
        shop.orchestrator.blocking(work=True).start(shop.trip, shop.Order("tea"), id="trip-1")
        result = floor.amends("start", "shop:trip", TEA, "--id=trip-1")

    assert result.code == 0, result


def test_start_prints_the_id_alone(floor: Floor) -> None:
    named = floor.ok("start", "shop:place_order", TEA, "--id=order-1")
    fresh = floor.ok("start", "shop:place_order", TEA)
    shape = floor.ok("start", "shop:place_order", TEA, "--id=order-2", "--json")

    assert named.out == "order-1\n"
    assert len(fresh.out) == 37
    assert shape.data == {"id": "order-2", "saga": "place-order"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ünï 日本 🙂", "plain ünï 日本 🙂"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\nb\rc\td", "a\\nb\\rc\\td"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202eevil\u2066", "\\u202eevil\\u2066"),
        ("half \ud800", "half \\ud800"),
        ("\u2028", "\\u2028"),
        ("\x7f\x00", "\\x7f\\x00"),
    ],
)
def test_what_a_terminal_would_obey_is_written_out(text: str, shown: str) -> None:
    assert safe(text) == shown


def test_line_ends_may_stay_where_they_are_ours() -> None:
    assert safe("one\ntwo\x1b", lines=True) == "one\ntwo\\x1b"


class Sparse(msgspec.Struct, omit_defaults=True):
    sku: str
    quantity: int = 1


@pytest.mark.parametrize("typed", ['[{"sku": "tea", "quantity": 1}]', '[{"sku": "tea", "quantity": 2}]'])
def test_a_field_that_is_stored_by_leaving_it_out_is_known(typed: str) -> None:
    assert value_of(typed, codec_for(list[Sparse], "the test"), "the input")[0].sku == "tea"


def test_a_misspelt_field_is_found_at_any_depth() -> None:
    typed = '[{"sku": "tea"}, {"sku": "tea", "size": 1}]'

    with pytest.raises(ValueRefused, match=r"it has no field `\$\[1\]\.size`"):
        value_of(typed, codec_for(list[Sparse], "the test"), "the input")
