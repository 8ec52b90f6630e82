"""F67: whoever asks in one namespace sees nothing of another and changes nothing there, whatever ids it knows."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Any

import pytest
from security_scene import Job, Rows, asks, done, jobs, on, rows_of, settled

from amends.decide.events import Phase
from amends.errors import UnknownBulk, UnknownSaga
from amends.operate.bulk import BulkAct, BulkPlan
from amends.operate.operations import Operations, operations
from amends.operate.values import Page, Search
from amends.run.database import store_of
from amends.run.remote import token_keys
from amends.run.tokens import Tokens
from amends.store.base import Fate, Filter, Head, MailAnswer, NewMail, NewSaga, Store, WorkerInfo, Write

NOTHING: Any = object()  # instead of UnknownSaga: nothing is given
BY: dict[str, Any] = {"actor": "eve", "reason": "to see"}


async def seen_of(found: Operations) -> tuple[Any, ...]:
    """What an overview tells of sagas."""
    seen = await found.overview()
    began_or_ended = sum(map(sum, seen.rates[:4])) + seen.day.completed + seen.day.compensated
    return sum(seen.counts.values()), seen.stuck, began_or_ended, seen.groups


async def owned_of(found: Operations) -> int:
    """How many sagas the workers own that are seen."""
    return sum(line.owned for line in await found.workers())


# Each operation, with what only the other namespace has. What it gives, or what it raises.
ACTS: dict[str, tuple[Callable[[Operations], Awaitable[Any]], Any]] = {
    "find": (lambda found: found.find(before="parked"), UnknownSaga),
    "show": (lambda found: found.show("parked"), UnknownSaga),
    "history": (lambda found: found.history("parked"), UnknownSaga),
    "flow": (lambda found: found.flow("parked"), UnknownSaga),
    "plan": (lambda found: found.plan("blue-only"), UnknownSaga),
    "search": (lambda found: found.search(Search(key="parked", stuck=True)), Page((), False)),
    "groups": (lambda found: found.groups(Search()), ()),
    "overview": (seen_of, (0, 0, 0, ())),
    "workers": (owned_of, 0),
    "stuck": (lambda found: found.stuck(), ()),
    "doctor": (lambda found: found.doctor(), NOTHING),
    "count_ended": (lambda found: found.count_ended(older_than=0), 0),
    "prune": (lambda found: found.prune(older_than=0), (0, 0)),
    "retry": (lambda found: found.retry("parked", "work", **BY), UnknownSaga),
    "skip": (lambda found: found.skip("parked", "work", **BY), UnknownSaga),
    "resolve": (lambda found: found.resolve("parked", "work", result=b'"x"', **BY), UnknownSaga),
    "compensate": (lambda found: found.compensate("parked", **BY), UnknownSaga),
    "unpark": (lambda found: found.unpark("parked", **BY), UnknownSaga),
    "cancel": (lambda found: found.cancel("waits", **BY), UnknownSaga),
    "signal": (lambda found: found.signal("waits", "answer", b'{"yes":true}', actor="eve"), UnknownSaga),
    "assign": (lambda found: found.assign("parked", "eve", **BY), UnknownSaga),
    "note": (lambda found: found.note("parked", "seen", actor="eve"), UnknownSaga),
    "preview": (lambda found: found.preview("parked", "compensate"), UnknownSaga),
    "bulk_plan": (
        lambda found: found.bulk_plan(BulkAct("unpark", "eve"), Search()),
        BulkPlan("unpark", "", 0, False, 0, (), (), sha256().hexdigest()),  # of no sagas
    ),
    "bulk_start": (lambda found: found.bulk_start(BulkAct("unpark", "eve"), ["parked"]), UnknownSaga),
    "bulk": (lambda found: found.bulk("mend"), UnknownBulk),
    "bulks": (lambda found: found.bulks(), ((), False)),
    "bulk_results": (lambda found: found.bulk_results("mend"), UnknownBulk),
    "bulk_log": (lambda found: found.bulk_log("mend"), UnknownBulk),
    "bulk_pause": (lambda found: found.bulk_pause("mend", actor="eve"), UnknownBulk),
    "bulk_resume": (lambda found: found.bulk_resume("mend", actor="eve"), UnknownBulk),
    "bulk_cancel": (lambda found: found.bulk_cancel("mend", actor="eve"), UnknownBulk),
    "bulk_run": (lambda found: found.bulk_run("mend"), UnknownBulk),
}


def test_every_operation_is_tried() -> None:
    public = {name for name, _ in inspect.getmembers(Operations, inspect.isfunction) if not name.startswith("_")}

    assert public == ACTS.keys()


def test_an_operation_of_one_namespace_finds_nothing_of_another_and_changes_nothing(database: str) -> None:
    done(settled(database, "blue"))
    done(begun(database, "blue"))
    before = rows_of(database)

    async def main() -> None:
        async with on(database, "red") as orchestrator, operations(orchestrator, answer_seconds=5) as found:
            assert (await found.find()).sagas == ()
            with pytest.raises(UnknownSaga):
                await found.find(sagas=["blue-only"])
            for name, (act, wanted) in ACTS.items():
                if wanted in (UnknownSaga, UnknownBulk):
                    with pytest.raises(wanted):
                        await act(found)
                    continue
                given = await act(found)
                assert wanted is NOTHING or (given.lines if name == "stuck" else given) == wanted, name

    done(main())
    assert_kept(before, rows_of(database))


def test_who_has_the_same_ids_acts_on_its_own(database: str) -> None:
    async def all_of_blue() -> list[Any]:
        store = store_of(database, "blue")
        await store.open(work=False)
        try:
            rows = await store.find(Filter())
            return [(await store.load(row.key), await store.mail(row.id)) for row in rows]
        finally:
            await store.close()

    async def acts() -> None:
        async with on(database, "red") as orchestrator, operations(orchestrator, answer_seconds=30) as found:
            await found.resolve("parked", "work", result=b'"x"', **BY)
            await found.signal("waits", "answer", b'{"yes":true}', actor="ada")
            await orchestrator.handle(asks, "waits").outcome(timeout=60)
            await orchestrator.handle(jobs, "parked").outcome(timeout=60)
            assert (await found.prune(older_than=0)).pruned == 4
            assert (await found.find()).sagas == ()

    done(settled(database, "blue"))
    done(settled(database, "red"))
    before = done(all_of_blue())

    done(acts())

    assert len(before) == 4
    assert done(all_of_blue()) == before


async def begun(database: str, namespace: str) -> None:
    """A bulk operation that is paused."""
    async with operations(database, namespace=namespace) as found:
        await found.bulk_start(BulkAct("unpark", "ada"), ["parked"], id="mend", paused=True)


def assert_kept(before: Rows, after: Rows) -> None:
    """What was there still is; a worker of the other namespace may have come, and no more."""
    for name, rows in before.items():
        assert [row for row in rows if row not in after.get(name, [])] == [], name


# The store, with internal ids


def test_the_store_of_one_namespace_gives_and_takes_nothing_by_another_s_internal_ids(database: str) -> None:
    done(settled(database, "blue"))

    async def main() -> Rows:
        theirs = store_of(database, "blue")
        await theirs.open(work=False)
        sagas = {row.key: row for row in await theirs.find(Filter())}
        plans = [row.id for row in await theirs.plans()]
        await theirs.send([NewMail("waits", "m-1", "signal", b'{"name":"answer","value":{"yes":true}}')])
        keys = [key.secret for key in await theirs.token_keys()]
        gone = [row.id for row in await theirs.workers()]
        await theirs.close()
        before = rows_of(database)
        ours = store_of(database, "red")
        await ours.open(work=True)
        try:
            [worker, *_] = [await ours.register(WorkerInfo("here", 1, tuple(plans), 60.0))]
            await _reads(ours, sagas, plans)
            await _writes(ours, worker, sagas, plans, gone)
            await ours.add_token_key("red", b"r" * 32, 0)
            assert not keys or keys[0] not in [key.secret for key in await ours.token_keys()]
        finally:
            await ours.close()
        return before

    assert_kept(done(main()), rows_of(database))


async def _reads(ours: Store, sagas: dict[str, Any], plans: list[int]) -> None:
    for key, row in sagas.items():
        assert await ours.head(key) is None
        assert await ours.load(key) is None
        assert await ours.mail(row.id) == []
        assert await ours.sent(key, "m-1") is None
        assert await ours.find(Filter(before=row.id)) == []
    for stuck in (True, False):
        assert await ours.find(Filter(plans=tuple(plans), stuck=stuck)) == []
    assert await ours.find(Filter(statuses=("running", "parked"))) == []
    assert await ours.plans() == []
    assert await ours.lengths([row.id for row in sagas.values()]) == [0] * len(sagas)
    assert await ours.count() == await ours.count(open_only=True) == {}
    assert await ours.overdue(ours.now() + 1e9, 100) == []
    assert (await ours.ended(ours.now() + 1e9, None, 100)).sagas == ()


async def _writes(ours: Store, worker: int, sagas: dict[str, Any], plans: list[int], gone: list[int]) -> None:
    every = [row.id for row in sagas.values()]
    head = Head("completed", None, None)
    answers = (MailAnswer("m-1", "accepted", "by red"),)
    further = [Write(row.id, 50, 777 + at, b"[1.0,0,[]]", None, head, answers) for at, row in enumerate(sagas.values())]
    for write in further:
        assert await ours.commit(worker, [write]) == [Fate.LOST]
        assert await ours.commit_aside(worker, [write]) == [Fate.LOST]
    assert set(await ours.commit(worker, further)) == {Fate.LOST}, "as a batch too"
    assert await ours.send([NewMail(key, f"x-{key}", "cancel", b"{}") for key in sagas]) == [None] * len(sagas)
    assert await ours.claim(worker, plans, 100) == []
    assert not set(gone) & set(await ours.retire_expired(worker))
    for other in gone:
        assert await ours.adopt(worker, other, 100) == []
        assert await ours.owned_mail(other) == []
    assert await ours.owned(worker, []) == []
    assert await ours.unstall(plans) == await ours.rouse(plans) == 0
    for saga in every:
        await ours.stall(worker, saga, "by red")
    await ours.release(worker, [(saga, 0.0) for saga in every])
    assert await ours.answer_ended(100) == 0
    assert await ours.prune(ours.now() + 1e9, every) == 0
    # The same internal id, in a namespace of its own, is another saga.
    [plan] = await ours.add_plans([("red-1", "jobs", "{}")])
    first = Write(every[0], 0, 999, b"[1.0,0,[]]", NewSaga("ended", plan, b"h", 1.0), Head("completed", None, None))
    assert await ours.commit(worker, [first]) == [Fate.WRITTEN]
    assert [row.key for row in await ours.find(Filter())] == ["ended"]
    assert await ours.prune(ours.now() + 1e9, every) == 1, "its own, and its own history"


CALLED = {
    *("head", "load", "mail", "sent", "find", "plans", "count", "overdue", "ended", "commit", "commit_aside", "send"),
    "lengths",
    *("claim", "retire_expired", "adopt", "owned_mail", "owned", "unstall", "rouse", "stall", "release"),
    *("answer_ended", "prune", "add_plans", "token_keys", "add_token_key", "workers", "register"),
}
WITHOUT = {  # why no id of another namespace can be given to them
    "open": "takes none",
    "close": "takes none",
    "schema": "of the database",
    "upgrade": "of the database",
    "now": "of the database",
    "renew": "only with the number of the worker's own registration",
    "deregister": "only with the number of the worker's own registration",
    "peek": "takes none; it is a hint",
    "join": "writes as `commit` and `send` do",
    "check": "counts of the own namespace, and the database's health",
    "listen": "hints, which nothing relies upon",
    "hint": "hints, which nothing relies upon",
    "watch": "hints, which nothing relies upon",
}


def test_every_method_of_a_store_is_tried_or_takes_no_id() -> None:
    public = {name for name, _ in inspect.getmembers(Store, inspect.isfunction) if not name.startswith("_")}

    assert public == CALLED | WITHOUT.keys()
    assert not CALLED & WITHOUT.keys()


def test_a_token_of_one_namespace_fits_in_no_other(database: str) -> None:
    async def keys_of(namespace: str) -> Tokens:
        store = store_of(database, namespace)
        await store.open(work=False)
        try:
            return Tokens(await token_keys(store, namespace))
        finally:
            await store.close()

    done(settled(database, "blue"))
    red, other = done(keys_of("red")), done(keys_of("blue"))
    token = red.make("red", bytes(16), "pay", 1, Phase.ACTION)

    assert red.fits(token, "red", bytes(16), "pay", 1, Phase.ACTION)
    assert not red.fits(token, "blue", bytes(16), "pay", 1, Phase.ACTION)
    assert not other.fits(token, "red", bytes(16), "pay", 1, Phase.ACTION)
    assert not other.fits(token, "blue", bytes(16), "pay", 1, Phase.ACTION)


def test_a_start_with_an_id_of_another_namespace_is_a_saga_of_its_own(database: str) -> None:
    done(settled(database, "blue"))
    before = rows_of(database)

    async def main() -> None:
        async with on(database, "red") as orchestrator:
            await orchestrator.run(jobs, Job(note="red"), id="parked")

    done(main())
    assert_kept(before, rows_of(database))
