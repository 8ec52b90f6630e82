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

from amends.define.admission import Flaw, find_change, find_flaw
from amends.define.shapes import Native, Shape, shape_of
from amends.errors import DefinitionError, LimitExceeded, ValueRefused

T = TypeVar("T")

PAYLOAD_BYTES_MAX = 1024 * 1024
# What may hide a NUL or an integer beyond 64 bits; a hit is looked at slowly.
_SUSPICIOUS = re.compile(rb"\\u0000|[0-9]{19}")


class Codec(Generic[T]):
    """The way of one type into the store and back.

    `shared`: its values cannot change, so one copy may serve many readers.
    """

    __slots__ = ("_careful", "_decode", "_encode", "schema", "shape", "shared", "type")

    def __init__(self, type_: object, shape: Shape) -> None:
        self.type = type_
        self.shape = shape
        self.shared = shape.frozen
        self.schema = hashlib.blake2b(shape.schema.encode(), digest_size=8).hexdigest()
        self._careful = shape.careful
        self._encode: Callable[[object], bytes]
        self._decode: Callable[[bytes], object]
        if isinstance(shape, Native):
            self._encode = shape.encode
            self._decode = shape.decode
        else:
            self._encode = lambda value: msgspec.json.encode(shape.dump(value))
            self._decode = lambda payload: shape.load(msgspec.json.decode(payload))

    def admit(self, value: object, where: str, limit: int = PAYLOAD_BYTES_MAX) -> tuple[bytes, T]:
        """The payload of a value, and the value as it will be read back.

        where: what the value is, for the error. Raises ValueRefused or LimitExceeded.
        """
        try:
            if self._careful:
                _refuse(find_flaw(value), where)
            payload = self._encode(value)
            if _SUSPICIOUS.search(payload):
                _refuse(find_flaw(value), where)
        except (TypeError, ValueError, RecursionError, AttributeError) as error:
            _refuse(find_flaw(value), where)
            raise ValueRefused(f"{where} is not a {self.name}: {describe(error)}") from None
        if len(payload) > limit:
            raise LimitExceeded(
                f"{where} takes {len(payload):,} bytes, the limit is {limit:,}: "
                "store the large part elsewhere and pass a reference to it"
            )
        try:
            back = self._decode(payload)
        except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
            raise ValueRefused(f"{where} is not a {self.name}: {describe(error)}") from None
        if self.shape.plain:
            _refuse(find_change(value, back), where)
        return payload, back  # type: ignore[return-value]  # the shape is T's

    def decode(self, payload: bytes) -> T:
        """The value of a payload that was admitted. Raises ValueRefused where the type has
        changed so that it cannot be read any more."""
        try:
            return self._decode(payload)  # type: ignore[return-value]  # the shape is T's
        except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
            raise ValueRefused(f"a stored {self.name} cannot be read: {describe(error)}") from None

    @property
    def name(self) -> str:
        """The type's name, for people."""
        return type_name(self.type)

    def example(self) -> str:
        """A JSON text of the right shape, for error messages and help."""
        return msgspec.json.encode(self.shape.example(0)).decode()


def _refuse(flaw: Flaw | None, where: str) -> None:
    if flaw is not None:
        raise ValueRefused(f"{where}{flaw.path}: {flaw.reason}")


def codec_for(type_: object, where: str) -> Codec[object]:
    """The codec of a type. Raises DefinitionError where its values cannot be stored; `where`
    says what has the type."""
    try:
        return Codec(type_, shape_of(type_))
    except TypeError as error:
        raise DefinitionError(
            f"{where}: values of {type_name(type_)} cannot be stored: {error}. Use dataclasses, msgspec Structs, "
            "attrs classes, typed dicts, pydantic models, enums, dates, decimals, uuids, and lists, dicts, tuples "
            "and unions of these"
        ) from None


def type_name(type_: object) -> str:
    """How a type is written, without its module."""
    if type_ is None or type_ is type(None):
        return "None"
    if isinstance(type_, type) and not hasattr(type_, "__args__"):
        return type_.__name__
    return re.sub(r"(?<![\w.])(?:[A-Za-z_]\w*\.)+(?=[A-Za-z_])", "", str(type_)).replace("<locals>.", "")


def describe(error: BaseException) -> str:
    """An exception's text, fit to be stored and shown: bounded, printable, never raising."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001  # a user's __str__ may raise anything, and must not hide the error
        text = ""
    return clean(text) or type(error).__name__


def clean(text: str, limit: int = 2000) -> str:
    """A text without what a store or a terminal may refuse, cut to `limit` characters."""
    kept = text[: limit + 1].encode("utf-8", "replace").decode().replace("\x00", "\N{REPLACEMENT CHARACTER}")
    return kept if len(kept) <= limit else kept[:limit] + " …"
