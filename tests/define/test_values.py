"""What can be stored comes back as it was; equal values are equal bytes; a schema says what values look like."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import attrs
import msgspec
import pytest
from goods import KINDS, Customer, Ledger, Order, Paid, Refused
from hypothesis import given, settings
from hypothesis import strategies as st

from amends.define.values import Codec, codec_for

HERE = Path(__file__).parent


def codec(type_: Any) -> Codec[Any]:
    """The codec of a type."""
    return codec_for(type_, "the test")


CODECS = {name: codec(type_) for name, (type_, _) in KINDS.items()}


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_value_comes_back_as_it_was(kind: str, data: st.DataObject) -> None:
    value = data.draw(KINDS[kind][1])

    payload, back = CODECS[kind].admit(value, "the value")

    assert back == value
    assert type(back) is type(value)
    assert CODECS[kind].decode(payload) == value


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_equal_values_are_equal_bytes(kind: str, data: st.DataObject) -> None:
    value = data.draw(KINDS[kind][1])

    payload, back = CODECS[kind].admit(value, "the value")

    assert CODECS[kind].admit(back, "the value")[0] == payload
    json.loads(payload)


@pytest.mark.parametrize("kind", KINDS)
def test_the_example_of_a_type_can_be_read(kind: str) -> None:
    example = CODECS[kind].example()

    CODECS[kind].decode(example.encode())


def test_the_order_of_a_set_or_dict_does_not_matter() -> None:
    words = [f"word-{number}" for number in range(50)]
    forward, backward = set(words), {f"word-{number}" for number in range(49, -1, -1)}

    assert codec(set[str]).admit(forward, "")[0] == codec(set[str]).admit(backward, "")[0]
    assert codec(dict[str, int]).admit({"a": 1, "b": 2}, "")[0] == codec(dict[str, int]).admit({"b": 2, "a": 1}, "")[0]
    assert codec(Ledger).admit(Ledger(Paid(1)), "")[0] == codec(Ledger).admit(Ledger(Paid(1)), "")[0]


def test_a_union_is_written_with_the_name_of_the_class() -> None:
    payload, _ = codec(Paid | Refused).admit(Refused("no"), "the answer")

    assert json.loads(payload) == {"$type": "Refused", "reason": "no", "cents": 0}


def test_a_model_is_written_by_field_names_whatever_its_aliases() -> None:
    payload, _ = codec(Customer).admit(Customer(fullName="Ada"), "the customer")

    assert json.loads(payload) == {"full_name": "Ada", "born": None, "tags": []}


def test_an_admitted_value_is_a_copy() -> None:
    ledger = Ledger(Paid(1))

    _, back = codec(Ledger).admit(ledger, "the ledger")
    ledger.all.append(Paid(2))

    assert back.all == []


def test_only_what_cannot_change_is_shared_between_readers() -> None:
    assert codec(Paid).shared
    assert codec(tuple[Paid, ...]).shared
    assert codec(frozenset[Paid | Refused]).shared
    assert not codec(list[Paid]).shared
    assert not codec(Ledger).shared
    assert not codec(Order).shared
    assert not codec(Any).shared


# Schemas


def test_a_schema_knows_no_docstrings_defaults_or_descriptions() -> None:
    def plain() -> type:
        @dataclass
        class Goods:
            description: int
            title: str = ""

        return Goods

    def wordy() -> type:
        @dataclass
        class Goods:
            """All about goods."""

            description: Annotated[int, msgspec.Meta(description="How many.", examples=[3])]
            title: str = "untitled"

        return Goods

    assert codec(plain()).schema == codec(wordy()).schema


def test_a_schema_knows_fields_types_and_what_is_required() -> None:
    def build(fields: dict[str, Any], default: bool = False) -> str:
        body = {"__annotations__": fields, **({"number": 3} if default else {})}
        return codec(dataclass(type("Goods", (), body))).schema

    schemas = {
        build({"number": int}),
        build({"number": str}),
        build({"other": int}),
        build({"number": int}, default=True),
        build({"number": int | None}),
        build({"number": list[int]}),
        build({"number": Paid | Refused}),
        build({"number": Paid | Customer}),
    }

    assert len(schemas) == 8


@dataclass
class Parcel:
    """A dataclass that keeps its values in a dictionary, with a default that its class holds."""

    sku: str
    count: int = 1
    notes: list[str] = field(default_factory=list)


@attrs.define
class Crate:
    """A class of another kind around one."""

    parcel: Parcel


@dataclass(frozen=True)
class Load:
    """Parcels, in every place where a value may stand."""

    first: Parcel
    crate: Crate
    rest: list[Parcel]
    named: dict[str, Parcel | None]
    either: Parcel | Refused


def test_a_dataclass_that_was_decoded_without_its_defaults_is_written_as_one_that_was_built() -> None:
    """A start from a web framework's decoded input is the same saga as one from code."""
    one = '{"sku": "tea"}'
    text = (
        f'{{"first": {one}, "crate": {{"parcel": {one}}}, "rest": [{one}], "named": {{"a": {one}, "b": null}}, '
        '"either": {"$type": "Parcel", "sku": "tea"}}'
    )
    built = Load(Parcel("tea"), Crate(Parcel("tea")), [Parcel("tea")], {"a": Parcel("tea"), "b": None}, Parcel("tea"))
    decoded = codec(Load).decode(text.encode())

    assert decoded == built
    assert codec(Load).admit(decoded, "the value")[0] == codec(Load).admit(built, "the value")[0]
    parcel = codec(Parcel).decode(one.encode())
    assert codec(Parcel).admit(parcel, "the value")[0] == b'{"sku":"tea","count":1,"notes":[]}'


def test_a_schema_is_the_same_in_every_process() -> None:
    """Neither the order of sets nor the seed of hashes is in it."""
    program = (
        "import goods, test_values;"
        "print([test_values.codec(kind).schema for kind, _ in goods.KINDS.values()], "
        "test_values.codec(test_values.Tagged).schema)"
    )
    command = [sys.executable, "-c", program]
    runs = {
        subprocess.run(
            command,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(HERE)},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2", "3")
    }

    assert len(runs) == 1


@dataclass
class Tagged:
    """Its default is a set: a default's order must not reach the schema."""

    tags: frozenset[str] = frozenset({"red", "green", "blue"})
    more: set[str] = field(default_factory=lambda: {"x", "y"})
