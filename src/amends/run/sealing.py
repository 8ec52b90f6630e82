"""Sealing: payloads that stand encrypted wherever they are kept, and the frame that says with which key.

A sealed payload is a JSON text, `"\\u0073ealed:<key>:<base64>"`, in the place where the payload would be. No codec
writes its first letter that way, so nothing that a user has is taken for one; the rows around it stay as readable
as they were, for every tool, with or without the keys.

Guarantees: a payload opens only where it was sealed: in that namespace, that saga and that place; without its key
it stays what it is, and who needs it is told which key that is.
Must not: know how keys are kept, or what encrypts; `amends.crypto` does.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, cast

from amends.decide import events as e
from amends.decide.events import Event
from amends.errors import DefinitionError, KeyMissing, StoreDamaged
from amends.run import journal
from amends.store.base import Loaded

MARK = b'"\\u0073ealed:'
BLANKS = b" \t\r\n"  # of JSON
KEY_NAME = r"[A-Za-z0-9._-]{1,64}"
_name_of = journal.name_of


class Keyring(Protocol):
    """What seals and opens: `amends.crypto.Keys`, or your own before a key service.

    A scope is what one derived key is for, a place what a payload is bound to within it.
    """

    @property
    def current(self) -> str:
        """The name of the key that is sealed with from now on."""
        ...

    @property
    def names(self) -> Sequence[str]:
        """The names of all keys that can open, the current one first."""
        ...

    def seal(self, payload: bytes, scope: bytes, place: bytes) -> bytes:
        """The payload, sealed with the current key."""
        ...

    def open(self, key: str, sealed: bytes, scope: bytes, place: bytes) -> bytes:
        """The payload again. Raises ValueError for what was not sealed with this key, in this scope and place."""
        ...

    def digest(self, key: str, data: bytes) -> bytes:
        """16 bytes that tell equal data, to nobody who has not the key."""
        ...


class Seal:
    """Of one saga, or of what is kept for it. scope: whose."""

    __slots__ = ("_keys", "_scope")

    def __init__(self, keys: Keyring, *scope: str) -> None:
        self._keys = keys
        self._scope = "\0".join(scope).encode()

    def sealed(self, payload: bytes, place: str) -> bytes:
        """A payload as it is kept."""
        if payload.startswith(MARK):
            return payload
        made = self._keys.seal(payload, self._scope, place.encode())
        return MARK + self._keys.current.encode() + b":" + b64encode(made) + b'"'

    def opened(self, payload: bytes, place: str) -> bytes:
        """What was sealed; anything else as it is. Raises KeyMissing and StoreDamaged."""
        key = key_of(payload)
        if key is None:
            return payload
        if key not in self._keys.names:
            raise missing(key)
        try:
            return self._keys.open(key, _body(payload), self._scope, place.encode())
        except ValueError:
            raise StoreDamaged(
                f"what is sealed with the key {key!r} does not open: it was changed, moved here from another saga or "
                "place, or another key has this name"
            ) from None

    def events(self, events: Iterable[Event]) -> Iterable[Event]:
        """The events of a row, as they are kept."""
        return [journal.remade(event, self._seal) for event in events]

    def rows(self, rows: Sequence[bytes]) -> list[bytes]:
        """The rows of a history, as they were decided. Raises KeyMissing and StoreDamaged."""
        return [_row(row, self._open) if may_be_sealed(row) else row for row in rows]

    def _seal(self, event: Event, payload: bytes) -> bytes:
        return self.sealed(payload, _place(event))

    def _open(self, event: Event, payload: bytes) -> bytes:
        return self.opened(payload, _place(event))


class Seals:
    """Of one namespace, or of what is kept for one service."""

    def __init__(self, keys: Keyring, realm: str) -> None:
        self.keys: Keyring = keys
        self._realm = realm

    def saga(self, saga: bytes) -> Seal:
        """Of a saga's history."""
        return Seal(self.keys, "saga", self._realm, saga.hex())

    def mail(self, key: str) -> Seal:
        """Of what is sent to a saga with this id of the user's."""
        return Seal(self.keys, "mail", self._realm, key)

    def baton(self, home: str, key: str) -> Seal:
        """Of a choreographed saga's history, in whichever service it is."""
        return Seal(self.keys, "baton", home, key)

    def inbox(self, namespace: str, saga: bytes) -> Seal:
        """Of what a service keeps of its part in a saga."""
        return Seal(self.keys, "inbox", self._realm, namespace, saga.hex())

    def digests(self, data: bytes) -> tuple[bytes, ...]:
        """What equal data have in common, by each key: the first is what is kept from now on."""
        return tuple(self.keys.digest(name, data) for name in self.keys.names)


def kept(seals: Seals | None, saga: bytes, events: Iterable[Event]) -> Iterable[Event]:
    """What happened to a saga, as its journal is to have it."""
    return events if seals is None else seals.saga(saga).events(events)


def check_keys(keys: object, whose: str) -> Keyring | None:
    """What was given as keys=. Raises DefinitionError for what seals nothing."""
    if keys is not None and not all(hasattr(keys, name) for name in ("current", "names", "seal", "open", "digest")):
        raise DefinitionError(f"{whose}(keys=…): amends.crypto.Keys is expected, not a {type(keys).__name__}")
    return cast("Keyring | None", keys)


def may_be_sealed(row: bytes) -> bool:
    """Whether anything in a row, or a mail, is sealed."""
    return MARK in row


def key_of(payload: bytes) -> str | None:
    """The name of the key that a payload is sealed with; None of one that is not sealed."""
    if not payload.startswith(MARK):
        return None
    return payload[len(MARK) :].partition(b":")[0].decode("utf-8", "replace")


def looks_sealed(payload: bytes) -> bool:
    """Whether what comes from outside would be taken for something sealed once it is kept. No codec writes that."""
    return payload.lstrip(BLANKS).startswith(MARK)


def missing(key: str) -> KeyMissing:
    """The error of who has not got a key."""
    return KeyMissing(
        f"a payload is sealed with the key {key!r}, which is not here: give it with keys=Keys(…), beside the one that "
        "new payloads are sealed with"
    )


def opened(loaded: Loaded, seals: Seals | None) -> Loaded:
    """A saga with its history as it was decided. Raises KeyMissing and StoreDamaged."""
    if not any(map(may_be_sealed, loaded.rows)):
        return loaded
    return loaded._replace(rows=tuple(opened_rows(loaded.rows, None if seals is None else seals.saga(loaded.head.id))))


def opened_or_not(loaded: Loaded, seals: Seals | None) -> Loaded:
    """The same for whoever asks how a saga stands: only what it gave takes its keys. Raises as `opened`."""
    try:
        return opened(loaded, seals)
    except KeyMissing:
        if loaded.head.status == "completed":
            raise
        return loaded


def opened_rows(rows: Sequence[bytes], seal: Seal | None) -> Sequence[bytes]:
    """The rows of a history as they were decided. Raises KeyMissing and StoreDamaged."""
    if not any(map(may_be_sealed, rows)):
        return rows
    return [_row(row, _without) for row in rows] if seal is None else seal.rows(rows)


def opened_payload(payload: bytes, seal: Seal | None, place: str) -> bytes:
    """What was sealed; anything else as it is. Raises KeyMissing and StoreDamaged."""
    if seal is not None:
        return seal.opened(payload, place)
    key = key_of(payload)
    if key is not None:
        raise missing(key)
    return payload


def _without(_: Event, payload: bytes) -> bytes:
    return opened_payload(payload, None, "")


def _row(row: bytes, made: Callable[[Event, bytes], bytes]) -> bytes:
    at, worker, events = journal.decode(row)
    return journal.encode(at, worker, (journal.remade(event, made) for event in events))


def _place(event: Event) -> str:
    """What a payload of an event is bound to."""
    return f"{_name_of(event)} {'' if isinstance(event, e.Started) else getattr(event, 'address', '')}"


def _body(payload: bytes) -> bytes:
    try:
        return b64decode(payload[len(MARK) :].partition(b":")[2].removesuffix(b'"'), validate=True)
    except binascii.Error:
        return b""
