"""Reads PostgreSQL's wire protocol (version 3) as it flows by, far enough to know which statement is executed when.

Prepared statements are sent once by text and later by name, so a text is looked for where it is executed: in a simple
query, or in an Execute whose portal was bound to a statement that was parsed with that text. Values that were bound
are looked at, too.

Guarantees: bytes are never changed; what comes out is what came in, cut into whole messages.
Must not: do I/O; understand an encrypted line (it is passed on unread).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

_SSL, _GSS, _CANCEL = 80877103, 80877104, 80877102
MESSAGE_MAX_BYTES = 256 * 1024 * 1024


@dataclass
class Frames:
    """Cuts a stream into messages: a kind of one byte, a length that counts itself, a body."""

    _rest: bytearray = field(default_factory=bytearray)

    def feed(self, data: bytes) -> None:
        """Add what has come."""
        self._rest += data

    def first(self) -> tuple[int, bytes] | None:
        """The next message of a connection's beginning, which has no kind: its code and all its bytes."""
        if len(self._rest) < 8:
            return None
        length, code = struct.unpack_from("!ii", self._rest)
        whole = self._take(length)
        return None if whole is None else (code, whole)

    def next(self) -> tuple[bytes, bytes, bytes] | None:
        """The next message: its kind, its body, all its bytes."""
        if len(self._rest) < 5:
            return None
        (length,) = struct.unpack_from("!i", self._rest, 1)
        whole = self._take(length + 1)
        return None if whole is None else (whole[:1], whole[5:], whole)

    def one(self) -> bytes:
        """A single byte, which answers the question for encryption."""
        return self._take(1) or b""

    def everything(self) -> bytes:
        """What is left, unread."""
        return self._take(len(self._rest)) or b""

    def _take(self, length: int) -> bytes | None:
        if not 0 <= length <= MESSAGE_MAX_BYTES:
            raise ValueError(f"a message of {length} bytes: this is not PostgreSQL's protocol")
        if len(self._rest) < length:
            return None
        whole = bytes(self._rest[:length])
        del self._rest[:length]
        return whole


@dataclass(frozen=True)
class Passing:
    """A message on its way to the server.

    executes: the statement's text and values, if it executes one. answer: which ReadyForQuery of the connection,
    counted from 1, says that this was done with.
    """

    data: bytes
    executes: bytes | None = None
    answer: int = 0


@dataclass
class Line:
    """One connection, both directions."""

    answers_due: int = 0  # how many ReadyForQuery the server owes for all that was sent since the beginning
    answers_seen: int = 0
    opaque: bool = False  # encrypted from here on
    _begun: bool = False
    _asked_for_encryption: int = 0
    _to_server: Frames = field(default_factory=Frames)
    _to_client: Frames = field(default_factory=Frames)
    _statements: dict[bytes, bytes] = field(default_factory=dict)
    _portals: dict[bytes, bytes] = field(default_factory=dict)

    def from_client(self, data: bytes) -> list[Passing]:
        """What may be passed on to the server, message by message."""
        self._to_server.feed(data)
        passing: list[Passing] = []
        while not self.opaque:
            message = self._opening() if not self._begun else self._message()
            if message is None:
                return passing
            passing.append(message)
        rest = self._to_server.everything()
        return [*passing, Passing(rest)] if rest else passing

    def from_server(self, data: bytes) -> list[bytes]:
        """What may be passed on to the client, message by message. `answers_seen` counts along."""
        self._to_client.feed(data)
        passing: list[bytes] = []
        while not self.opaque:
            if self._asked_for_encryption:
                answer = self._to_client.one()
                if not answer:
                    return passing
                self._asked_for_encryption -= 1
                self.opaque = answer in (b"S", b"G")
                passing.append(answer)
                continue
            message = self._to_client.next()
            if message is None:
                return passing
            self.answers_seen += message[0] == b"Z"
            passing.append(message[2])
        rest = self._to_client.everything()
        return [*passing, rest] if rest else passing

    def _opening(self) -> Passing | None:
        first = self._to_server.first()
        if first is None:
            return None
        code, whole = first
        if code in (_SSL, _GSS):
            self._asked_for_encryption += 1
        elif code == _CANCEL:
            self.opaque = True
        else:
            self._begun = True
            self.answers_due += 1
        return Passing(whole)

    def _message(self) -> Passing | None:
        message = self._to_server.next()
        if message is None:
            return None
        kind, body, whole = message
        match kind:
            case b"Q":
                self.answers_due += 1
                return Passing(whole, body, self.answers_due)
            case b"F" | b"S":
                self.answers_due += 1
            case b"P":
                name, _, rest = body.partition(b"\0")
                self._statements[name] = rest.partition(b"\0")[0]
            case b"B":
                portal, _, rest = body.partition(b"\0")
                statement, _, values = rest.partition(b"\0")
                self._portals[portal] = self._statements.get(statement, b"") + b"\0" + values
            case b"E":
                text = self._portals.get(body.partition(b"\0")[0], b"")
                return Passing(whole, text, self.answers_due + 1)  # to the Sync that follows
            case b"C":
                (self._statements if body[:1] == b"S" else self._portals).pop(body[1:].rstrip(b"\0"), None)
        return Passing(whole)
