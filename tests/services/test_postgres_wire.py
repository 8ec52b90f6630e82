"""Reading PostgreSQL's protocol as it flows by, however the network cuts it."""

from __future__ import annotations

import struct

import pytest

from services.postgres_wire import Line


def message(kind: bytes, body: bytes = b"") -> bytes:
    """One message of the protocol."""
    return kind + struct.pack("!i", len(body) + 4) + body


def opening(code: int, body: bytes = b"") -> bytes:
    """A message of a connection's beginning, which has no kind."""
    return struct.pack("!ii", len(body) + 8, code) + body


STARTUP = opening(196608, b"user\0amends\0\0")
SSL = opening(80877103)
PARSE = message(b"P", b"s1\0INSERT INTO ledger VALUES ($1)\0\0\0")
BIND = message(b"B", b"\0s1\0\0\0\0\1\0\0\0\5value\0\0")
EXECUTE = message(b"E", b"\0\0\0\0\0")
SYNC = message(b"S")
READY = message(b"Z", b"I")


def test_a_named_statement_is_known_when_it_is_executed() -> None:
    line = Line()
    line.from_client(STARTUP + PARSE + SYNC)

    *_, execute, sync = line.from_client(BIND + EXECUTE + SYNC)

    assert execute.executes is not None
    assert b"INSERT INTO ledger" in execute.executes
    assert b"value" in execute.executes
    assert execute.answer == line.answers_due == 3  # the beginning, the first Sync, this Sync
    assert sync.executes is None


def test_a_statement_that_is_only_prepared_is_not_executed() -> None:
    passing = Line().from_client(STARTUP + PARSE + SYNC)

    assert [one.executes for one in passing] == [None, None, None]


def test_a_name_that_was_closed_or_taken_again_means_the_new_text() -> None:
    line = Line()
    line.from_client(STARTUP + PARSE + message(b"C", b"Ss1\0") + message(b"P", b"s1\0SELECT 1\0\0\0"))

    execute = line.from_client(BIND + EXECUTE)[-1]

    assert execute.executes is not None
    assert b"INSERT" not in execute.executes
    assert b"SELECT 1" in execute.executes


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 1000])
def test_messages_come_out_whole_and_unchanged_however_the_network_cuts_them(size: int) -> None:
    sent = SSL + STARTUP + message(b"Q", b"COMMIT\0") + PARSE + BIND + EXECUTE + SYNC
    answered = (
        b"N" + message(b"R", b"\0\0\0\0") + READY + READY + message(b"1") + message(b"C", b"INSERT 0 1\0") + READY
    )
    line = Line()

    there = [one for at in range(0, len(sent), size) for one in line.from_client(sent[at : at + size])]
    back = [one for at in range(0, len(answered), size) for one in line.from_server(answered[at : at + size])]

    assert b"".join(one.data for one in there) == sent
    assert b"".join(back) == answered
    assert [one.answer for one in there if one.executes is not None] == [2, 3]
    assert line.answers_due == line.answers_seen == 3


def test_an_encrypted_line_is_passed_on_unread() -> None:
    line = Line()
    line.from_client(SSL)

    assert line.from_server(b"S") == [b"S"]
    assert [one.data for one in line.from_client(b"\x16\x03\x01")] == [b"\x16\x03\x01"]
    assert line.from_server(b"\x16\x03") == [b"\x16\x03"]


def test_what_is_not_the_protocol_is_refused() -> None:
    with pytest.raises(ValueError, match="not PostgreSQL's protocol"):
        Line().from_client(b"GET / HTTP/1.1\r\n\r\n")
