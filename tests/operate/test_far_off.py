"""Instants beyond the calendar: one saga that sleeps for ever must not break a list of the others."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import pytest

from amends import Orchestrator, Retry, Saga, sleep, step, wait_for
from amends.operate.cli.main import run

FOR_EVER = timedelta.max


@step(readonly=True)
async def look(wish: str) -> None: ...


@step(readonly=True)
async def later(wish: str) -> None:
    raise Retry.after(1e18)


SAGAS = [
    Saga("sleeps", look, sleep(FOR_EVER), input=str),
    Saga("waits", look, wait_for("word", str, timeout=FOR_EVER), input=str),
    Saga("comes-back", later, input=str),
    Saga("has-time", look, wait_for("word", str), input=str, deadline=FOR_EVER),
]


@pytest.fixture
def database(tmp_path: Path) -> str:
    async def start() -> None:
        async with Orchestrator(tmp_path / "sagas.db", sagas=SAGAS) as orchestrator:
            for saga in SAGAS:
                await orchestrator.start(saga, "x", id=saga.name)

    asyncio.run(start())
    return f"--database=sqlite:///{tmp_path / 'sagas.db'}"


def test_what_is_due_beyond_the_calendar_is_listed_and_shown_like_anything_else(
    database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["list"], ["stuck"], *(["show", saga.name] for saga in SAGAS)):
        for option in ([], ["--json"]):
            code = run([*words, *option, database])
            said = capsys.readouterr()
            assert (code, said.err) == (0, ""), words

    run(["show", "sleeps", "--json", database])
    assert json.loads(capsys.readouterr().out)["due_at"] == "9999-12-31T23:59:59.000Z"
