"""JSON Schemas of contracts: what is sent fits them, in every document and whatever the classes are called."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pydantic
import pytest
from goods import KINDS
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from amends.define.schemas import Definitions
from amends.define.values import codec_for


@dataclass(frozen=True)
class Plain:
    number: int


@dataclass(frozen=True)
class Other:
    text: str


class Leaf(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    number: int


class Tree(pydantic.BaseModel):
    leaf: Leaf
    inner: list[Tree] = []


class Amount(pydantic.RootModel[int]):
    pass


@dataclass
class Chain:
    """Contains itself through a union, and models beside it."""

    value: Plain | Other | Tree
    next: Chain | Other | None = None


def document(type_: Any) -> dict[str, Any]:
    """The schema of a type, as a document of its own."""
    definitions = Definitions()
    schema = codec_for(type_, "the test").shape.json_schema(definitions)
    found = {**schema, "$defs": definitions.found}
    Draft202012Validator.check_schema(found)
    return found


def errors(type_: Any, data: object) -> list[str]:
    """What does not fit."""
    return [error.message for error in Draft202012Validator(document(type_)).iter_errors(data)]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_fits_the_schema(kind: str) -> None:
    type_, values = KINDS[kind]
    codec = codec_for(type_, "the test")
    checker = Draft202012Validator(document(type_))

    @settings(max_examples=25, deadline=None)
    @given(values)
    def check(value: Any) -> None:
        payload, _ = codec.admit(value, "it")
        assert [error.message for error in checker.iter_errors(json.loads(payload))] == []

    check()


VALUES = [
    (Plain | Other, Plain(1)),
    (Plain | Other | None, None),
    (Plain | Leaf, Leaf(number=1)),
    (Leaf | Tree, Tree(leaf=Leaf(number=1), inner=[Tree(leaf=Leaf(number=2))])),
    (Plain | Amount, Amount(3)),
    (Chain, Chain(Plain(1), Chain(Tree(leaf=Leaf(number=1)), Other("end")))),
    (Tree, Tree(leaf=Leaf(number=1), inner=[Tree(leaf=Leaf(number=2))])),
    (list[Plain | Other], [Plain(1), Other("x")]),
    (dict[int, Plain | Other], {3: Plain(1)}),
    (tuple[Plain | Other, int], (Plain(1), 3)),
]


@pytest.mark.parametrize(("type_", "value"), VALUES, ids=[str(index) for index in range(len(VALUES))])
def test_unions_models_and_classes_in_themselves_fit_too(type_: Any, value: Any) -> None:
    payload, _ = codec_for(type_, "the test").admit(value, "it")

    assert errors(type_, json.loads(payload)) == []


@pytest.mark.parametrize(
    ("type_", "wrong"),
    [
        (Plain, {"number": "3"}),
        (Plain, {}),
        (Plain | Other, {"number": 3}),
        (Plain | Other, {"$type": "Other", "number": 3}),
        (Plain | Leaf, {"$type": "Leaf", "number": 1, "more": 2}),
        (Plain | Amount, {"$type": "Amount", "$": "three"}),
        (Chain, {"value": {"$type": "Plain", "number": 1}, "next": {"$type": "Chain", "value": 3}}),
        (Chain, {"next": None}),
        (Tree, {"leaf": {"number": 1}, "inner": [{"leaf": {"number": "x"}}]}),
        (tuple[Plain | Other, int], [{"$type": "Plain", "number": 1}]),
        (dict[str, Plain | Other], {"a": 3}),
    ],
)
def test_what_could_not_be_read_does_not_fit(type_: Any, wrong: object) -> None:
    assert errors(type_, wrong) != []


def test_the_example_of_a_type_fits_its_schema() -> None:
    for type_ in (Plain, Plain | Other, Chain, list[Plain | Other]):
        assert errors(type_, codec_for(type_, "the test").shape.example(0)) == []


def test_two_classes_of_one_name_have_two_definitions() -> None:
    def another() -> Any:
        @dataclass
        class Plain:
            text: str

        return Plain

    definitions = Definitions("#/components/schemas/")
    first = codec_for(Plain, "the test").shape.json_schema(definitions)
    second = codec_for(another(), "the test").shape.json_schema(definitions)
    again = codec_for(list[Plain], "the test").shape.json_schema(definitions)

    assert (first, second) == ({"$ref": "#/components/schemas/Plain"}, {"$ref": "#/components/schemas/Plain-2"})
    assert again["items"] == first
    assert definitions.found["Plain"]["properties"] == {"number": {"type": "integer"}}
    assert definitions.found["Plain-2"]["properties"] == {"text": {"type": "string"}}


def test_names_of_definitions_are_taken_by_every_tool() -> None:
    class Box(pydantic.BaseModel):
        inner: list[Leaf]

    definitions = Definitions()
    codec_for(dict[str, Box], "the test").shape.json_schema(definitions)

    assert all(name.replace("_", "").replace("-", "").isalnum() for name in definitions.found)
    assert "$defs" not in json.dumps([*definitions.found.values()]).replace('"#/$defs/', "")


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(sorted(KINDS)), st.sampled_from(sorted(KINDS)))
def test_types_share_a_document(one: str, other: str) -> None:
    definitions = Definitions("#/components/schemas/")
    shapes = [codec_for(KINDS[kind][0], "the test").shape for kind in (one, other)]

    schemas = [shape.json_schema(definitions) for shape in shapes]
    before = json.dumps(definitions.found, sort_keys=True)

    assert [shape.json_schema(definitions) for shape in shapes] == schemas
    assert json.dumps(definitions.found, sort_keys=True) == before, "the same again adds nothing"
