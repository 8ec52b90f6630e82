"""Bulk operations whose beginning was repeated, held up or killed, and what is left of those that were cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from bulk_scene import Job, Scene
from test_acts_in_bulk import PARKED, act, until

from amends import Orchestrator, Saga, Settings, pivot, step
from amends.crypto import Keys
from amends.errors import IdConflict, NotAnswered, Refused, StoreUnavailable
from amends.operate import bulk as operate_bulk
from amends.operate.bulk import BulkAct
from amends.operate.operations import Operations
from amends.operate.values import Search
from amends.run import bulk as run_bulk
from amends.run import bulk_left
from amends.store.base import MailRow
from amends.store.bulk import NewTarget


def test_what_was_looked_for_in_inputs_is_kept_nowhere_where_inputs_are_sealed() -> None:
    keys, wanted = Keys({"k1": bytes(range(32))}), Search(statuses=("parked",), input=(("size", "4711"),))

    async def main() -> None:
        scene = Scene()
        async with scene.parked(1, keys=keys) as (orchestrator, found):
            await orchestrator.run(scene.jobs, Job(1), id="other")
            scene.down = True
            await orchestrator.run(scene.jobs, Job(4711), id="wanted")

            begun = await found.bulk_start(act(), wanted, id="search", paused=True)

            assert (begun.total, begun.search) == (1, Search(statuses=("parked",), input=(("size", "***"),)))
            assert await found.bulk_start(act(), wanted, id="search", paused=True) == begun
            row = await found.session.store.bulks.get("search")
            assert row is not None
            assert b"4711" not in row.body

    asyncio.run(main())


def test_one_that_begins_paused_is_never_running_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        scene = Scene()
        async with scene.parked(2) as (orchestrator, found):
            bulks = orchestrator.session.store.bulks
            move = bulks.move

            async def die(*given: object) -> bool:
                await move(*given)  # type: ignore[arg-type]  # as it was called
                raise RuntimeError("killed")

            with monkeypatch.context() as dying:
                dying.setattr(bulks, "move", die)
                with pytest.raises(RuntimeError):
                    await found.bulk_start(act(), PARKED, id="later", paused=True)

            later = await found.bulk("later")
            assert (later.state, later.total) == ("paused", 2)
            log = [(line.move, line.actor) for line in await found.bulk_log("later")]
            assert log == [("begun", "ada"), ("counted, paused", "ada")]

    asyncio.run(main())


def test_a_beginning_that_is_repeated_while_sagas_are_still_written_down_is_not_answered_yet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        async with Scene().parked(2) as (orchestrator, found):
            bulks = orchestrator.session.store.bulks
            fill = bulks.fill

            async def again(
                key: str, state: str, runner: str, targets: Sequence[NewTarget], lease_seconds: float
            ) -> bool:
                with pytest.raises(NotAnswered, match="still being written down"):
                    await found.bulk_start(act(), PARKED, id="repair", paused=True)
                with pytest.raises(IdConflict):
                    await found.bulk_start(act("compensate"), PARKED, id="repair", paused=True)
                return await fill(key, state, runner, targets, lease_seconds)

            monkeypatch.setattr(bulks, "fill", again)
            begun = await found.bulk_start(act(), PARKED, id="repair", paused=True)

            assert await found.bulk_start(act(), PARKED, id="repair", paused=True) == begun

    asyncio.run(main())


def test_a_beginning_that_is_repeated_after_it_was_given_up_is_refused_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(operate_bulk, "COUNTING_SECONDS", 0.01)

    async def main() -> None:
        async with Scene().parked(2) as (orchestrator, found):

            async def die(*_: object) -> bool:
                raise RuntimeError("killed")

            with monkeypatch.context() as dying:
                dying.setattr(orchestrator.session.store.bulks, "fill", die)
                with pytest.raises(RuntimeError):
                    await found.bulk_start(act(), PARKED, id="half")
            await asyncio.sleep(0.02)
            assert (await found.bulk_run("half")).state == "cancelled"

            with pytest.raises(Refused, match=r"cancelled before its sagas were all written down.*under another id"):
                await found.bulk_start(act(), PARKED, id="half")

    asyncio.run(main())


def test_the_same_id_with_other_named_sagas_is_another_operation() -> None:
    async def main() -> None:
        async with Scene().parked(3) as (_, found):
            begun = await found.bulk_start(act(), ["job-0", "job-1"], id="repair", paused=True)

            assert await found.bulk_start(act(), ["job-1", "job-0", "job-1"], id="repair", paused=True) == begun
            for other in (["job-0", "job-2"], ["job-0"], PARKED):
                with pytest.raises(IdConflict, match="'repair' belongs to another bulk operation"):
                    await found.bulk_start(act(), other, id="repair", paused=True)

    asyncio.run(main())


def test_a_rate_is_the_same_as_a_whole_number_and_as_another() -> None:
    async def main() -> None:
        async with Scene().parked(1) as (_, found):
            begun = await found.bulk_start(act(per_second=5), PARKED, id="repair", paused=True)

            assert await found.bulk_start(act(per_second=5), PARKED, id="repair", paused=True) == begun
            assert await found.bulk_start(act(per_second=5.0), PARKED, id="repair", paused=True) == begun

    asyncio.run(main())


def test_an_id_that_is_used_again_when_it_was_forgotten_is_for_new_acts() -> None:
    async def main() -> None:
        async with Scene().parked(1) as (_, found):
            bulks = found.session.store.bulks
            for _ in range(2):
                await found.bulk_start(act("note", text="still down"), PARKED, id="daily")
                assert (await found.bulk_run("daily")).done == 1
                assert await bulks.forget(("done",), found.session.store.now() + 60, 1) == 1

            notes = [line for line in await found.history("job-0") if line.reason == "still down"]
            assert len(notes) == 2

    asyncio.run(main())


async def cancelled_with_a_batch_in_hand(
    found: Operations, wanted: BulkAct, monkeypatch: pytest.MonkeyPatch, id: str
) -> None:
    """Its runner was killed before it could write down what a batch has said, and it was cancelled then."""
    with monkeypatch.context() as dying:

        async def die(*_: object) -> bool:
            await found.bulk_cancel(id, actor="bob")
            raise StoreUnavailable("killed here")

        await found.bulk_start(wanted, PARKED, id=id, paused=True)
        dying.setattr(found.session.store.bulks, "record", die)
        await found.bulk_resume(id, actor="ada")
        with pytest.raises(StoreUnavailable):
            await found.bulk_run(id)


@pytest.mark.parametrize(
    ("wanted", "word"), [(act(per_second=2), "accepted"), (act("skip", step="work", per_second=2), "refused")]
)
def test_what_the_last_batch_of_a_cancelled_one_has_said_is_found_and_nobody_else_is_asked(
    wanted: BulkAct, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        scene = Scene()
        async with scene.parked(5) as (_, found):
            await cancelled_with_a_batch_in_hand(found, wanted, monkeypatch, "repair")

            async def written() -> bool:
                return not (await found.bulk("repair")).runner

            await until(written)

            bulk = await found.bulk("repair")
            assert (bulk.state, bulk.left) == ("cancelled", 3)
            said = await found.bulk_results("repair")
            assert [line.word for line in said.lines] == [word, word, "", "", ""]
            assert ("needs its result" in said.lines[0].detail) is (word == "refused")
            assert len(scene.calls) == (2 if word == "accepted" else 0)

    asyncio.run(main())


def test_what_was_asked_and_has_no_answer_is_told_as_that(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with Scene().parked(3, poll_seconds=0.2) as (orchestrator, found):
            store = orchestrator.session.store
            sent = store.sent
            await cancelled_with_a_batch_in_hand(found, act(per_second=2), monkeypatch, "repair")

            async def unanswered(key: str, message: str) -> MailRow | None:
                mail = await sent(key, message)
                return None if mail is None else mail._replace(answer=None)

            monkeypatch.setattr(store, "sent", unanswered)

            async def written() -> bool:
                return len((await found.bulk_results("repair", words=("not answered",))).lines) == 2

            await until(written)

            said = await found.bulk_results("repair")
            assert [line.word for line in said.lines] == ["not answered", "not answered", ""]

    asyncio.run(main())


@pytest.mark.parametrize("cancelled", [True, False])
def test_what_was_done_after_its_operation_had_ended_is_found(
    cancelled: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nobody was there to answer; then it was cancelled, or went to its end; then somebody came."""
    monkeypatch.setattr(run_bulk, "ASK_SECONDS", 0.1)
    monkeypatch.setattr(bulk_left, "AGAIN_SECONDS", 0.1)
    url = f"sqlite:///{tmp_path}/jobs.db"

    async def main() -> None:
        scene = Scene()
        async with scene.parked(2, url):
            pass  # its worker has gone
        client = scene.orchestrator(url)
        async with client.client():
            found = Operations(client.session)
            await found.bulk_start(act(), PARKED, id="repair")
            assert (await found.bulk_run("repair")).state == "paused"
            if cancelled:
                await found.bulk_cancel("repair", actor="bob")
            else:
                await found.bulk_resume("repair", actor="bob")
                await found.bulk_run("repair")
        async with scene.orchestrator(url) as worker:
            found = Operations(worker.session)

            async def known() -> bool:
                return (await found.bulk("repair")).done == 2

            await until(known)

            bulk = await found.bulk("repair")
            assert (bulk.state, bulk.failed) == ("cancelled" if cancelled else "done", 0)
            assert [line.word for line in (await found.bulk_results("repair")).lines] == ["accepted", "accepted"]
            assert sorted(scene.calls) == ["job-0", "job-1"]

    asyncio.run(main())


def test_sagas_in_the_middle_of_their_pivot_are_told_of_as_that_and_are_no_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run_bulk, "ASK_SECONDS", 0.2)
    monkeypatch.setattr(bulk_left, "AGAIN_SECONDS", 0.1)

    async def main() -> None:
        go = asyncio.Event()

        @step
        async def pay(job: Job) -> int:
            await go.wait()
            return job.size

        paid = Saga("paid", pivot(pay), input=Job, output=pay)
        async with Orchestrator("memory://", sagas=[paid], settings=Settings(poll_seconds=0.05)) as orchestrator:
            found = Operations(orchestrator.session)
            for number in range(3):
                await orchestrator.start(paid, Job(number), id=f"paid-{number}")
            await asyncio.sleep(0.05)
            await found.bulk_start(act("cancel"), Search(sagas=("paid",)), id="stop")

            ended = await found.bulk_run("stop")

            assert (ended.state, ended.failed) == ("done", 3)
            assert {line.detail for line in (await found.bulk_results("stop")).lines} == {run_bulk.TAKEN}
            go.set()

            async def known() -> bool:
                return (await found.bulk("stop")).refused == 3

            await until(known)
            assert {line.word for line in (await found.bulk_results("stop")).lines} == {"too late"}

    asyncio.run(main())
