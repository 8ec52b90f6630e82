"""400 parked sagas are repaired in one bulk operation; whoever runs it and the worker are killed in the middle."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import bulk_process
import pytest
from bulk_process import park_many
from processes import process

from amends.operate.bulk import BulkAct
from amends.operate.operations import Operations, operations
from amends.operate.values import Search

MANY = 400
SOME = 100
SCRIPT = str(Path(__file__).with_name("bulk_process.py"))
REPAIR = BulkAct("unpark", "ada", "the bank is back", per_second=250.0)


async def until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait for a condition, in bounded time."""
    try:
        async with asyncio.timeout(60):
            while not await condition():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"it did not come to pass that {what}") from None


async def acts_of(found: Operations) -> Counter[tuple[str, str]]:
    """Who acted on how many sagas and why, as their histories say."""
    acts: Counter[tuple[str, str]] = Counter()
    for number in range(MANY):
        history = await found.history(f"job-{number}")
        acts.update((line.actor, line.reason) for line in history if line.event == "operated")
    return acts


async def scene(url: str, directory: Path) -> None:
    """The whole story."""
    await park_many(url, MANY)
    place, given = directory / "jobs.db", {"BULK_URL": url, "BULK_DIR": str(directory)}
    async with operations(url) as found:
        begun = await found.bulk_start(REPAIR, Search(statuses=("parked",)), expected=MANY, id="repair", paused=True)
        with process(SCRIPT, "worker", database=place, **given) as worker:
            worker.until("ready")
            await found.bulk_resume("repair", actor="ada", if_version=begun.version)
            with process(SCRIPT, "run", "repair", database=place, **given) as runner:
                await until(lambda: _done(found, SOME), "some were repaired")
                runner.kill()
                worker.kill()
        left = await found.bulk("repair")
        assert left.state == "running"
        assert 0 < left.left < MANY

        with process(SCRIPT, "worker", database=place, **given) as heir:
            heir.until("ready")
            await until(lambda: _state(found, "done"), "another worker ended it")
            ended = await found.bulk("repair")
            assert (ended.total, ended.done) == (MANY, MANY)
            await until(lambda: _all_completed(found), "every saga has ended")

        assert await acts_of(found) == {("ada", "the bank is back (bulk repair)"): MANY}
        results = (await found.bulk_results("repair", limit=MANY)).lines
        assert Counter(line.word for line in results) == {"accepted": MANY}
        calls = {tuple(line.split()) for line in (directory / "calls.txt").read_text().splitlines()}
        assert len(calls) == len({saga for saga, _ in calls}) == MANY


async def _done(found: Operations, count: int) -> bool:
    return (await found.bulk("repair")).done >= count


async def _state(found: Operations, state: str) -> bool:
    return (await found.bulk("repair")).state == state


async def _all_completed(found: Operations) -> bool:
    return not (await found.search(Search(statuses=("running", "compensating", "parked")), limit=1)).sagas


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/jobs.db"
    return str(request.getfixturevalue("postgres_url"))


def test_four_hundred_parked_sagas_are_each_repaired_once_though_runner_and_worker_are_killed(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_process, "DIRECTORY", tmp_path)

    asyncio.run(scene(url, tmp_path))
