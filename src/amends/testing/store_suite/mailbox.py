"""Rules about the mailbox: what comes from outside, and its answers.

Guarantees: each rule is one test.
Must not: look at how a store keeps them.
"""

from __future__ import annotations

import asyncio

from amends.store.base import Head, MailAnswer, MailRow
from amends.testing.store_suite.rig import Rig, rule


def messages(mails: list[MailRow]) -> list[str]:
    """What these mails are called."""
    return [mail.message for mail in mails]


class MailboxRules:
    """Mail to sagas."""

    @rule
    async def test_a_mail_is_there_for_everybody_once_it_was_sent(self, rig: Rig) -> None:
        saga = await rig.waiting()
        before = rig.first_store.now()

        sent = (await rig.first_store.send([saga.mail("m", "cancel", b'{"reason":"late"}')]))[0]

        assert sent is not None
        assert (sent.saga, sent.message, sent.kind, sent.body) == (saga.id, "m", "cancel", b'{"reason":"late"}')
        assert before <= sent.created_at <= rig.first_store.now()
        assert (sent.answer, sent.detail, sent.answered_at, sent.is_taken) == (None, None, None, False)
        assert await (await rig.store()).sent(saga.key, "m") == sent

    @rule
    async def test_the_same_id_counts_once_and_gives_the_first_one(self, rig: Rig) -> None:
        saga = await rig.waiting()
        first = (await rig.first_store.send([saga.mail("m", body=b"1")]))[0]

        again = (await rig.first_store.send([saga.mail("m", body=b"2")]))[0]

        assert first is not None
        assert again == first
        assert len(await rig.first_store.mail(saga.id)) == 1

    @rule
    async def test_a_repeated_mail_shows_the_answer_it_has(self, rig: Rig) -> None:
        worker = await rig.worker()
        saga = await rig.owned(worker)
        await rig.first_store.send([saga.mail("m")])
        await rig.first_store.commit(worker, [saga.next(None, (MailAnswer("m", "accepted", "well"),))])

        again = (await rig.first_store.send([saga.mail("m")]))[0]

        assert again is not None
        assert (again.answer, again.detail) == ("accepted", "well")
        assert not (await rig.first_store.peek()).mail

    @rule
    async def test_ids_of_mails_are_each_sagas_own(self, rig: Rig) -> None:
        one, two = await rig.waiting(), await rig.waiting()

        sent = await rig.first_store.send([one.mail("m"), two.mail("m")])

        assert [mail.saga for mail in sent if mail is not None] == [one.id, two.id]

    @rule
    async def test_mail_to_a_saga_that_is_not_there_is_told_apart(self, rig: Rig) -> None:
        saga, unknown = await rig.waiting(), rig.saga()

        sent = await rig.first_store.send([unknown.mail("m"), saga.mail("m")])

        assert sent[0] is None
        assert sent[1] is not None
        assert await rig.first_store.sent(unknown.key, "m") is None
        assert await rig.first_store.sent(saga.key, "never sent") is None

    @rule
    async def test_the_owner_finds_the_mail_of_its_sagas_oldest_first(self, rig: Rig) -> None:
        worker, other = await rig.worker(), await rig.worker()
        mine, theirs, waiting = await rig.owned(worker), await rig.owned(other), await rig.waiting()
        for name in ("b", "a", "c"):
            await rig.first_store.send([mine.mail(name), theirs.mail(name), waiting.mail(name)])

        mails = await rig.first_store.owned_mail(worker)

        assert messages(mails) == ["b", "a", "c"]
        assert {mail.saga for mail in mails} == {mine.id}

    @rule
    async def test_mail_is_offered_until_it_is_taken(self, rig: Rig) -> None:
        worker = await rig.worker()
        saga = await rig.owned(worker)
        await rig.first_store.send([saga.mail("m1"), saga.mail("m2")])
        offered = [messages(await rig.first_store.owned_mail(worker)) for _ in range(2)]

        await rig.first_store.commit(worker, [saga.next(None, (MailAnswer("m1", None, ""),))])

        assert offered == [["m1", "m2"]] * 2
        assert messages(await rig.first_store.owned_mail(worker)) == ["m2"]

    @rule
    async def test_a_taken_mail_is_answered_by_a_later_decision(self, rig: Rig) -> None:
        worker = await rig.worker()
        saga = await rig.owned(worker)
        await rig.first_store.send([saga.mail("m")])
        await rig.first_store.commit(worker, [saga.next(None, (MailAnswer("m", None, ""),))])
        between = await rig.first_store.sent(saga.key, "m")

        await rig.first_store.commit(worker, [saga.next(None, (MailAnswer("m", "too late", "shipped"),))])

        after = await rig.first_store.sent(saga.key, "m")
        assert between is not None
        assert after is not None
        assert (between.answer, between.answered_at, between.is_taken) == (None, None, True)
        assert (after.answer, after.detail) == ("too late", "shipped")

    @rule
    async def test_an_answer_is_given_once(self, rig: Rig) -> None:
        worker = await rig.worker()
        saga = await rig.owned(worker)
        await rig.first_store.send([saga.mail("m")])
        await rig.first_store.commit(worker, [saga.next(None, (MailAnswer("m", "accepted", "first"),))])

        await rig.first_store.commit(worker, [saga.next(None, (MailAnswer("m", "refused", "second"),))])

        found = await rig.first_store.sent(saga.key, "m")
        assert found is not None
        assert (found.answer, found.detail) == ("accepted", "first")

    @rule
    async def test_mail_of_ended_sagas_is_answered_too_late_in_batches(self, rig: Rig) -> None:
        worker = await rig.worker()
        completed, compensated = await rig.ended(worker), await rig.ended(worker, "compensated")
        parked, open_ = await rig.owned(worker), await rig.owned(worker)
        await rig.first_store.commit(worker, [parked.next(Head("parked", None, None))])
        await rig.first_store.send([saga.mail("m") for saga in (completed, compensated, parked, open_)])

        counts = [await rig.first_store.answer_ended(1) for _ in range(3)]

        answers = [await rig.first_store.sent(saga.key, "m") for saga in (completed, compensated, parked, open_)]
        assert counts == [1, 1, 0]
        assert [mail.answer for mail in answers if mail is not None] == ["too late", "too late", None, None]
        assert [mail.detail for mail in answers if mail is not None][:2] == [
            "the saga is completed",
            "the saga is compensated",
        ]
        assert answers[0] is not None
        assert answers[0].answered_at is not None

    @rule
    async def test_mail_that_was_taken_before_the_end_is_answered_too(self, rig: Rig) -> None:
        worker = await rig.worker()
        saga = await rig.owned(worker)
        await rig.first_store.send([saga.mail("m")])
        await rig.first_store.commit(worker, [saga.next(None, (MailAnswer("m", None, ""),))])
        await rig.first_store.commit(worker, [saga.next(Head("completed", None, None))])

        assert await rig.first_store.answer_ended(10) == 1

    @rule
    async def test_all_mail_of_a_saga_is_listed_oldest_first(self, rig: Rig) -> None:
        worker = await rig.worker()
        saga, other = await rig.owned(worker), await rig.owned(worker)
        for name in ("b", "a", "c"):
            await rig.first_store.send([saga.mail(name), other.mail(name)])
        await rig.first_store.commit(worker, [saga.next(None, (MailAnswer("a", "accepted", ""),))])

        assert messages(await rig.first_store.mail(saga.id)) == ["b", "a", "c"]

    @rule
    async def test_one_mail_sent_by_many_at_once_is_one(self, rig: Rig) -> None:
        stores = [rig.first_store, *[await rig.store() for _ in range(3)]]
        saga = await rig.waiting()

        sent = await asyncio.gather(*(store.send([saga.mail("m")]) for store in stores))

        assert len({mail.id for mails in sent for mail in mails if mail is not None}) == 1
        assert len(await rig.first_store.mail(saga.id)) == 1
