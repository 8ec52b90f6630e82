"""Values: what may be stored, and how it gets there and back.

A codec is built once per type, when the saga is built, so a type that cannot be stored is a
definition error. `admit` is the door: what passes it is encoded, and the value that everybody
sees from then on is the decoded copy, equal before and after a crash.

Guarantees: what cannot be stored exactly is refused with the path of the value, and the
refusal never fails on the content it refuses.
Must not: decode anything but plain data. No pickle, no class named by the data.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

from amends.define.admission import Flaw, find_change, find_flaw, find_largest, is_same
from amends.define.names import type_name
from amends.define.native import Native
from amends.define.secret import Secrets, secrets_of
from amends.define.shape import Shape, path_of
from amends.define.shapes import shape_of
from amends.errors import DefinitionError, LimitExceeded, ValueRefused

T = TypeVar("T")

PAYLOAD_BYTES_MAX = 1024 * 1024
LOOK_PARTS = 50_000  # of a value that is too large, to say what is: a look takes a microsecond or more
_TO_ZERO = bytes.maketrans(b"123456789", b"0" * 9)
_LONG_INTEGER = b"0" * 19
_BACKSLASH = ord("\\")
# What a decoder says of a value without quoting any of it: kinds, and names of fields that the type has.
_QUOTES_NOTHING = re.compile(
    r"Expected `[^`]*`(?:, got `\w+`)?|Expected `(?:array|str|bytes|object)` of length [^`]*|"
    r"Object missing required field `[^`]*`"
)


class Codec(Generic[T]):
    """The way of one type into the store and back.

    `shared`: its values cannot change, so one copy may serve many readers. secrets: where marked fields stand.
    """

    __slots__ = ("_careful", "_decode", "_encode", "schema", "secrets", "shape", "shared", "type")

    def __init__(self, type_: object, shape: Shape) -> None:
        self.type: object = type_
        self.shape: Shape = shape
        self.shared: bool = shape.frozen
        self.secrets: Secrets = secrets_of(type_)
        self.schema: str = hashlib.blake2b(shape.schema.encode(), digest_size=8).hexdigest()
        self._careful = shape.careful
        self._encode: Callable[[object], bytes]
        self._decode: Callable[[bytes], object]
        if isinstance(shape, Native):
            self._encode = shape.encode
            self._decode = shape.decode
        else:
            self._encode = lambda value: msgspec.json.encode(shape.dump(value), order="deterministic")
            self._decode = lambda payload: shape.load(msgspec.json.decode(payload))

    def admit(self, value: object, where: str, limit: int = PAYLOAD_BYTES_MAX) -> tuple[bytes, T]:
        """The payload of a value, and the value as it will be read back.

        where: what the value is, for the error. Raises ValueRefused or LimitExceeded.
        """
        try:
            if self._careful:
                _refuse(find_flaw(value, limit), where)
            payload = self._encode(value)
            if _may_hide_flaw(payload):
                _refuse(find_flaw(value, limit), where)
        except (ValueRefused, LimitExceeded):
            raise
        except Exception as error:  # noqa: BLE001  # a value's own code may raise anything
            _refuse(find_flaw(value, limit, strict=True), where)
            raise ValueRefused(self._misfit(error, where)) from None
        if len(payload) > limit:
            largest = find_largest(value, min(limit, LOOK_PARTS))
            raise LimitExceeded(
                f"{where}{largest} is too large: all of it takes {len(payload):,} bytes, the limit is {limit:,}; "
                "store the large part elsewhere and pass a reference to it"
            )
        try:
            back = self._decode(payload)
        except Exception as error:  # noqa: BLE001  # what builds the value may raise anything
            raise ValueRefused(self._misfit(error, where)) from None
        if back is not value and not is_same(value, back):
            _refuse(find_change(value, back), where)
        return payload, back  # type: ignore[return-value]  # the shape is T's

    def _misfit(self, error: Exception, where: str) -> str:
        """Why a value is not of this type, with the path of the part that is not."""
        text, path = path_of(describe(error))
        return f"{where}{path} does not fit {self.name}: {self._told(text)}"

    def _told(self, text: str) -> str:
        """What may be said of a value that does not fit: an error may quote it, and it may be secret."""
        if self.secrets and _QUOTES_NOTHING.fullmatch(text) is None:
            return "what is wrong is not told, since it has fields that are secret"
        return text

    def decode(self, payload: bytes) -> T:
        """The value of a payload that was admitted. Raises ValueRefused where the type has
        changed so that it cannot be read any more."""
        try:
            return self._decode(payload)  # type: ignore[return-value]  # the shape is T's
        except Exception as error:  # noqa: BLE001  # what builds the value may raise anything
            text, path = path_of(describe(error))
            at = f" - at `${path}`" if path else ""
            raise ValueRefused(f"a stored {self.name} cannot be read: {self._told(text)}{at}") from None

    @property
    def name(self) -> str:
        """The type's name, for people."""
        return type_name(self.type)

    def example(self) -> str:
        """A JSON text of the right shape, for error messages and help."""
        return msgspec.json.encode(self.shape.example(0)).decode()


def _may_hide_flaw(payload: bytes) -> bool:
    """Whether a NUL or an integer beyond 64 bits may be in it; a hit is looked at slowly. (A pattern for both, and `in`
    for one text in another, took most of the time that a payload spends at the door.)"""
    return (_BACKSLASH in payload and b"\\u0000" in payload) or payload.translate(_TO_ZERO).find(_LONG_INTEGER) >= 0


def _refuse(flaw: Flaw | None, where: str) -> None:
    if flaw is not None:
        refusal = LimitExceeded if flaw.too_large else ValueRefused
        raise refusal(f"{where}{flaw.path}: {flaw.reason}")


def codec_for(type_: object, where: str) -> Codec[object]:
    """The codec of a type. Raises DefinitionError where its values cannot be stored; `where`
    says what has the type."""
    try:
        return Codec(type_, shape_of(type_))
    except (TypeError, RecursionError) as error:
        text, path = path_of(describe(error))
        inside = f" at {path}" if path else ""
        raise DefinitionError(
            f"{where}: values of {type_name(type_)} cannot be stored{inside}: {text}. Use dataclasses, msgspec "
            "Structs, attrs classes, typed dicts, pydantic models, enums, dates, decimals, uuids, and lists, dicts, "
            "tuples and unions of these"
        ) from None


def describe(error: BaseException) -> str:
    """An exception's text, fit to be stored and shown: bounded, printable, never raising."""
    try:
        return clean(str(error)) or type(error).__name__
    except Exception:  # noqa: BLE001  # a user's __str__ may raise anything, and must not hide the error
        return type(error).__name__


def named(error: BaseException) -> str:
    """The same with its class before it; the class alone where it has no text."""
    name, text = type(error).__name__, describe(error)
    return name if text == name else f"{name}: {text}"


def clean(text: str, limit: int = 2000) -> str:
    """A text without what a store or a terminal may refuse, cut to `limit` characters."""
    kept = text[: limit + 1].encode("utf-8", "replace").decode().replace("\x00", "\N{REPLACEMENT CHARACTER}")
    return kept if len(kept) <= limit else kept[:limit] + " …"
