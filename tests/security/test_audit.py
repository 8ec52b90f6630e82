"""F70, X11: whatever a person does to a saga stands in that saga's history: who, when, why, and is never changed."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from security_scene import Job, asks, done, jobs, on, quiet, settled

from amends.errors import Refused, TooLate
from amends.operate.cli.verbs import VERBS
from amends.operate.operations import Operations, operations
from amends.store.sql import statements

BY: dict[str, Any] = {"actor": "ada", "reason": "because of ticket 812"}
ACTS: dict[str, Callable[[Operations], Awaitable[Any]]] = {  # each on a saga that is called after it
    "retry": lambda found: found.retry("retry", "work", **BY),
    "skip": lambda found: found.skip("skip", "work", **BY),
    "resolve": lambda found: found.resolve("resolve", "work", result=b'"x"', **BY),
    "compensate": lambda found: found.compensate("compensate", **BY),
    "unpark": lambda found: found.unpark("unpark", **BY),
    "cancel": lambda found: found.cancel("cancel", **BY),
    "signal": lambda found: found.signal("signal", "answer", b'{"yes":true}', actor="ada"),
    "assign": lambda found: found.assign("assign", "bob", **BY),
    "note": lambda found: found.note("note", "because of ticket 812", actor="ada"),
}
READS = {
    *("find", "search", "groups", "overview", "workers", "show", "history", "flow", "plan", "preview", "stuck"),
    *("doctor", "count_ended", "bulk", "bulks", "bulk_plan", "bulk_log", "bulk_results"),
}
# What asks many sagas stands in the history of each, by the actor that is in the act, and in a log of its own
# (tests/operate/test_acts_in_bulk.py); who steers it is in that log.
STEERS = {"bulk_pause", "bulk_resume", "bulk_cancel"}
IN_BULK = STEERS | {"bulk_start", "bulk_run"}  # the act that is begun has the actor; what was begun is gone on with
# What changes something and is in no saga's history, and why: docs/operating/security.md says so, too.
WITHOUT_A_HISTORY = {"prune": "it forgets the history itself; the process that ran it is in the system's own log"}
READING_VERBS = {"list", "show", "stuck", "alert", "workers", "graph", "contracts", "doctor"}
OTHER_VERBS = {  # that start something, or look after the database; they are no acts on a saga
    *("demo", "run", "worker", "start", "explore", "outbox", "db", "prune", "dashboard", "bulk"),
}


def test_every_operation_is_a_read_an_act_with_an_actor_or_says_why_not() -> None:
    public = dict(inspect.getmembers(Operations, inspect.isfunction))
    names = {name for name in public if not name.startswith("_")}
    acts = {name for name in names if "actor" in inspect.signature(public[name]).parameters}

    assert acts == ACTS.keys() | STEERS
    assert names == acts | READS | IN_BULK | WITHOUT_A_HISTORY.keys()
    for name in acts:
        actor = inspect.signature(public[name]).parameters["actor"]
        assert actor.default is inspect.Parameter.empty, f"nobody does {name} without a name"


def test_every_verb_of_the_command_line_is_one_of_these() -> None:
    assert VERBS.keys() == ACTS.keys() | READING_VERBS | OTHER_VERBS


def test_who_did_it_when_and_why_is_in_the_history_of_the_saga(database: str) -> None:
    async def main() -> dict[str, tuple[float, Any]]:
        told: dict[str, tuple[float, Any]] = {}
        async with on(database, "default", jobs, asks, quiet) as orchestrator, operations(orchestrator) as found:
            for name, act in ACTS.items():
                if name in ("cancel", "signal"):
                    await orchestrator.start(asks, Job(), id=name)
                else:
                    await orchestrator.run(quiet if name == "skip" else jobs, Job(far=True), id=name)
                began = orchestrator.session.store.now()
                await act(found)
                told[name] = began, await found.history(name)
        return told

    for name, (began, lines) in done(main()).items():
        said = [line for line in lines if line.actor == "ada"]
        assert said, f"{name} left no line"
        assert all(line.at >= began - 1 for line in said)
        assert name == "signal" or any("ticket 812" in f"{line.reason} {line.text}" for line in said), name


def test_an_act_that_is_refused_is_in_the_history_too(database: str) -> None:
    done(settled(database, "default"))

    async def main() -> Any:
        async with on(database) as orchestrator, operations(orchestrator) as found:
            with pytest.raises((Refused, TooLate)):
                await found.retry("waits", "nowhere", **BY)
            return await found.history("waits")

    assert any(line.actor == "ada" for line in done(main()))


def test_no_operation_and_no_statement_changes_a_line_of_history() -> None:
    for dialect in ("sqlite", "postgres"):
        changing = [
            name for name, text in statements(dialect).items() if "journal" in text and "UPDATE" in text.upper()
        ]
        # A statement may update another table beside an insert into the journal.
        for name in changing:
            text = statements(dialect)[name].upper()
            assert "UPDATE AMENDS_JOURNAL" not in text, name
            assert "UPDATE AMENDS.JOURNAL" not in text, name
