"""What cannot be stored exactly is refused at the door, with the path of the part and the reason.

And the refusal never fails on what it refuses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Any
from uuid import UUID

import pydantic
import pytest
from goods import KINDS, Address, Box, Colour, Item, Ledger, Open, Paid, Place, Refused, Secretive, Size, Sku, Strict
from hypothesis import given, settings
from hypothesis import strategies as st
from storefront import untyped

from amends.define.values import PAYLOAD_BYTES_MAX, Codec, codec_for, describe
from amends.errors import AmendsError, LimitExceeded, ValueRefused

ITEM = Item(Sku("apple"), Colour.RED, Size.LARGE, Decimal("1.50"), 0.25)


@dataclass
class Note:
    text: str
    number: int = 0
    share: float = 0.0
    at: datetime | None = None
    price: Decimal | None = None
    more: Any = None
    inner: list[Note] = field(default_factory=list)


@cache
def codec(type_: Any) -> Codec[Any]:
    """The codec of a type."""
    return codec_for(type_, "the test")


NOTE = codec(Note)


def refusal(type_: Any, value: object) -> str:
    """Why a value is refused."""
    with pytest.raises(ValueRefused) as caught:
        codec(type_).admit(value, "the input")
    return str(caught.value)


def too_large(type_: Any, value: object) -> str:
    """Why a value is too large."""
    with pytest.raises(LimitExceeded) as caught:
        codec(type_).admit(value, "the input")
    return str(caught.value)


def opened(**more: Any) -> Open:
    """A model with fields that its class does not have."""
    return Open.model_validate({"number": 1, **more})


# Strange content


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_none(number: float) -> None:
    assert refusal(Note, Note("x", share=number)) == "the input.share: it is not a finite number"
    assert refusal(float, number) == "the input: it is not a finite number"
    assert refusal(Any, {"a": [number]}) == "the input.a[0]: it is not a finite number"


@pytest.mark.parametrize("number", ["NaN", "sNaN", "Infinity", "-Infinity"])
def test_decimals_that_are_no_numbers(number: str) -> None:
    assert refusal(Note, Note("x", price=Decimal(number))) == "the input.price: it is not a finite number"


def test_a_nul_in_a_text() -> None:
    assert refusal(Note, Note("a\x00b")) == "the input.text: the text contains a NUL character"
    assert refusal(dict[str, int], {"a\x00": 1}) == r"the input.'a\x00': the text contains a NUL character"


def test_half_a_character() -> None:
    reason = "the text contains half a character (a lone surrogate) at position 1"
    assert refusal(Note, Note("x", inner=[Note("a\ud800")])) == f"the input.inner[0].text: {reason}"
    assert refusal(list[str], ["ok", "a\udfff"]) == f"the input[1]: {reason}"
    assert refusal(dict[str, int], {"a\ud800": 1}) == rf"the input.'a\ud800': {reason}"


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 2**70, -(2**700)])
def test_integers_beyond_64_bits(number: int) -> None:
    reason = "the integer is outside -2^63 to 2^63-1 (64 bits)"
    assert refusal(Note, Note("x", number)) == f"the input.number: {reason}"
    assert refusal(Any, {"a": number}) == f"the input.a: {reason}"


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63)])
def test_the_last_integers_that_fit(number: int) -> None:
    assert NOTE.admit(Note("x", number), "the input")[1] == Note("x", number)


def test_long_digits_in_a_text_are_only_text() -> None:
    assert NOTE.admit(Note("9" * 40), "the input")[1] == Note("9" * 40)


def test_a_datetime_without_a_zone() -> None:
    naive = datetime(2026, 1, 1)  # noqa: DTZ001  # the mistake
    assert refusal(Note, Note("x", at=naive)) == "the input.at: the time has no time zone"
    assert refusal(datetime, naive) == "the input: the time has no time zone"
    assert refusal(dict[str, datetime], {"new-year": naive}) == "the input.'new-year': the time has no time zone"


def test_a_value_inside_itself() -> None:
    note = Note("x")
    note.inner.append(note)
    ring: list[Any] = []
    ring.append({"again": ring})

    assert refusal(Note, note) == "the input.inner[0]: it contains itself"
    assert refusal(Any, ring) == "the input[0].again: it contains itself"


@pytest.mark.parametrize("depth", [101, 1000, 100_000])
def test_a_value_nested_without_end(depth: int) -> None:
    note, plain = Note("x"), []  # type: ignore[var-annotated]  # a list of lists of lists
    for _ in range(depth):
        note, plain = Note("x", inner=[note]), [plain]

    assert refusal(Note, note).endswith(": it is nested more than 100 deep")
    assert refusal(Any, plain).endswith(": it is nested more than 100 deep")
    assert len(refusal(Any, plain)) < 300
    while note.inner:  # taken apart by hand, for the interpreter would recurse
        note = note.inner.pop()
    while plain:
        plain = plain.pop()


def test_64_megabytes() -> None:
    message = too_large(Note, Note("small", inner=[Note("x" * (64 * 1024 * 1024))]))

    assert message.startswith("the input.inner[0].text is too large: all of it takes 67,109,")
    assert message.endswith(
        f" bytes, the limit is {PAYLOAD_BYTES_MAX:,}; store the large part elsewhere and pass a reference to it"
    )


def test_many_small_parts_are_too_large_together() -> None:
    assert too_large(list[int], list(range(300_000))).startswith(
        "the input is too large: all of it takes 1,988,891 bytes"
    )


def test_a_small_value_that_would_be_written_without_end() -> None:
    """Forty lists, each twice in the next: a trillion parts."""
    bomb: list[Any] = ["x"]
    for _ in range(40):
        bomb = [bomb, bomb]

    assert too_large(Any, bomb) == "the input: it has more than 1,048,576 parts, each takes a byte at least"


def test_the_limit_is_what_the_caller_says() -> None:
    with pytest.raises(LimitExceeded, match="the limit is 50"):
        NOTE.admit(Note("x" * 100), "the input", 50)


# Wrong types


@pytest.mark.parametrize(
    ("type_", "wrong", "place", "message"),
    [
        (Note, Note(untyped(3)), ".text", "Expected `str`, got `int`"),
        (Note, Note("x", untyped("3")), ".number", "Expected `int`, got `str`"),
        (Note, Note("x", True), ".number", "Expected `int`, got `bool`"),
        (Note, None, "", "Expected `object`, got `null`"),
        (int, 1.5, "", "Expected `int`, got `float`"),
        (Colour, "green", "", "Invalid enum value 'green'"),
        (Address, {}, "", "Object missing required field `street`"),
        (Place, Place("a", untyped("b")), "[1]", "Expected `int`, got `str`"),
        (Paid | Refused, 3, "", "Expected `Paid` or `Refused`, got `int`"),
        (Paid | Refused | None, "x", "", "Expected `null`, got `str`"),
        (list[Paid | Refused], [Paid(1), ITEM], "[1]", "Expected `Paid` or `Refused`, got `Item`"),
        (Ledger, Ledger(Paid(untyped("1"))), ".last.cents", "Expected `int`, got `str`"),
        (
            Ledger,
            Ledger(Paid(1), inner=[Ledger(untyped(3))]),
            ".inner[0].last",
            "Expected `Paid` or `Refused`, got `int`",
        ),
        (Secretive, Secretive(untyped(3)), "._either", "Expected `Item` or `Stamp`, got `int`"),
        (Strict, Strict.model_construct(number="x"), ".number", "Input should be a valid integer"),
        (Strict, Strict.model_construct(), ".number", "Field required"),
        (list[Strict], [Strict.model_construct()], "[0].number", "Field required"),
    ],
)
def test_a_wrong_type_is_refused_with_its_path(type_: Any, wrong: object, place: str, message: str) -> None:
    assert refusal(type_, wrong).startswith(f"the input{place} does not fit {codec(type_).name}: {message}")


class VipItem(Item):
    """An item, and more that would be lost."""


@pytest.mark.parametrize(
    ("type_", "wrong", "path", "had", "has"),
    [
        (Note, Note(untyped(b"x")), ".text", "bytes", "str"),
        (Note, Note(untyped(UUID(int=3))), ".text", "UUID", "str"),
        (Note, Note(untyped(datetime(2026, 1, 1, tzinfo=UTC))), ".text", "datetime", "str"),
        (Note, Note("x", at=untyped("2026-01-01T00:00:00Z")), ".at", "str", "datetime"),
        (bytes, "abcd", "", "str", "bytes"),
        (tuple[int, ...], [1], "", "list", "tuple"),
        (set[int], [1, 1], "", "list", "set"),
        (Item, VipItem(*vars(ITEM).values()), "", "VipItem", "Item"),
        (Strict, {"number": 1}, "", "dict", "Strict"),
        (Any, {"a": (1, 2)}, ".a", "tuple", "list"),
        (Any, [{"x": b"1"}], "[0].x", "bytes", "str"),
        (Any, ITEM, "", "Item", "dict"),
        (Open, opened(more=(1, 2)), ".more", "tuple", "list"),
    ],
)
def test_what_would_come_back_as_something_else_is_refused(
    type_: Any, wrong: object, path: str, had: str, has: str
) -> None:
    assert refusal(type_, wrong) == (
        f"the input{path}: it is a {had} and would come back as a {has}, so say in the type what it holds"
    )


def test_fields_that_the_type_does_not_have_are_not_lost_silently() -> None:
    assert refusal(Address, {"street": "x", "colour": "red"}) == "the input.colour: its type has no such key"


def test_a_model_with_extra_fields_keeps_them_or_is_refused() -> None:
    assert codec(Open).admit(opened(more="x"), "")[1] == opened(more="x")
    assert refusal(Open, opened(more=math.nan)) == "the input.more: it is not a finite number"


def test_a_secret_is_not_stored_as_stars() -> None:
    class Login(pydantic.BaseModel):
        password: pydantic.SecretStr

    assert refusal(Login, Login(password=pydantic.SecretStr("x"))) == "the input.password: it would come back changed"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({(1, 2): 1}, "the input: a tuple cannot be a key"),
        ({ITEM: 1}, "the input: a Item cannot be a key"),
        ({None: 1}, "the input: a NoneType cannot be a key"),
        ({1: 1}, "the input: its keys would come back as other keys"),
    ],
)
def test_keys_that_are_no_texts(keys: Any, message: str) -> None:
    assert refusal(Any, keys) == message


def test_two_classes_of_one_name_in_a_union() -> None:
    def another() -> Any:
        @dataclass
        class Paid:
            euros: int

        return Paid

    with pytest.raises(AmendsError, match="two classes of the union are called Paid"):
        codec(Paid | another())


@pytest.mark.parametrize(
    "type_", [object, complex, type, Codec, list[Codec[int]], dict[str, object], Paid | Codec, list[int] | list[str]]
)
def test_types_that_cannot_be_stored(type_: Any) -> None:
    with pytest.raises(AmendsError, match=r"the test: values of .* cannot be stored"):
        codec(type_)


def test_the_field_of_an_unsupported_type_is_named() -> None:
    with pytest.raises(AmendsError) as caught:
        codec(Outer)

    assert "values of Outer cannot be stored at .inner.boxes[…][…]: Codec is no data class." in str(caught.value)


@dataclass
class Inner:
    boxes: dict[str, list[Codec[int]]]


@dataclass
class Outer:
    inner: Inner | None
    either: Paid | Refused


# Hostile values


class Hostile:
    """Nothing about it works."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no eq")

    def __hash__(self) -> int:
        return 3

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("no attribute")


class HostileText(str):
    """A text that raises when it is looked at."""

    def __str__(self) -> str:
        raise RuntimeError("no str")

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    def isidentifier(self) -> bool:
        raise RuntimeError("no idea")

    def __contains__(self, part: object) -> bool:
        raise RuntimeError("contains nothing")


@dataclass
class Fragile:
    number: int

    def __post_init__(self) -> None:
        if self.number > 9:
            raise RuntimeError("it broke")


HOSTILE: dict[str, object] = {
    "value": Hostile(),
    "text": HostileText("x\x00"),
    "item": [Hostile()],
    "key": {Hostile(): 1},
    "text key": {HostileText("x"): math.nan},
    "class": Fragile,
    "function": print,
}


def broken() -> Fragile:
    """A value that its own class would not make again."""
    fragile = Fragile(1)
    fragile.number = 10
    return fragile


@pytest.mark.parametrize("type_", [kind for kind, _ in KINDS.values()], ids=list(KINDS))
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_value_is_refused_or_stored_and_nothing_else(type_: Any, name: str) -> None:
    try:
        codec(type_).admit(HOSTILE[name], "the input")
    except (ValueRefused, LimitExceeded) as error:
        assert str(error).startswith("the input")  # noqa: PT017  # some are stored


def test_a_hostile_field_is_named() -> None:
    assert refusal(Note, Note("x", more=Hostile())) == "the input.more: a Hostile cannot be stored"
    assert refusal(Note, Note("x", more=[{"a": Hostile()}])) == "the input.more[0].a: a Hostile cannot be stored"
    assert refusal(Note, Note("x", more={Hostile(): 1})) == "the input.more: a Hostile cannot be a key"
    assert refusal(Box, Box((untyped(Hostile()),), Place("a", 1))) == "the input.items[0]: a Hostile cannot be stored"


def test_a_value_that_its_class_refuses_to_make_again() -> None:
    assert refusal(Fragile, broken()) == "the input does not fit Fragile: it broke"


def test_equality_that_raises_does_not_hide_that_nothing_changed() -> None:
    @dataclass
    class Moody:
        number: int

        def __eq__(self, other: object) -> bool:
            raise RuntimeError("no eq")

        __hash__ = None  # type: ignore[assignment]  # as dataclasses have it

    assert codec(Moody).admit(Moody(3), "the input")[1].number == 3


def test_a_class_that_compares_by_identity_is_compared_by_its_fields() -> None:
    @dataclass(eq=False)
    class Ticket:
        number: int
        text: str = ""

    assert codec(Ticket).admit(Ticket(3), "the input")[1].number == 3
    assert refusal(Ticket, Ticket(3, untyped(b"x"))).startswith("the input.text: it is a bytes")


# What to make, in words: hostile values cannot even be printed.
recipes: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from([*HOSTILE, "nan", "nul", "surrogate", "large", "naive", "bytes", "broken"])
    | st.none()
    | st.integers()
    | st.floats(),
    lambda inner: st.tuples(
        st.sampled_from(["list", "tuple", "dict", "odd dict", "note", "ledger", "item"]), st.lists(inner, max_size=3)
    ),
    max_leaves=8,
)
STRANGE: dict[str, object] = {
    **HOSTILE,
    "nan": math.nan,
    "nul": "\x00",
    "surrogate": "\ud800",
    "large": 2**70,
    "naive": datetime(2026, 1, 1),  # noqa: DTZ001  # the mistake
    "bytes": b"x",
    "broken": broken(),
}


def made(recipe: Any) -> Any:
    """What a recipe describes."""
    if isinstance(recipe, str):
        return STRANGE[recipe]
    if not isinstance(recipe, tuple):
        return recipe
    kind, parts = recipe
    inner = [made(part) for part in parts]
    first: Any = inner[0] if inner else "x"
    match kind:
        case "tuple":
            return tuple(inner)
        case "dict":
            return {str(index): part for index, part in enumerate(inner)}
        case "odd dict":
            return {(index, "x"): part for index, part in enumerate(inner)}
        case "note":
            return Note(first, more=inner)
        case "ledger":
            return Ledger(first, all=inner)
        case "item":
            return Item(first, first, first, first, first)
        case _:
            return inner


@settings(max_examples=400, deadline=None)
@given(recipe=recipes, kind=st.sampled_from(list(KINDS)))
def test_the_door_raises_its_own_errors_only(recipe: Any, kind: str) -> None:
    try:
        payload, _ = codec(KINDS[kind][0]).admit(made(recipe), "the input")
    except (ValueRefused, LimitExceeded) as error:
        text = str(error)
        assert text.startswith("the input")  # most are refused
        assert "\x00" not in text
        text.encode()
    else:
        codec(KINDS[kind][0]).decode(payload)


@settings(max_examples=300, deadline=None)
@given(payload=st.binary(max_size=60), kind=st.sampled_from(list(KINDS)))
def test_a_stored_payload_that_cannot_be_read_is_a_refusal(payload: bytes, kind: str) -> None:
    try:
        codec(KINDS[kind][0]).decode(payload)
    except ValueRefused as error:
        assert str(error).startswith("a stored ")  # noqa: PT017  # some can be read
        str(error).encode()


@pytest.mark.parametrize(
    ("type_", "payload", "message"),
    [
        (Item, b"{}", "a stored Item cannot be read: Object missing required field `sku`"),
        (Item, b"{", "a stored Item cannot be read: Input data was truncated"),
        (Note, b'{"text": 3}', "a stored Note cannot be read: Expected `str`, got `int` - at `$.text`"),
        (Strict, b"{}", "a stored Strict cannot be read: Field required - at `$.number`"),
        (list[Strict], b"[{}]", "a stored list[Strict] cannot be read: Field required - at `$[0].number`"),
        (Ledger, b'{"last": {"$type": "Paid"}}', "cannot be read: Object missing required field `cents` - at `$.last`"),
        (Ledger, b'{"last": {"$type": "Item"}}', "cannot be read: Invalid `$type`, expected `Paid` or `Refused` - at"),
        (Ledger, b'{"last": {"cents": 1}}', "Expected an object with `$type`: `Paid` or `Refused` - at `$.last`"),
    ],
)
def test_a_stored_payload_that_does_not_fit_names_its_place(type_: Any, payload: bytes, message: str) -> None:
    with pytest.raises(ValueRefused) as caught:
        codec(type_).decode(payload)

    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("plain"), "plain"),
        (ValueError(), "ValueError"),
        (ValueError("a\x00b"), "a\N{REPLACEMENT CHARACTER}b"),
        (ValueError("a\ud800b"), "a?b"),
        (ValueError("x" * 5000), "x" * 2000 + " …"),
    ],
)
def test_an_error_is_described_in_text_that_can_be_stored(error: Exception, text: str) -> None:
    assert describe(error) == text


def test_an_error_whose_text_raises_is_described_by_its_class() -> None:
    class Rude(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    assert describe(Rude()) == "Rude"
