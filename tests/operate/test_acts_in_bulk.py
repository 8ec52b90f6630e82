"""Bulk operations: dry run, begin, progress, pause, resume, cancel, and what became of each saga."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from bulk_scene import Job, Scene

from amends import Completed
from amends.crypto import Keys
from amends.errors import (
    Changed,
    IdConflict,
    LimitExceeded,
    Refused,
    StoreUnavailable,
    UnknownBulk,
    UnknownSaga,
    ValueRefused,
)
from amends.operate import bulk as operate_bulk
from amends.operate.bulk import Bulk, BulkAct
from amends.operate.operations import Operations, operations
from amends.operate.values import Preview, Search
from amends.run import bulk as run_bulk
from amends.store.base import NewMail

PARKED = Search(statuses=("parked",))
FAST = 1000.0


def act(verb: str = "unpark", **given: object) -> BulkAct:
    """Ada's act, as fast as may be."""
    said = {"actor": "ada", "reason": "the far side is up", "per_second": FAST, **given}
    return BulkAct(verb, **said)  # type: ignore[arg-type]  # each as its test says


async def words(found: Operations, bulk: Bulk) -> dict[str, str]:
    """What became of each saga."""
    return {line.saga: line.word for line in (await found.bulk_results(bulk.id, limit=1000)).lines}


async def ended(found: Operations) -> bool:
    """Whether no saga is open any more."""
    return not (await found.search(Search(statuses=("running", "parked")))).sagas


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a condition, in bounded time."""
    async with asyncio.timeout(30):
        while not await condition():
            await asyncio.sleep(0.01)


def test_a_dry_run_counts_tells_what_would_come_of_it_and_does_nothing() -> None:
    async def main() -> None:
        scene = Scene()
        async with scene.parked(3) as (_, found):
            plan = await found.bulk_plan(act(), PARKED)

            assert (plan.total, plan.more, plan.previewed) == (3, False, 3)
            assert [(one.accepted, one.count, one.status_after) for one in plan.outcomes] == [(True, 3, "running")]
            assert [effect.step for effect in plan.outcomes[0].effects] == ["work"]
            assert sorted(line.id for line in plan.examples) == ["job-0", "job-1", "job-2"]
            assert (await found.bulks()).bulks == ()
            assert scene.calls == []

    asyncio.run(main())


def test_a_dry_run_says_what_would_be_refused_and_why() -> None:
    async def main() -> None:
        async with Scene().parked(2) as (_, found):
            plan = await found.bulk_plan(act("skip", step="work"), PARKED)

            assert [(one.accepted, one.count) for one in plan.outcomes] == [(False, 2)]
            assert "needs its result" in plan.outcomes[0].why

    asyncio.run(main())


def test_one_saga_that_cannot_be_looked_at_is_told_of_in_a_dry_run_beside_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        async with Scene().parked(3) as (_, found):
            preview = found.preview

            async def some(saga_id: str, *given: Any, **more: Any) -> Preview:
                if saga_id == "job-0":
                    raise UnknownSaga("there is no saga with the id 'job-0'")
                if saga_id == "job-1":
                    raise Refused("job-1: nobody can act on it here")
                return await preview(saga_id, *given, **more)

            monkeypatch.setattr(found, "preview", some)
            plan = await found.bulk_plan(act(), PARKED)

            assert {(one.accepted, one.why, one.count) for one in plan.outcomes} == {
                (True, "", 1),
                (False, "nobody can act on it here", 1),
                (False, "there is no saga with the id 'job-0'", 1),
            }

    asyncio.run(main())


def test_every_saga_is_acted_on_once_and_its_history_says_who_and_why() -> None:
    async def main() -> None:
        scene = Scene()
        async with scene.parked(5) as (orchestrator, found):
            begun = await found.bulk_start(act(), PARKED, id="repair")
            assert (begun.state, begun.total, begun.left) == ("running", 5, 5)
            heard: list[int] = []

            ended = await found.bulk_run("repair", told=lambda bulk: heard.append(bulk.done))

            assert (ended.state, ended.done, ended.left, ended.runner) == ("done", 5, 0, False)
            assert heard[-1] == 5
            assert await orchestrator.handle(scene.jobs, "job-4").outcome() == Completed(4)
            assert sorted(scene.calls) == [f"job-{number}" for number in range(5)]
            acted = [line for line in await found.history("job-3") if line.event == "operated"]
            assert [(line.actor, line.reason) for line in acted] == [("ada", "the far side is up (bulk repair)")]
            log = [(line.move, line.actor) for line in await found.bulk_log("repair")]
            assert log == [("begun", "ada"), ("counted", "ada"), ("finish", "amends")]

    asyncio.run(main())


def test_a_worker_goes_on_with_what_nobody_works_at() -> None:
    async def main() -> None:
        scene = Scene()
        async with scene.parked(3) as (_, found):
            begun = await found.bulk_start(act(), PARKED)

            async def done() -> bool:
                return (await found.bulk(begun.id)).state == "done"

            await until(done)
            assert set((await words(found, begun)).values()) == {"accepted"}

    asyncio.run(main())


def test_a_long_one_holds_no_short_one_up() -> None:
    async def main() -> None:
        async with Scene().parked(3) as (_, found):
            long = await found.bulk_start(act(per_second=0.01), ["job-0", "job-1"])
            short = await found.bulk_start(act(), ["job-2"])

            async def done() -> bool:
                return (await found.bulk(short.id)).state == "done"

            await until(done)
            assert (await found.bulk(long.id)).state == "running"

    asyncio.run(main())


def test_a_saga_that_has_moved_on_since_it_was_written_down_is_left_alone() -> None:
    async def main() -> None:
        scene = Scene()
        async with scene.parked(3) as (orchestrator, found):
            begun = await found.bulk_start(act(), PARKED, paused=True)
            await scene.parks_again(orchestrator, "job-1")
            await found.resolve("job-2", "work", actor="bob", reason="by hand", result=b"7")
            await found.bulk_resume(begun.id, actor="ada")

            ended = await found.bulk_run(begun.id)

            assert (ended.done, ended.refused) == (1, 2)
            told = await words(found, begun)
            assert (told["job-0"], told["job-1"], told["job-2"]) in [
                ("accepted", "changed", "too late"),
                ("accepted", "changed", "changed"),
            ]
            assert scene.calls == ["job-0"]

    asyncio.run(main())


def test_even_if_changed_means_it() -> None:
    async def main() -> None:
        scene = Scene()
        async with scene.parked(1) as (orchestrator, found):
            begun = await found.bulk_start(act(even_if_changed=True), PARKED, paused=True)
            await scene.parks_again(orchestrator, "job-0")
            await found.bulk_resume(begun.id, actor="ada")

            assert (await found.bulk_run(begun.id)).done == 1

    asyncio.run(main())


def test_what_parks_after_the_count_is_not_meant() -> None:
    async def main() -> None:
        scene = Scene()
        async with scene.parked(2) as (orchestrator, found):
            begun = await found.bulk_start(act(), PARKED, paused=True)
            scene.down = True
            await orchestrator.run(scene.jobs, Job(), id="late")
            scene.down = False
            await found.bulk_resume(begun.id, actor="ada")

            assert (await found.bulk_run(begun.id)).total == 2
            assert (await found.show("late")).line.status == "parked"

    asyncio.run(main())


def test_named_sagas_are_meant_and_no_others() -> None:
    async def main() -> None:
        scene = Scene()
        async with scene.parked(3) as (_, found):
            plan = await found.bulk_plan(act(), ["job-0", "job-2"])
            begun = await found.bulk_start(act(), ["job-2", "job-0", "job-2"])
            await found.bulk_run(begun.id)

            assert plan.total == 2
            assert begun.search is None
            assert sorted(scene.calls) == ["job-0", "job-2"]
            with pytest.raises(UnknownSaga):
                await found.bulk_start(act(), ["nobody"])

    asyncio.run(main())


def test_paused_asks_nobody_resumed_goes_on_and_cancelled_never_does() -> None:
    async def main() -> None:
        scene = Scene()
        async with scene.parked(4) as (_, found):
            one = await found.bulk_start(act(), ["job-0", "job-1"], paused=True)
            two = await found.bulk_start(act(), ["job-2", "job-3"], paused=True)
            assert (await found.bulk_run(one.id)).left == 2
            await found.bulk_resume(one.id, actor="ada")
            assert (await found.bulk_run(one.id)).state == "done"

            cancelled = await found.bulk_cancel(two.id, actor="bob", reason="not these")

            assert (cancelled.state, cancelled.left) == ("cancelled", 2)
            assert await found.bulk_run(two.id) == cancelled
            assert [(line.actor, line.reason) for line in await found.bulk_log(two.id)][-1] == ("bob", "not these")
            with pytest.raises(Refused, match="it is cancelled, and stays so"):
                await found.bulk_resume(two.id, actor="ada")
            assert sorted(scene.calls) == ["job-0", "job-1"]

    asyncio.run(main())


def test_a_pause_holds_before_the_next_batch() -> None:
    async def main() -> None:
        scene = Scene()
        async with scene.parked(6) as (_, found):
            begun = await found.bulk_start(act(per_second=2.0), PARKED, paused=True)
            await found.bulk_resume(begun.id, actor="ada")
            pausing: list[asyncio.Task[Bulk]] = []

            def told(bulk: Bulk) -> None:
                if not pausing:
                    pausing.append(asyncio.create_task(found.bulk_pause(bulk.id, actor="bob")))

            after = await found.bulk_run(begun.id, told=told)

            assert after.state == "paused"
            assert after.done in (2, 4)
            assert len(scene.calls) == after.done

    asyncio.run(main())


def test_two_people_who_look_at_the_same_version_do_not_both_steer() -> None:
    async def main() -> None:
        async with Scene().parked(1) as (_, found):
            begun = await found.bulk_start(act(), PARKED, paused=True)
            await found.bulk_resume(begun.id, actor="ada", if_version=begun.version)

            with pytest.raises(Changed, match=f"at version {begun.version + 1} now, .*, and you looked at 2"):
                await found.bulk_cancel(begun.id, actor="bob", if_version=begun.version)

    asyncio.run(main())


def test_pausing_twice_is_pausing_once() -> None:
    async def main() -> None:
        async with Scene().parked(1) as (_, found):
            begun = await found.bulk_start(act(), PARKED, paused=True)

            assert await found.bulk_pause(begun.id, actor="bob") == begun
            assert len(await found.bulk_log(begun.id)) == begun.version

    asyncio.run(main())


def test_the_same_id_begins_once_and_another_act_under_it_is_refused() -> None:
    async def main() -> None:
        async with Scene().parked(2) as (_, found):
            first = await found.bulk_start(act(), PARKED, id="repair", paused=True)

            assert await found.bulk_start(act(), PARKED, id="repair") == first
            with pytest.raises(IdConflict, match="'repair' belongs to another bulk operation"):
                await found.bulk_start(act("compensate"), PARKED, id="repair")
            assert len((await found.bulks()).bulks) == 1

    asyncio.run(main())


def test_what_fits_is_counted_again_before_anything_is_begun() -> None:
    async def main() -> None:
        async with Scene().parked(2) as (_, found):
            with pytest.raises(Changed, match="3 sagas were expected, and 2 fit now; nothing was done"):
                await found.bulk_start(act(), PARKED, expected=3)
            with pytest.raises(Refused, match="no open saga fits"):
                await found.bulk_start(act(), Search(statuses=("running",)))
            assert (await found.bulks()).bulks == ()
            assert (await found.bulk_start(act(), PARKED, expected=2, paused=True)).total == 2

    asyncio.run(main())


def test_what_is_missing_or_too_much_is_said_and_nothing_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operate_bulk, "TARGETS_MAX", 2)

    async def main() -> None:
        async with Scene().parked(3) as (_, found):
            with pytest.raises(ValueRefused, match="retry is for one step"):
                await found.bulk_start(act("retry"), PARKED)
            with pytest.raises(ValueRefused, match="only open sagas can be acted on"):
                await found.bulk_start(act(), Search(statuses=("completed",)))
            with pytest.raises(ValueRefused, match="changed arguments only"):
                await found.bulk_start(act("retry", step="work", nothing_stayed=True), PARKED)
            for ask in (found.bulk_start, found.bulk_plan):
                with pytest.raises(ValueRefused, match="null is none"):
                    await ask(act("retry", step="work", arguments=b" null"), PARKED)
            with pytest.raises(LimitExceeded, match="reason: 1,501 characters"):
                await found.bulk_start(act(reason="x" * 1501), PARKED)
            with pytest.raises(LimitExceeded, match="more than 2 sagas fit"):
                await found.bulk_start(act(), PARKED)
            plan = await found.bulk_plan(act(), PARKED)
            assert (plan.total, plan.more) == (2, True)
            assert (await found.bulks()).bulks == ()

    asyncio.run(main())


def test_what_is_not_there_is_unknown() -> None:
    async def main() -> None:
        async with Scene().parked(0) as (_, found):
            for ask in (found.bulk, found.bulk_log, found.bulk_results, found.bulk_run):
                with pytest.raises(UnknownBulk, match="there is no bulk operation with the id 'nobody'"):
                    await ask("nobody")
            with pytest.raises(UnknownBulk):
                await found.bulks(before="nobody")
            with pytest.raises(UnknownBulk):
                await found.bulk_pause("nobody", actor="ada")

    asyncio.run(main())


def test_lists_and_results_come_in_pages() -> None:
    async def main() -> None:
        async with Scene().parked(3) as (_, found):
            for name in ("a", "b", "c"):
                await found.bulk_start(act(), PARKED, id=name, paused=True)
            page = await found.bulks(limit=2)
            rest = await found.bulks(before="b", limit=2)
            some = await found.bulk_results("a", limit=2)
            more = await found.bulk_results("a", after=some.lines[-1].n, limit=2)

            assert ([one.id for one in page.bulks], page.more) == (["c", "b"], True)
            assert ([one.id for one in rest.bulks], rest.more) == (["a"], False)
            assert ([line.n for line in some.lines], some.more) == ([1, 2], True)
            assert ([line.n for line in more.lines], more.more) == ([3], False)
            assert sorted(line.saga for line in some.lines + more.lines) == ["job-0", "job-1", "job-2"]
            assert (await found.bulk_results("a", words=("accepted",))).lines == ()

    asyncio.run(main())


def test_it_is_assigned_and_noted_in_bulk() -> None:
    async def main() -> None:
        async with Scene().parked(2) as (_, found):
            for verb, text in (("assign", "ada"), ("note", "see 812")):
                begun = await found.bulk_start(act(verb, text=text), PARKED)
                await found.bulk_run(begun.id)

            lines = [(await found.show(f"job-{number}")).line for number in range(2)]
            assert [(line.assigned, line.note) for line in lines] == [("ada", "see 812")] * 2

    asyncio.run(main())


def test_where_nobody_answers_it_pauses_by_itself_and_goes_on_when_somebody_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(run_bulk, "ASK_SECONDS", 0.1)
    url = f"sqlite:///{tmp_path}/jobs.db"

    async def main() -> None:
        scene = Scene()
        async with scene.parked(2, url):
            pass  # its worker has gone
        client = scene.orchestrator(url)
        async with client.client():
            found = Operations(client.session)
            begun = await found.bulk_start(act(), PARKED)

            paused = await found.bulk_run(begun.id)

            assert (paused.state, paused.failed, paused.left) == ("paused", 2, 0)
            assert "nobody has answered for the last 2 sagas" in (await found.bulk_log(begun.id))[-1].reason
        async with scene.orchestrator(url) as worker:
            found = Operations(worker.session)
            await found.bulk_resume(begun.id, actor="ada")

            ended = await found.bulk_run(begun.id)

            assert (ended.state, ended.done, ended.failed) == ("done", 2, 0)
            assert sorted(scene.calls) == ["job-0", "job-1"]

    asyncio.run(main())


def test_one_saga_that_nobody_answers_for_does_not_hold_the_others_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_bulk, "ASK_SECONDS", 0.1)

    async def main() -> None:
        scene = Scene()
        async with scene.parked(3) as (orchestrator, found):
            ask = orchestrator.session.ask

            async def deaf(mail: NewMail, **given: Any) -> str:
                if mail.key == "job-1":
                    await asyncio.sleep(60)
                return await ask(mail, **given)

            monkeypatch.setattr(orchestrator.session, "ask", deaf)
            begun = await found.bulk_start(act(per_second=1.0 / 0.01), PARKED)

            ended = await found.bulk_run(begun.id)

            assert (ended.state, ended.done, ended.failed) == ("done", 2, 1)
            [line] = (await found.bulk_results(begun.id, words=("not answered",))).lines
            assert (line.saga, line.detail) == (
                "job-1",
                "nobody has answered yet; it may still be done when a worker comes",
            )

    asyncio.run(main())


def test_one_whose_count_was_never_ended_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operate_bulk, "COUNTING_SECONDS", 0.01)
    monkeypatch.setattr(operate_bulk, "WRITTEN", 1)

    async def main() -> None:
        scene = Scene()
        async with scene.parked(2) as (orchestrator, found):
            bulks = orchestrator.session.store.bulks
            fill = bulks.fill

            async def die(*given: object) -> bool:
                await fill(*given)  # type: ignore[arg-type]  # as it was called
                raise RuntimeError("killed")

            monkeypatch.setattr(bulks, "fill", die)
            with pytest.raises(RuntimeError):
                await found.bulk_start(act(), PARKED, id="half")
            await asyncio.sleep(0.02)

            ended = await found.bulk_run("half")

            assert (ended.state, ended.total) == ("cancelled", 0)
            assert "nothing was done" in (await found.bulk_log("half"))[-1].reason
            assert scene.calls == []

    asyncio.run(main())


def test_whoever_dies_between_asking_and_writing_down_leaves_nothing_to_be_done_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        scene = Scene()
        async with scene.parked(3, lease_seconds=0.05) as (orchestrator, found):
            bulks = orchestrator.session.store.bulks
            with monkeypatch.context() as dying:

                async def die(*_: object) -> bool:
                    raise StoreUnavailable("killed here")

                begun = await found.bulk_start(act(), PARKED)
                dying.setattr(bulks, "record", die)
                with pytest.raises(StoreUnavailable):
                    await found.bulk_run(begun.id)
            assert (await found.bulk(begun.id)).left == 3
            await until(lambda: ended(found))

            assert (await found.bulk_run(begun.id)).done == 3
            assert len(scene.calls) == 3
            acted = [line for line in await found.history("job-1") if line.event == "operated"]
            assert len(acted) == 1

    asyncio.run(main())


def test_what_is_to_be_done_is_sealed_and_paused_where_the_key_is_missing(tmp_path: Path) -> None:
    url, keys = f"sqlite:///{tmp_path}/jobs.db", Keys({"k1": bytes(range(32))})

    async def main() -> None:
        scene = Scene()
        async with scene.parked(1, url):
            pass
        mend = act("resolve", step="work", result=b"4711", reason="by hand")
        async with operations(scene.orchestrator(url, keys=keys)) as found:
            begun = await found.bulk_start(mend, PARKED, id="mend")
            assert await found.bulk_start(mend, PARKED, id="mend") == begun
            row = await found.session.store.bulks.get("mend")
            assert row is not None
            assert b"4711" not in row.body
        async with operations(scene.orchestrator(url)) as blind:
            paused = await blind.bulk_run("mend")
            assert (paused.state, paused.left) == ("paused", 1)
            assert "'k1'" in (await blind.bulk_log("mend"))[-1].reason
        async with scene.orchestrator(url, keys=keys) as worker:
            found = Operations(worker.session)
            await found.bulk_resume("mend", actor="ada")
            assert (await found.bulk_run("mend")).done == 1
            assert await worker.handle(scene.jobs, "job-0").outcome() == Completed(4711, ("work",))

    asyncio.run(main())


def test_what_ended_long_ago_is_forgotten_with_the_sagas() -> None:
    async def main() -> None:
        async with Scene().parked(1) as (_, found):
            done = await found.bulk_start(act(), PARKED)
            await found.bulk_run(done.id)
            await until(lambda: ended(found))

            await found.prune(older_than=3600)
            assert (await found.bulk(done.id)).state == "done"
            await asyncio.sleep(0.01)
            await found.prune(older_than=0)

            with pytest.raises(UnknownBulk):
                await found.bulk(done.id)

    asyncio.run(main())


def test_hostile_texts_are_nothing_but_texts(tmp_path: Path) -> None:
    hostile = ["'; DROP TABLE amends_bulk; --", '"%', "$1 ?1", "{}[31m"]

    async def main() -> None:
        async with Scene().parked(1, f"sqlite:///{tmp_path}/jobs.db") as (
            _,
            found,
        ):
            for text in hostile:
                for wanted in (Search(key=text), Search(fingerprints=(text,)), Search(assigned=text)):
                    assert (await found.bulk_plan(act(), wanted)).total == 0
                begun = await found.bulk_start(
                    act("note", actor=text, reason=text, text=text), PARKED, id=text, paused=True
                )
                assert (begun.id, begun.actor, begun.reason, begun.text) == (text, text, text, text)
                await found.bulk_resume(text, actor=text, reason=text)
                await found.bulk_run(text)
                assert (await found.bulk_results(text, words=(text,))).lines == ()
                assert set((await words(found, begun)).values()) == {"accepted"}
            assert len((await found.bulks()).bulks) == len(hostile)

    asyncio.run(main())
