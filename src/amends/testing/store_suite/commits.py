"""Rules about one saga's writes: both guards, keys, heads, answers.

Guarantees: each rule is one test.
Must not: look at how a store keeps them.
"""

from __future__ import annotations

import pytest

from amends.store.base import Fate, Head, MailAnswer, NewMail, Retired, Write
from amends.testing.store_suite.rig import SHORT, Rig, row_of, rule


class CommitRules:
    """What `commit` does with one saga."""

    @rule
    async def test_what_was_written_is_there_for_everybody_and_after_a_restart(self, rig: Rig) -> None:
        worker = await rig.worker()
        saga = await rig.owned(worker)
        await rig.first_store.commit(worker, [saga.next(), saga.next()])
        expected = (row_of(saga.key, 0), row_of(saga.key, 1), row_of(saga.key, 2))

        elsewhere = await (await rig.store()).load(saga.key)
        later = await (await rig.again()).load(saga.key)

        assert elsewhere is not None
        assert later is not None
        assert elsewhere.rows == later.rows == expected

    @rule
    async def test_a_new_saga_has_the_head_that_was_given(self, rig: Rig) -> None:
        worker = await rig.worker()
        saga = rig.saga("order-42")
        write = saga.first(owner=worker, plan=rig.other_plan)

        await rig.first_store.commit(worker, [write])

        head = await rig.head(saga)
        assert write.new is not None
        assert (head.id, head.key, head.plan) == (saga.id, "order-42", rig.other_plan)
        assert (head.status, head.owner, head.wake_at, head.epoch) == ("running", worker, None, 1)
        assert (head.stuck, head.reason, head.stalled) == (None, None, None)
        assert (head.created_at, head.input_hash) == (write.new.created_at, write.new.input_hash)

    @rule
    async def test_a_head_changes_with_its_row_and_not_without(self, rig: Rig) -> None:
        worker = await rig.worker()
        saga = await rig.owned(worker)
        due = rig.first_store.now() + 60
        head = Head("compensating", None, due, "ship is stuck", "the card was declined", rig.other_plan)

        await rig.first_store.commit(worker, [saga.next(head), saga.next()])

        found = await rig.head(saga)
        assert (found.status, found.owner, found.wake_at) == ("compensating", None, due)
        assert (found.stuck, found.reason, found.plan) == (head.stuck, head.reason, rig.other_plan)

    @rule
    async def test_a_head_says_who_sees_to_a_saga_and_the_last_note(self, rig: Rig) -> None:
        worker = await rig.worker()
        saga, other = await rig.owned(worker), await rig.owned(worker)
        head = Head("parked", None, None, assigned="ada", note="the bank \N{EM DASH} calls back")

        await rig.first_store.commit(worker, [saga.next(head), other.next(Head("parked", None, None))])

        found = await rig.head(saga)
        assert (found.assigned, found.note) == ("ada", "the bank \N{EM DASH} calls back")
        assert [(one.assigned, one.note) for one in [await rig.head(other)]] == [(None, None)]
        assert await rig.first_store.send([saga.mail("m-1")])
        [owned] = await rig.first_store.claim(worker, [rig.plan], 10)
        assert (owned.head.assigned, owned.head.note) == (found.assigned, found.note)

    @rule
    async def test_a_head_without_a_plan_leaves_the_plan(self, rig: Rig) -> None:
        worker = await rig.worker()
        saga = await rig.owned(worker, plan=rig.other_plan)

        await rig.first_store.commit(worker, [saga.next(Head("running", worker, None))])

        assert (await rig.head(saga)).plan == rig.other_plan

    @rule
    async def test_a_row_whose_place_is_taken_is_lost(self, rig: Rig) -> None:
        worker = await rig.worker()
        saga = await rig.owned(worker)
        await rig.first_store.commit(worker, [saga.at(1)])

        fates = await rig.first_store.commit(worker, [saga.at(1, Head("parked", None, None))])

        assert fates == [Fate.LOST]
        assert (await rig.head(saga)).status == "running"
        assert len(await rig.rows(saga)) == 2

    @rule
    async def test_a_row_whose_predecessor_is_missing_is_lost(self, rig: Rig) -> None:
        worker = await rig.worker()
        saga = await rig.owned(worker)

        fates = await rig.first_store.commit(worker, [saga.at(2, Head("parked", None, None))])

        assert fates == [Fate.LOST]
        assert (await rig.head(saga)).status == "running"
        assert len(await rig.rows(saga)) == 1

    @rule
    async def test_a_row_of_a_saga_that_is_not_there_is_lost(self, rig: Rig) -> None:
        worker = await rig.worker()

        assert await rig.first_store.commit(worker, [rig.saga().at(1)]) == [Fate.LOST]

    @rule
    async def test_the_same_operation_again_is_the_same_commit(self, rig: Rig) -> None:
        worker = await rig.worker()
        saga = rig.saga()
        batch = [saga.first(owner=worker), saga.next(), saga.next(Head("completed", None, None))]

        first = await rig.first_store.commit(worker, batch)
        again = await rig.first_store.commit(worker, batch)

        assert first == again == [Fate.WRITTEN] * 3
        assert len(await rig.rows(saga)) == 3
        assert (await rig.head(saga)).status == "completed"

    @rule
    async def test_an_operation_repeated_later_changes_nothing(self, rig: Rig) -> None:
        worker = await rig.worker()
        saga = await rig.owned(worker)
        repeated = saga.next(Head("compensating", worker, None))
        await rig.first_store.commit(worker, [repeated])
        await rig.first_store.commit(worker, [saga.next(Head("compensated", None, None))])

        fates = await rig.first_store.commit(worker, [repeated])

        assert fates == [Fate.WRITTEN]
        assert (await rig.head(saga)).status == "compensated"

    @rule
    async def test_a_key_that_is_taken_is_told_apart(self, rig: Rig) -> None:
        worker = await rig.worker()
        taken = await rig.owned(worker)
        second = rig.saga(taken.key)

        fates = await rig.first_store.commit(worker, [second.first(owner=worker)])

        assert fates == [Fate.EXISTS]
        assert (await rig.head(taken)).id == taken.id

    @rule
    async def test_a_key_is_taken_also_after_the_end(self, rig: Rig) -> None:
        worker = await rig.worker()
        ended = await rig.ended(worker)

        assert await rig.first_store.commit(None, [rig.saga(ended.key).first()]) == [Fate.EXISTS]

    @rule
    async def test_a_retired_worker_writes_nothing(self, rig: Rig) -> None:
        gone, other = await rig.worker(lease=SHORT), await rig.worker()
        saga, new = await rig.owned(gone), rig.saga()
        await rig.retired(other, gone)

        with pytest.raises(Retired):
            await rig.first_store.commit(gone, [new.first(owner=gone), saga.next(Head("completed", None, None))])

        assert len(await rig.rows(saga)) == 1
        assert (await rig.head(saga)).status == "running"
        assert await rig.first_store.head(new.key) is None

    @rule
    async def test_a_worker_that_was_never_registered_writes_nothing(self, rig: Rig) -> None:
        saga = rig.saga()

        with pytest.raises(Retired):
            await rig.first_store.commit(987_654, [saga.first()])

        assert await rig.first_store.head(saga.key) is None

    @rule
    async def test_a_client_may_add_a_saga_that_nobody_owns(self, rig: Rig) -> None:
        client = await rig.store()
        saga = rig.saga()
        due = client.now()

        assert await client.commit(None, [saga.first(due=due)]) == [Fate.WRITTEN]

        head = await rig.head(saga)
        assert (head.owner, head.wake_at) == (None, due)

    @rule
    async def test_a_client_may_do_nothing_else(self, rig: Rig) -> None:
        worker = await rig.worker()
        saga, mine = await rig.owned(worker), rig.saga()

        with pytest.raises(ValueError, match="client"):
            await rig.first_store.commit(None, [saga.next(Head("completed", None, None))])
        with pytest.raises(ValueError, match="client"):
            await rig.first_store.commit(None, [mine.first(owner=worker)])

        assert len(await rig.rows(saga)) == 1
        assert await rig.first_store.head(mine.key) is None

    @rule
    async def test_an_answer_stands_or_falls_with_its_row(self, rig: Rig) -> None:
        worker = await rig.worker()
        saga = await rig.owned(worker)
        await rig.first_store.send([saga.mail("m1"), saga.mail("m2")])

        lost = saga.at(5, None, (MailAnswer("m1", "accepted", ""),))
        written = saga.at(1, None, (MailAnswer("m2", "refused", "not now"),))
        fates = await rig.first_store.commit(worker, [lost]) + await rig.first_store.commit(worker, [written])

        first, second = await rig.first_store.sent(saga.key, "m1"), await rig.first_store.sent(saga.key, "m2")
        assert fates == [Fate.LOST, Fate.WRITTEN]
        assert first is not None
        assert second is not None
        assert (first.answer, first.answered_at) == (None, None)
        assert (second.answer, second.detail) == ("refused", "not now")
        assert second.answered_at is not None

    @rule
    async def test_an_answer_without_a_mail_harms_nothing(self, rig: Rig) -> None:
        worker = await rig.worker()
        saga = await rig.owned(worker)

        fates = await rig.first_store.commit(worker, [saga.next(None, (MailAnswer("never sent", "accepted", ""),))])

        assert fates == [Fate.WRITTEN]

    @rule
    async def test_rows_and_mails_come_back_byte_for_byte(self, rig: Rig) -> None:
        worker = await rig.worker()
        saga = rig.saga("schlüssel \U0001f600 'quoted' \"twice\"")
        text = '["\\u0000","\U0001f600", 1e308, "\u2028", 123456789012345678901234567890]'.encode()
        first = saga.first(owner=worker)
        big = b'"' + b"x" * 300_000 + b'"'

        await rig.first_store.commit(worker, [first._replace(row=text), Write(saga.id, 1, 5, big)])
        mail = (await rig.first_store.send([NewMail(saga.key, "m", "signal", text)]))[0]

        assert await rig.rows(saga) == (text, big)
        assert mail is not None
        assert mail.body == text
