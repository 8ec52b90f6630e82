"""What is wrong with a service, and with the messages between services."""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Sequence
from typing import Any

import pytest
from wrong_engine import wrong

from amends.decide.wire import Command
from amends.message import Message
from amends.run import outbox_rows, participant
from amends.run.barrier import Try
from amends.run.inbox_careful import Care
from amends.run.outbox import Outbox
from amends.run.outbox_rows import EventRow, numbered
from amends.run.participant import Participant
from amends.run.participant_work import Work
from amends.run.tokens import Tokens
from amends.store import effects
from amends.store.effects_rows import InboxRow
from amends.transport.base import Delivery

Patch = pytest.MonkeyPatch
TROUBLE = "tests/run/test_participant_trouble.py"
KILLED = "tests/run/test_participant_killed.py"
SERVERS = ("postgres_databases", "redis_url")


@wrong(
    2,
    "P1",
    "tests/run/test_publish_within_postgres.py::test_an_event_whose_transaction_commits_late_is_not_passed_over",
    "assert 1 == 2",
    ("postgres_databases",),
)
def events_go_out_behind_a_cursor(patch: Patch) -> None:
    """The sweep of the outbox goes on from the highest number that it has seen."""
    take, last = Outbox._take, [0]

    def behind(self: Outbox, row: EventRow) -> None:
        if row.number > last[0]:
            last[0] = row.number
            take(self, row)

    patch.setattr(Outbox, "_take", behind)


@wrong(
    3,
    "P1",
    f"{KILLED}::test_a_service_killed_around_its_commit_has_one_effect_and_replies_in_the_end[redis-tx.before]",
    "TimeoutError",
    SERVERS,
    soak=True,
    processes=True,
)
@wrong(3, "P1", f"{TROUBLE}::test_a_participant_that_leaves_in_the_middle_is_no_death[sqlite]", "assert not True")
def a_command_is_acked_before_it_is_done(patch: Patch) -> None:
    """The broker is told that a command is done when it comes, so that it is lost with the process."""
    honest = Work.command

    async def command(self: Work, delivery: Delivery, message: Message) -> None:
        await delivery.ack()
        await honest(self, delivery, message)

    patch.setattr(Work, "command", command)


@wrong(
    7,
    "P4",
    "tests/run/test_outbox.py::test_an_event_published_within_a_handlers_transaction_goes_out_if_and_only_if_it_commits[sqlite]",
    "'fails'",
)
def an_event_goes_out_before_its_transaction_commits(patch: Patch) -> None:
    """An event that a handler publishes goes to the broker at once, whether its transaction commits or not."""
    rows: list[EventRow] = []
    honest, published = outbox_rows.event_row, Participant._published

    def event_row(*given: Any, **more: Any) -> EventRow:
        rows.append(honest(*given, **more))
        return rows[-1]

    def told_at_once(self: Participant, given: Any, written: Sequence[Sequence[Any]]) -> None:
        published(self, given, written)
        out = self.session.work.outbox
        assert out is not None
        out.committed(numbered([rows.pop()], written, time.time()), {})

    patch.setattr(participant, "event_row", event_row)
    patch.setattr(Participant, "_published", told_at_once)


@wrong(
    8,
    "P2",
    "tests/run/test_transactions.py::test_a_crash_around_the_commit_leaves_one_effect_and_finds_the_stored_result[tx.before-2]",
    "Left contains one more item",
)
def the_inbox_is_written_in_a_transaction_of_its_own(patch: Patch) -> None:
    """The effect is committed, and then, by itself, the mark that it was done."""
    honest = Try.keep_done_in

    def keep_done_in(
        self: Try, connection: sqlite3.Connection, row: InboxRow, rows: list[InboxRow], now: float
    ) -> None:
        effects.finish(connection)
        effects.begin(connection)
        honest(self, connection, row, rows, now)

    patch.setattr(Try, "keep_done_in", keep_done_in)


@wrong(
    18, "P3", "tests/run/test_remote_steps.py::test_a_forged_reply_moves_nothing_and_is_counted[token]", "TimeoutError"
)
def a_reply_is_believed_whoever_sent_it(patch: Patch) -> None:
    """The token of a reply is not looked at."""
    patch.setattr(Tokens, "knows", lambda self, token: True)
    patch.setattr(Tokens, "fits", lambda self, token, *what: True)


@wrong(
    20,
    "P1",
    f"{KILLED}::test_a_message_that_takes_its_process_down_each_time_is_bounded_and_parks_its_saga[redis]",
    "it is not bounded",
    SERVERS,
    soak=True,
    processes=True,
)
@wrong(
    20,
    "P1",
    f"{TROUBLE}::test_a_message_that_took_too_many_processes_down_parks_its_saga_and_a_person_who_asks_again_is_heard[sqlite]",
    "SUCCEEDED: 'succeeded'> != <Word.FAILED",
)
def deaths_are_counted_by_delivery(patch: Patch) -> None:
    """How many processes a message took down is counted under a number that each delivery has anew."""
    honest = Work.care

    def care(self: Work, times: int, command: Command) -> Care | None:
        known = honest(self, times, command)
        if known is not None:
            known.parts = (*known.parts, uuid.uuid4().hex)
        return known

    patch.setattr(Work, "care", care)
