"""Mails with what they carry sealed: the value of a signal, the result or the arguments of an act, a reply.

Guarantees: a mail opens for the saga that it was sent to, and in its own place; who acts, and why, stays readable.
Must not: say what a mail means; `mailbox.py` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from amends.decide import messages as m
from amends.decide.messages import Message
from amends.errors import KeyMissing, StoreDamaged
from amends.run import mailbox
from amends.run.sealing import MARK, Seal, Seals, key_of, opened_payload
from amends.store.base import MailAnswer, MailRow, NewMail

if TYPE_CHECKING:
    from amends.run.live import Live

_encode = msgspec.json.Encoder().encode
_PAYLOADS = ("value", "arguments")


def sealed(mail: NewMail, seals: Seals | None) -> NewMail:
    """A mail as it is kept. One that is already is what it was."""
    if seals is None:
        return mail
    letter, seal = mailbox.letter_of(mail.body), seals.mail(mail.key)
    made = {
        name: msgspec.Raw(seal.sealed(bytes(payload), _place(mail.kind, letter, name)))
        for name in _PAYLOADS
        if bytes(payload := getattr(letter, name)) not in (b"", b"null")
    }
    return mail._replace(body=_encode(msgspec.structs.replace(letter, **made))) if made else mail


def opened(kind: str, body: bytes, seals: Seals | None, key: str) -> bytes:
    """A mail's body as it was sent. key: of the saga that it is for. Raises KeyMissing and StoreDamaged."""
    if MARK not in body:
        return body
    letter = mailbox.letter_of(body)
    seal = None if seals is None else seals.mail(key)
    shut = (name for name in _PAYLOADS if key_of(bytes(getattr(letter, name))) is not None)
    made = {name: msgspec.Raw(_opened(kind, letter, name, seal)) for name in shut}
    return _encode(msgspec.structs.replace(letter, **made))


def understood(mail: MailRow, live: Live, live_workers: frozenset[int]) -> tuple[Message, tuple[MailAnswer, ...]]:
    """As `mailbox.understood`. One that cannot be opened is refused: whoever sent it may send it again."""
    try:
        body = opened(mail.kind, mail.body, live.shell.seals, live.key)
    except (KeyMissing, StoreDamaged) as error:
        return m.Tick(), (MailAnswer(mail.message, "refused", str(error)),)
    return mailbox.understood(mail._replace(body=body), live, live_workers)


def is_repeated(mail: NewMail, row: MailRow, seals: Seals | None) -> bool:
    """Whether the mail that is there under an id says what was to be said. A signal may come again with another value:
    the first one counts."""
    if row.kind != mail.kind:
        return False
    if mail.kind == "signal":
        return mailbox.letter_of(row.body).name == mailbox.letter_of(mail.body).name
    try:
        return opened(row.kind, row.body, seals, mail.key) == opened(mail.kind, mail.body, seals, mail.key)
    except (KeyMissing, StoreDamaged):
        return False


def _opened(kind: str, letter: mailbox.Letter, name: str, seal: Seal | None) -> bytes:
    return opened_payload(bytes(getattr(letter, name)), seal, _place(kind, letter, name))


def _place(kind: str, letter: mailbox.Letter, name: str) -> str:
    return f"{kind} {name} {letter.name or letter.address}"
