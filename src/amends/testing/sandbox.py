"""The sandbox: sagas run for real, in memory, on a clock that jumps; for synchronous tests.

The engine is the one that works in production. Only what surrounds it is another: the store is
memory, time passes when nothing else happens, and sync steps run where they are called.

Guarantees: every method returns once nothing more can happen at that instant, so a test sees
the same order of things on every run; what was started is closed with the sandbox.
Must not: wait for sockets or other threads. A step is given fakes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar, cast

from amends.define.context import Context
from amends.define.nodes import Signal
from amends.define.outcome import Compensated, Completed, Parked
from amends.define.registry import Registry
from amends.define.resources import Resources
from amends.define.saga import Saga
from amends.run.chance import Chance
from amends.run.session import Config
from amends.run.settings import Settings
from amends.testing.by_hand import NAMESPACE
from amends.testing.fakes import depth_of_test, providers, refuse_transactions
from amends.testing.rig import Rig
from amends.testing.sandbox_services import Given, SandboxServices
from amends.testing.virtual import Inline

I = TypeVar("I")  # noqa: E741  # the input, as in the documented signatures
__tracebackhide__ = True  # for pytest
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Verb = Literal["retry", "skip", "resolve", "compensate", "unpark"]
Around = Callable[[Context], AbstractAsyncContextManager[Any]]

# Sagas stay in memory, where their timers are exact, so nothing has to look at the store.
DAY_SECONDS = 24 * 3600.0
SETTINGS = Settings(history_lines=1000, poll_seconds=DAY_SECONDS, rest_seconds=1000 * 365 * DAY_SECONDS)
ROUNDING_SECONDS = 1e-5  # instants are seconds since 1970, and no finer than this


class Started(Generic[T_co]):
    """One started saga."""

    def __init__(self, sandbox: Sandbox, saga: Saga[Any, T_co], saga_id: str) -> None:
        self.saga = saga
        self.saga_id = saga_id
        self._sandbox = sandbox

    def outcome(self) -> Completed[T_co] | Compensated | Parked:
        """How the saga ended, or that it is parked, however long that takes on the sandbox's
        clock. Raises AssertionError, with the saga's history, where it waits without end."""
        return cast("Completed[T_co] | Compensated | Parked", self._sandbox.outcome(self.saga_id))

    @property
    def status(self) -> str:
        """running, compensating, completed, compensated or parked: as it stands."""
        return self._sandbox.status(self.saga_id)

    @property
    def history(self) -> list[str]:
        """What has happened, a line each."""
        return self._sandbox.history(self.saga_id)

    def __repr__(self) -> str:
        return f"Started({self.saga.name!r}, {self.saga_id!r})"


class Sandbox:
    """An orchestrator in memory, on a virtual clock, for synchronous code.

    sagas: those it knows. resources: what their steps ask for: a list of plain values, each for
        its own class, and of functions as an Orchestrator takes them; or a mapping of types to
        values, for a fake of another class: `resources={Shop: FakeShop()}`.
    services: who does the commands of services: `fake(charge_card, Payment("p-1"))`, or participants of yours, with
        `host(app, tx=connection)` where their handlers take a transaction.
    database: a SQLite file, for steps that take a transaction and for `start(within=…)`; memory
        without it. around: as an Orchestrator takes it.

    Use it as a context manager, or close it. Raises DefinitionError for what cannot be right.
    """

    def __init__(
        self,
        sagas: Sequence[Saga[Any, Any]],
        resources: Sequence[object] | Mapping[Any, object] = (),
        *,
        services: Given = (),
        database: Path | str | None = None,
        around: Sequence[Around] = (),
    ) -> None:
        provided = Resources(providers(resources), depth_of_test())
        registry = Registry(sagas, provided)
        if database is None:
            refuse_transactions(sagas)
        chance = Chance(Random(0))  # the same ids and the same jitter on every run
        config = Config(
            None, registry, provided, NAMESPACE, SETTINGS, None, tuple(around), chance=chance, threads=Inline()
        )
        if services or any(saga.plan.services for saga in sagas):
            config = replace(config, broker=SandboxServices(services, sagas, provided, SETTINGS))
        self._rig = Rig(config, None if database is None else Path(database))

    # Sagas

    def start(self, saga: Saga[I, T], input: I, /, *, id: str | None = None, within: object = None) -> Started[T]:
        """Start a saga and let it go as far as it goes without time passing.

        within: an open transaction of the test's own, on the sandbox's `database`; the saga
            runs once that is committed and time passes.
        """
        session = self._rig.session
        if within is None:
            return Started(self, saga, self._rig.run(session.start(saga, input, id)))
        return Started(self, saga, session.enlist(saga, input, id, within))

    def run(self, saga: Saga[I, T], input: I, /, *, id: str | None = None) -> Completed[T] | Compensated | Parked:
        """Start a saga and wait for its outcome, which takes no time but the sandbox's."""
        return self.start(saga, input, id=id).outcome()

    def outcome(self, saga_id: str, /) -> Completed[Any] | Compensated | Parked:
        """The outcome of a saga that was started before. Raises UnknownSaga."""
        return self._rig.run(self._rig.settle(saga_id))

    def signal(self, saga_id: str, signal: Signal[T], value: T, /, *, id: str | None = None) -> None:
        """Send a value to a wait, as `Orchestrator.signal` does. Raises TooLate and Refused."""
        self._rig.run(self._rig.session.signal(saga_id, signal, value, id))

    def cancel(self, saga_id: str, /, *, reason: str = "cancelled by the test") -> None:
        """Have a saga go back, as `Orchestrator.cancel` does. Raises TooLate and Refused."""
        self._rig.run(self._rig.session.cancel(saga_id, reason=reason, actor="test"))

    def operate(
        self, saga_id: str, verb: Verb, step: str = "", /, *, reason: str = "mended by the test", result: object = None
    ) -> None:
        """Do what an operator does with a parked saga, or with one of its steps. result: with
        "resolve", what the step would have given. Raises TooLate and Refused."""
        self._rig.run(self._rig.act(saga_id, verb, step, reason, result))

    # Time and trouble

    @property
    def now(self) -> datetime:
        """The instant on the sandbox's clock."""
        return datetime.fromtimestamp(self._rig.now(), UTC)

    def advance(
        self,
        duration: timedelta = timedelta(0),
        /,
        *,
        days: float = 0,
        hours: float = 0,
        minutes: float = 0,
        seconds: float = 0,
    ) -> None:
        """Let time pass, and let everything happen that falls due."""
        whole = duration + timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        if whole < timedelta(0):
            raise ValueError(f"advance({whole}): time goes forward only")
        self._rig.run(asyncio.sleep(whole.total_seconds() + ROUNDING_SECONDS))

    def kill_worker(self) -> None:
        """The worker dies where it stands, as by `kill -9`, and another takes over at once.

        Steps that were in the middle of something never go on; to the saga their attempts are
        unresolved. Resources that functions make are made anew.
        """
        self._rig.kill()

    # Looking

    def status(self, saga_id: str, /) -> str:
        """The status of a saga, as it stands. Raises UnknownSaga."""
        return self._rig.run(self._rig.status(saga_id))

    def history(self, saga_id: str, /) -> list[str]:
        """What has happened to a saga, a line each, with the time since its start. Raises
        UnknownSaga."""
        return self._rig.run(self._rig.history(saga_id))

    def stories(self) -> str:
        """The histories of the last few sagas, as a failed test shows them."""
        return self._rig.run(self._rig.stories())

    # Coming and going

    def close(self) -> None:
        """Stop the worker and let go of everything. May be called twice."""
        self._rig.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class NewSandbox:
    """The type of the pytest fixture `amends`: called like `Sandbox`, it makes one that is
    closed after the test."""

    def __init__(self, made: list[Sandbox]) -> None:
        self._made = made

    def __call__(
        self,
        sagas: Sequence[Saga[Any, Any]],
        resources: Sequence[object] | Mapping[Any, object] = (),
        *,
        services: Given = (),
        database: Path | str | None = None,
        around: Sequence[Around] = (),
    ) -> Sandbox:
        """A `Sandbox` of these sagas."""
        sandbox = Sandbox(sagas, resources, services=services, database=database, around=around)
        self._made.append(sandbox)
        return sandbox
