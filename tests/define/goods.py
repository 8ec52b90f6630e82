"""Values of every kind that can be stored, and Hypothesis strategies that make them."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Generic, NamedTuple, NewType, NotRequired, TypedDict, TypeVar
from uuid import UUID

import attrs
import msgspec
import pydantic
from hypothesis import strategies as st

Sku = NewType("Sku", str)
T = TypeVar("T")


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 2


@dataclass(frozen=True)
class Item:
    sku: Sku
    colour: Colour
    size: Size
    price: Decimal
    weight: float


class Place(NamedTuple):
    shelf: str
    row: int


class Stamp(msgspec.Struct, frozen=True):
    at: datetime
    day: date
    clock: time
    took: timedelta
    key: UUID


@attrs.frozen
class Box:
    items: tuple[Item, ...]
    place: Place


@attrs.define
class Secretive:
    """An attrs class whose constructor knows its fields by other names, or not at all."""

    _either: Item | Stamp
    seen: int = attrs.field(init=False, default=0)


class Address(TypedDict):
    street: str
    floor: NotRequired[int]


class Customer(pydantic.BaseModel):
    full_name: str = pydantic.Field(alias="fullName")
    born: date | None = None
    tags: set[str] = set()

    @pydantic.computed_field  # type: ignore[prop-decorator]  # as pydantic documents it
    @property
    def initials(self) -> str:
        return self.full_name[:1]


class Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    number: int


class Open(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    number: int


@dataclass
class Order:
    id: UUID
    customer: Customer
    boxes: list[Box]
    to: Address
    stamp: Stamp | None = None
    notes: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Paid:
    cents: int


@dataclass(frozen=True)
class Refused:
    reason: str
    cents: int = 0


@dataclass
class Ledger:
    """Unions at every depth, also inside itself."""

    last: Paid | Refused
    all: list[Paid | Refused] = field(default_factory=list)
    by_day: dict[date, Paid | Refused] = field(default_factory=dict)
    pair: tuple[Paid | Refused, int] = (Paid(0), 0)
    inner: list[Ledger] = field(default_factory=list)
    total: int = field(init=False, default=7)


@dataclass(frozen=True)
class Page(Generic[T]):
    rows: tuple[T, ...]


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
names = st.text(st.characters(codec="ascii", categories=["L"]), min_size=1, max_size=8)
whole = st.integers(-(2**63), 2**63 - 1)
floats = st.floats(allow_nan=False, allow_infinity=False)
decimals = st.decimals(allow_nan=False, allow_infinity=False)
moments = st.datetimes(timezones=st.just(UTC))
spans = st.timedeltas(timedelta(days=-100_000), timedelta(days=100_000))

items = st.builds(Item, texts.map(Sku), st.sampled_from(Colour), st.sampled_from(Size), decimals, floats)
stamps = st.builds(Stamp, moments, st.dates(), st.times(), spans, st.uuids())
boxes = st.builds(Box, st.lists(items, max_size=3).map(tuple), st.builds(Place, texts, whole))
addresses: st.SearchStrategy[Any] = st.fixed_dictionaries({"street": texts}, optional={"floor": whole})
customers = st.builds(Customer, fullName=texts, born=st.none() | st.dates(), tags=st.sets(texts, max_size=3))
orders = st.builds(
    Order,
    st.uuids(),
    customers,
    st.lists(boxes, max_size=2),
    addresses,
    st.none() | stamps,
    st.dictionaries(texts, st.lists(texts, max_size=2), max_size=2),
)
answers = st.builds(Paid, whole) | st.builds(Refused, texts, whole)
ledgers = st.recursive(
    st.builds(
        Ledger,
        answers,
        st.lists(answers, max_size=3),
        st.dictionaries(st.dates(), answers, max_size=2),
        st.tuples(answers, whole),
    ),
    lambda inner: st.builds(Ledger, answers, inner=st.lists(inner, max_size=2)),
    max_leaves=4,
)
plain: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | whole | floats | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=10,
)

# Each type with a strategy for its values.
KINDS: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "text": (str, texts),
    "whole number": (int, whole),
    "float": (float, floats),
    "decimal": (Decimal, decimals),
    "bytes": (bytes, st.binary(max_size=30)),
    "nothing": (type(None), st.none()),
    "moment": (datetime, moments),
    "uuid": (UUID, st.uuids()),
    "enum": (Colour, st.sampled_from(Colour)),
    "new type": (Sku, texts),
    "dataclass": (Item, items),
    "struct": (Stamp, stamps),
    "attrs": (Box, boxes),
    "secretive attrs": (Secretive, st.builds(Secretive, items | stamps)),
    "typed dict": (Address, addresses),
    "named tuple": (Place, st.builds(Place, texts, whole)),
    "pydantic": (Customer, customers),
    "pydantic in a dataclass": (Order, orders),
    "strict pydantic": (Strict, st.builds(Strict, number=whole)),
    "open pydantic": (Open, st.builds(Open, number=whole, more=texts)),
    "list": (list[Item], st.lists(items, max_size=3)),
    "set": (frozenset[str], st.frozensets(texts, max_size=4)),
    "dict by uuid": (dict[UUID, int], st.dictionaries(st.uuids(), whole, max_size=3)),
    "dict by number": (dict[int, str], st.dictionaries(whole, texts, max_size=3)),
    "optional": (Item | None, st.none() | items),
    "union of classes": (Paid | Refused, answers),
    "union with a model": (Customer | Paid | None, customers | st.builds(Paid, whole) | st.none()),
    "union of plain types": (int | str | None, whole | texts | st.none()),
    "list of a union": (list[Paid | Refused | None], st.lists(answers | st.none(), max_size=3)),
    "set of a union": (frozenset[Paid | Refused], st.frozensets(answers, max_size=3)),
    "unions at every depth": (Ledger, ledgers),
    "generic": (Page[Item], st.builds(Page, st.lists(items, max_size=3).map(tuple))),
    "anything plain": (Any, plain),
}
