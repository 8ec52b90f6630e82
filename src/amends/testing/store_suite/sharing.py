"""Rules about sharing a database: namespaces, closing, hints, the clock.

Guarantees: each rule is one test.
Must not: rely on a hint.
"""

from __future__ import annotations

import asyncio
import threading

import pytest

from amends.errors import NotEnlisted, StoreUnavailable
from amends.store.base import TOKEN_KEYS_KEPT, Fate, Filter, Head, MailAnswer, Peek
from amends.testing.store_suite.rig import OTHER_PLAN, PLAN, SHORT, Rig, rule


class SharingRules:
    """Several stores on one database."""

    @rule
    async def test_keys_of_reply_tokens_are_added_one_behind_the_other_and_the_newest_kept(self, rig: Rig) -> None:
        store = rig.first_store
        assert await store.token_keys() == []

        await store.add_token_key("orders", b"1", 0)
        await store.add_token_key("others", b"2", 0)  # somebody was first
        for number in range(1, TOKEN_KEYS_KEPT + 2):
            await store.add_token_key("others", bytes([number]), number)

        keys = await store.token_keys()
        assert [key.number for key in keys] == list(range(TOKEN_KEYS_KEPT + 2, 2, -1))
        assert {key.name for key in keys} == {"orders"}
        assert keys[0].secret == bytes([TOKEN_KEYS_KEPT + 1])
        other = await rig.store("other")
        assert await other.token_keys() == []

    @rule
    async def test_namespaces_see_nothing_of_each_other(self, rig: Rig) -> None:
        worker = await rig.worker()
        saga = await rig.owned(worker)
        await rig.waiting(due=rig.first_store.now() - 1)
        await rig.first_store.send([saga.mail("m")])

        other = await rig.store("other")

        assert await other.head(saga.key) is None
        assert await other.load(saga.key) is None
        assert await other.find(Filter()) == []
        assert await other.find(Filter(("running",))) == []
        assert await other.find(Filter(stuck=True)) == []
        assert await other.count() == {}
        assert await other.mail(saga.id) == []
        assert await other.sent(saga.key, "m") is None
        assert await other.send([saga.mail("m2")]) == [None]
        assert await other.peek() == Peek(due=False, mail=False)
        assert await other.workers() == []
        assert await other.plans() == []

    @rule
    async def test_namespaces_take_no_work_from_each_other(self, rig: Rig) -> None:
        worker = await rig.worker()
        owned, waiting = await rig.owned(worker), await rig.waiting(due=rig.first_store.now() - 1)
        ended = await rig.ended(worker)
        await rig.first_store.send([waiting.mail("m"), ended.mail("m")])
        other = await rig.store("other")
        plans = await other.add_plans([PLAN, OTHER_PLAN])
        stranger = await other.register(rig.info())

        assert await other.claim(stranger, [*plans, rig.plan, rig.other_plan], 10) == []
        assert await other.owned(worker, []) == []
        assert await other.owned_mail(worker) == []
        assert await other.answer_ended(10) == 0
        assert await other.unstall([*plans, rig.plan]) == 0
        assert (await other.ended(other.now() + 60, None, 10)).sagas == ()
        assert await other.prune(other.now() + 60, [ended.id]) == 0
        assert await other.overdue(other.now(), 10) == []
        await other.release(stranger, [(owned.id, None)])
        assert (await rig.head(owned)).owner == worker

    @rule
    async def test_several_that_forget_the_same_sagas_forget_each_once(self, rig: Rig) -> None:
        worker = await rig.worker()
        sagas = [(await rig.ended(worker)).id for _ in range(20)]
        others = [rig.first_store, *[await rig.store() for _ in range(3)]]
        later = rig.first_store.now() + 1

        counts = await asyncio.gather(
            *(store.prune(later, sagas[:: -1 if place % 2 else 1]) for place, store in enumerate(others))
        )

        assert sum(counts) == 20
        assert (await rig.first_store.ended(later, None, 100)).sagas == ()

    @rule
    async def test_the_retired_workers_of_another_namespace_are_not_named(self, rig: Rig) -> None:
        gone, me = await rig.worker(lease=SHORT), await rig.worker()
        await rig.owned(gone)
        await rig.retired(me, gone)
        other = await rig.store("other")
        stranger = await other.register(rig.info())

        assert await other.retire_expired(stranger) == []

    @rule
    async def test_one_id_names_another_saga_in_another_namespace(self, rig: Rig) -> None:
        saga = await rig.waiting()
        other = await rig.store("other")
        twin = rig.saga(saga.key)

        assert await other.commit(None, [twin.first(plan=(await other.add_plans([PLAN]))[0])]) == [Fate.WRITTEN]

        found = await other.head(saga.key)
        assert found is not None
        assert found.id == twin.id
        assert (await rig.head(saga)).id == saga.id

    @rule
    async def test_a_write_changes_nothing_in_another_namespace(self, rig: Rig) -> None:
        worker = await rig.worker()
        saga = await rig.owned(worker)
        await rig.first_store.send([saga.mail("m")])
        other = await rig.store("other")
        stranger = await other.register(rig.info())

        write = saga.at(1, Head("completed", None, None), (MailAnswer("m", "accepted", ""),))
        assert await other.commit(stranger, [write]) == [Fate.LOST]

        assert (await rig.head(saga)).status == "running"
        mail = await rig.first_store.sent(saga.key, "m")
        assert mail is not None
        assert mail.answer is None

    @rule
    async def test_a_closed_store_says_so_and_closes_twice(self, rig: Rig) -> None:
        client = await rig.store()
        await client.close()
        await client.close()

        with pytest.raises(StoreUnavailable):
            await client.head("anything")

    @rule
    async def test_the_clock_never_steps_back(self, rig: Rig) -> None:
        other = await rig.store()
        read = [rig.first_store.now()]
        for _ in range(200):
            await asyncio.sleep(0)
            read.append(rig.first_store.now())

        assert read == sorted(read)
        assert other.now() == pytest.approx(read[-1], abs=10)

    @rule
    async def test_hints_are_never_relied_on_and_never_raise(self, rig: Rig) -> None:
        client = await rig.store()
        saga = await rig.waiting()
        heard: list[tuple[str, threading.Thread]] = []

        client.hint([saga.key], work=True)  # before anybody listens
        client.watch(saga.key)
        for store in (rig.first_store, client):
            store.listen(lambda topic: heard.append((topic, threading.current_thread())))
        client.watch(saga.key)
        client.watch("nobody")
        for _ in range(300):
            client.hint([], work=True)
            rig.first_store.hint([saga.key, "nobody", "x" * 200], work=False)
        await asyncio.sleep(0)
        await client.close()
        client.hint([saga.key], work=True)
        client.watch(saga.key)

        assert {thread for _, thread in heard} <= {threading.current_thread()}
        assert all(isinstance(topic, str) for topic, _ in heard)

    @rule
    async def test_what_is_no_transaction_of_this_database_is_refused(self, rig: Rig) -> None:
        for within in (None, object(), "BEGIN", 5):
            with pytest.raises(NotEnlisted):
                rig.first_store.join(within)
