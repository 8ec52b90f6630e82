"""What tests of security share: small sagas on either store, and every row of a database for comparing.

Guarantees: reading the rows changes nothing.
Must not: know a rule of security.
"""

from __future__ import annotations

import ast
import asyncio
import sqlite3
from collections.abc import Coroutine
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import psycopg

from amends import Completed, Orchestrator, Park, Parked, Retry, Saga, step, wait_for
from amends.run.database import is_postgres, sqlite_path

T = TypeVar("T")
Rows = dict[str, list[str]]


@dataclass(frozen=True)
class Job:
    """The input of the sagas here. far: whether what does it is away."""

    far: bool = False
    note: str = ""


@dataclass(frozen=True)
class Answer:
    """What is waited for."""

    yes: bool


@step(retry=Retry(attempts=1))
async def work(job: Job) -> str:
    """Does it, or needs a person."""
    if job.far:
        raise Park("the far side is down")
    return "done"


@work.compensation
async def undo_work(result: str | None) -> None:
    """Nothing to see."""


answer = wait_for("answer", Answer)
jobs = Saga("jobs", work, input=Job, output=work)
asks = Saga("asks", answer, input=Job)
quiet = Saga("quiet", work, input=Job)  # whose result nobody asks for
blue_only = Saga("blue-only", work, input=Job, output=work)


PACKAGE = Path(__file__).parents[2] / "src" / "amends"
Nodes = tuple[ast.AST, ...]


@cache
def source() -> dict[str, Nodes]:
    """Every node of every module, by the module's place in the package."""
    found = {str(path.relative_to(PACKAGE)): path for path in sorted(PACKAGE.rglob("*.py"))}
    return {name: tuple(ast.walk(ast.parse(path.read_text()))) for name, path in found.items()}


def nodes_of(code: str) -> Nodes:
    """Those of a line of code."""
    return tuple(ast.walk(ast.parse(code)))


def on(url: str, namespace: str = "default", *sagas: Saga[Any, Any]) -> Orchestrator:
    """An orchestrator in a namespace."""
    return Orchestrator(url, sagas=sagas or (jobs, asks), namespace=namespace, migrate=True)


async def settled(url: str, namespace: str, prefix: str = "") -> None:
    """A namespace with a saga of each kind: `ended`, `parked` and `waits`."""
    async with on(url, namespace, jobs, asks, blue_only) as orchestrator:
        assert isinstance(await orchestrator.run(jobs, Job(), id=f"{prefix}ended"), Completed)
        assert isinstance(await orchestrator.run(blue_only, Job(), id=f"{prefix}other"), Completed)
        assert isinstance(await orchestrator.run(jobs, Job(far=True), id=f"{prefix}parked"), Parked)
        await orchestrator.start(asks, Job(), id=f"{prefix}waits")


def rows_of(url: str) -> Rows:
    """Every row of every table, as text."""
    if is_postgres(url):
        listed = "SELECT table_schema || '.' || table_name FROM information_schema.tables WHERE table_schema = 'amends'"
        with psycopg.connect(url) as opened:
            names = [str(row[0]) for row in opened.execute(listed).fetchall()]
            made = {name: opened.execute(_all_of(name, "t.*::text").encode()).fetchall() for name in names}
    else:
        with closing(sqlite3.connect(sqlite_path(url), timeout=30)) as file:
            found = file.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'amends%'")
            made = {name: file.execute(_all_of(name, "t.*")).fetchall() for (name,) in found.fetchall()}
    return {name: sorted(map(repr, rows)) for name, rows in made.items()}


def _all_of(name: str, what: str) -> str:
    return f"SELECT {what} FROM {name} t"  # noqa: S608  # a table's name, from the database itself


def counts_of(url: str) -> dict[str, int]:
    """How many rows each table has."""
    return {name: len(rows) for name, rows in rows_of(url).items()}


def done(job: Coroutine[Any, Any, T]) -> T:
    """Run to the end."""
    return asyncio.run(asyncio.wait_for(job, 120))
