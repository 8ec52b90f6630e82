"""Marked fields: where they are found in a type, and what a payload looks like without them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, make_dataclass
from typing import Annotated, Any, Generic, NamedTuple, NewType, NotRequired, TypedDict, TypeVar

import attrs
import msgspec
import pydantic
import pytest

from amends import Saga, Secret, Service, for_each, pivot, secret, step, wait_for
from amends.decide.plan import Marked, from_json
from amends.define.secret import found, hidden, secrets_of
from amends.define.values import codec_for
from amends.errors import DefinitionError, ValueRefused

T = TypeVar("T")
Pin = NewType("Pin", Secret[str])  # a marked type has a name of its own


@dataclass(frozen=True)
class Card:
    number: Secret[str]
    month: int = 1


@dataclass(frozen=True)
class Cash:
    coins: int


@attrs.define
class Shelf:
    label: Annotated[str, secret]


class Row(NamedTuple):
    name: str
    pin: Secret[int]


class Typed(TypedDict):
    pin: NotRequired[Secret[str]]
    other: str


class Renamed(msgspec.Struct, rename="camel"):
    pin_code: Secret[str]


class Array(msgspec.Struct, array_like=True, tag=True):
    name: str
    pin: Secret[str]


class Model(pydantic.BaseModel):
    pin: Secret[str]
    maybe: Secret[str] | None = None
    inner: list[Card] = []


class Root(pydantic.RootModel[list[Card]]):
    pass


@dataclass(frozen=True)
class Box(Generic[T]):
    held: T


@dataclass(frozen=True)
class Tree:
    pin: Secret[str]
    branches: list[Tree]
    leaves: dict[str, Card]


@pytest.mark.parametrize(
    ("type_", "pointers"),
    [
        (int, ()),
        (Cash, ()),
        (Secret[str], ("",)),
        (Card, ("/number",)),
        (Card | None, ("/number",)),
        (Card | Cash, ("/number",)),
        (list[Card], ("/*/number",)),
        (Sequence[Card], ("/*/number",)),
        (dict[str, Card], ("/*/number",)),
        (Mapping[str, list[Card]], ("/*/*/number",)),
        (tuple[int, Secret[str]], ("/1",)),
        (tuple[Card, ...], ("/*/number",)),
        (Secret[list[Card]], ("",)),
        (Pin, ("",)),
        (Shelf, ("/label",)),
        (Row, ("/1",)),
        (Typed, ("/pin",)),
        (Renamed, ("/pin_code", "/pinCode")),
        (Array, ("/pin", "/2")),
        (Model, ("/pin", "/maybe", "/inner/*/number")),
        (Root, ("/*/number",)),
        (Box[Card], ("/held/number",)),
        (Box[Secret[int]], ("/held",)),
        (Tree, ("/**/pin", "/**/leaves/*/number")),
    ],
)
def test_a_mark_is_found_wherever_its_field_is_written(type_: Any, pointers: tuple[str, ...]) -> None:
    assert secrets_of(type_) == pointers


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (Card, Card("canary", 3)),
        (Card | Cash, Card("canary")),
        (Shelf, Shelf("canary")),
        (Typed, {"pin": "canary", "other": "x"}),
        (Renamed, Renamed("canary")),
        (Array, Array("x", "canary")),
        (list[Array | Card], [Array("x", "canary"), Card("canary")]),
        (Model, Model(pin="canary", maybe="canary", inner=[Card("canary")])),
        (Box[Secret[str]], Box("canary")),
        (Tree, Tree("canary", [Tree("canary", [], {"a": Card("canary")})], {})),
    ],
)
def test_what_a_codec_writes_has_no_marked_value_left_once_it_is_hidden(type_: Any, value: Any) -> None:
    codec = codec_for(type_, "it")
    data = msgspec.json.decode(codec.admit(value, "it")[0])

    assert "canary" in str(data)
    assert "canary" not in str(hidden(data, codec.secrets))
    assert "***" in str(hidden(data, codec.secrets))
    assert set(found(data, codec.secrets)) == {"canary"}


def test_what_is_null_stays_null_and_what_is_not_there_stays_away() -> None:
    assert hidden({"pin": None, "n": 1}, ("/pin", "/other", "/n/deeper")) == {"pin": None, "n": 1}


def test_a_name_with_a_slash_is_a_name() -> None:
    assert hidden({"a/b": 1, "a~1b": 2, "a": {"b": 3}}, ("/a~1b",)) == {"a/b": "***", "a~1b": 2, "a": {"b": 3}}


def test_a_secret_key_of_a_dict_is_a_mistake_that_is_told() -> None:
    with pytest.raises(DefinitionError, match="cannot be the key of a dict"):
        codec_for(dict[Secret[str], int], "it")


def test_a_mark_changes_nothing_of_what_is_stored() -> None:
    plain_class = make_dataclass("Card", [("number", str), ("month", int, 1)], frozen=True)

    marked, plain = codec_for(Card, "it"), codec_for(plain_class, "it")

    assert marked.schema == plain.schema
    assert marked.admit(Card("4111"), "it")[0] == plain.admit(plain_class("4111"), "it")[0]


# Errors


class Strict(pydantic.BaseModel):
    pin: Secret[str]

    @pydantic.field_validator("pin")
    @classmethod
    def look(cls, given: str) -> str:
        """Quotes what it refuses."""
        if len(given) < 50:
            raise ValueError(f"{given!r} is too short")
        return given


@dataclass(frozen=True)
class Fussy:
    pin: Secret[str]

    def __post_init__(self) -> None:
        if self.pin == "canary":
            raise ValueError(f"not {self.pin}")


@pytest.mark.parametrize("type_", [Strict, Fussy])
def test_an_error_of_a_type_with_secrets_quotes_no_value(type_: Any) -> None:
    with pytest.raises(ValueRefused) as refused:
        codec_for(type_, "it").decode(b'{"pin":"canary"}')

    assert "canary" not in str(refused.value)
    assert "secret" in str(refused.value)


def test_what_an_error_says_of_kinds_is_still_said() -> None:
    with pytest.raises(ValueRefused, match=r"Expected `str`, got `int` - at `\$\.number`"):
        codec_for(Card, "it").decode(b'{"number":4111}')


# Plans

shop = Service("shop")
charge = shop.command("charge", Card, reply=Row)


@charge.request
def ask(card: Card) -> Card:
    """The command is the input."""
    return card


@step(readonly=True)
def each(item: Card) -> Secret[str]:
    """Gives a secret."""
    return item.number


signed = wait_for("signed", Shelf)
every_kind = Saga("every-kind", for_each(each, over=lambda card: [card]), ask, pivot, signed, input=Card)


def test_a_plan_says_where_secrets_stand_in_every_kind_of_payload() -> None:
    assert every_kind.plan.secrets == (
        Marked("command", "ask", ("/number",)),
        Marked("input", "", ("/number",)),
        Marked("item", "each", ("/number",)),
        Marked("result", "ask", ("/1",)),
        Marked("result", "each", ("",)),
        Marked("result", "signed", ("/label",)),
    )


def test_a_default_with_a_secret_in_it_would_stand_in_the_plan() -> None:
    with pytest.raises(DefinitionError, match="which everybody may read"):
        Saga("waits", wait_for("card", Card, timeout=1, default=Card("4111")), input=Card)


def test_a_stored_plan_keeps_them() -> None:
    assert from_json(every_kind.plan.json) == every_kind.plan
