"""The tables of the in-memory store, which several stores may share as processes share a server.

Guarantees: a decision is written as a whole or not at all.
Must not: know who may write.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from amends.store.base import OPEN, Fate, MailRow, NewMail, NewSaga, PlanRow, SagaRow, TokenKey, WorkerRow, Write
from amends.store.bulk_memory import Kept

Entry = tuple[int, bytes]  # operation number and row


@dataclass
class MemoryDatabase:
    """What several stores share: one dictionary per table, of one namespace."""

    clock: Callable[[], float] = time.time
    sagas: dict[bytes, SagaRow] = field(default_factory=dict)
    keys: dict[str, bytes] = field(default_factory=dict)
    journal: dict[bytes, list[Entry]] = field(default_factory=dict)
    mails: dict[int, MailRow] = field(default_factory=dict)
    open_mails: dict[int, MailRow] = field(default_factory=dict)
    taken: set[int] = field(default_factory=set)
    workers: dict[int, WorkerRow] = field(default_factory=dict)
    plans: list[PlanRow] = field(default_factory=list)
    token_keys: list[TokenKey] = field(default_factory=list)
    numbers: count[int] = field(default_factory=lambda: count(1))
    listeners: list[Callable[[str], None]] = field(default_factory=list)
    open: dict[bytes, SagaRow] = field(default_factory=dict)
    mail_ids: dict[tuple[bytes, str], int] = field(default_factory=dict)
    bulks: dict[str, Kept] = field(default_factory=dict)

    def put(self, saga: SagaRow) -> None:
        """Keep a head; the open ones once more by themselves, so that nothing walks over the rest."""
        self.sagas[saga.id] = saga
        if saga.status in OPEN:
            self.open[saga.id] = saga
        else:
            self.open.pop(saga.id, None)

    def write(self, write: Write, lost: set[bytes]) -> Fate:
        """Write one decision, unless the saga has moved on, or is among the `lost`."""
        rows = self.journal.get(write.saga, [])
        if write.seq < len(rows) and rows[write.seq][0] == write.op:
            return Fate.WRITTEN
        if write.saga in lost or write.seq != len(rows):
            lost.add(write.saga)
            return Fate.LOST
        if write.new is not None and write.new.key in self.keys:
            lost.add(write.saga)
            return Fate.EXISTS
        self.journal.setdefault(write.saga, []).append((write.op, write.row))
        now = self.clock()
        if write.new is not None:
            self.keys[write.new.key] = write.saga
            self.put(_head(write.saga, write.new))
        if write.head is not None:
            old = self.sagas[write.saga]
            status, owner, wake_at, stuck, reason, plan, assigned, note, fingerprint, step = write.head
            self.put(
                old._replace(
                    status=status,
                    owner=owner,
                    wake_at=wake_at,
                    stuck=stuck,
                    reason=reason,
                    plan=old.plan if plan is None else plan,
                    assigned=assigned,
                    note=note,
                    fingerprint=fingerprint,
                    step=step,
                    updated_at=now,
                )
            )
        for answer in write.answers:
            mail = self.open_mails.get(self.mail_ids.get((write.saga, answer.message), 0))
            if mail is not None:
                self.answer(mail, answer.word, answer.detail)
        return Fate.WRITTEN

    def send(self, mail: NewMail) -> MailRow | None:
        """Put a mail into the mailbox."""
        saga = self.keys.get(mail.key)
        if saga is None:
            return None
        known = self.mail_ids.get((saga, mail.message))
        if known is not None:
            return self.mails[known]
        row = MailRow(next(self.numbers), saga, mail.message, mail.kind, mail.body, self.clock(), None, None, None)
        self.mails[row.id] = self.open_mails[row.id] = row
        self.mail_ids[saga, mail.message] = row.id
        return row

    def answer(self, mail: MailRow, word: str | None, detail: str) -> None:
        """Take a mail, and with a word answer it."""
        self.taken.add(mail.id)
        if word is None:
            self.mails[mail.id] = self.open_mails[mail.id] = mail._replace(detail=detail)
            return
        del self.open_mails[mail.id]
        self.mails[mail.id] = mail._replace(answer=word, detail=detail, answered_at=self.clock())

    def forget(self, saga: SagaRow) -> None:
        """Forget a saga, its journal and its mails."""
        del self.sagas[saga.id], self.keys[saga.key], self.journal[saga.id]
        for mail in [mail for mail in self.mails.values() if mail.saga == saga.id]:
            del self.mails[mail.id], self.mail_ids[mail.saga, mail.message]
            self.open_mails.pop(mail.id, None)
            self.taken.discard(mail.id)


def _head(saga: bytes, new: NewSaga) -> SagaRow:
    return SagaRow(
        saga,
        new.key,
        new.plan,
        "running",
        None,
        1,
        None,
        new.created_at,
        new.created_at,
        None,
        None,
        None,
        new.input_hash,
    )
