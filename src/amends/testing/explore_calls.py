"""Calling the user's functions in a run, and what is made of how they end.

Guarantees: what a result or an exception means is judged by the code that judges it in production; a coroutine that
waits for nothing is driven at once, without a loop.
Must not: decide when anything is called.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import events as loops
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from math import inf
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn

from amends.decide import messages as m
from amends.decide.events import Phase
from amends.decide.messages import Message
from amends.decide.plan import StepNode
from amends.define.bind import Call
from amends.define.context import Context
from amends.define.policy import Retry
from amends.define.program import StepProgram
from amends.define.step import Body
from amends.define.values import describe
from amends.errors import ValueRefused
from amends.run.attempt import failure, returned
from amends.run.timers import Deadlines
from amends.run.tried import Tried
from amends.testing.inline import SandboxLoop
from amends.testing.virtual import START, Stalled, close

if TYPE_CHECKING:
    from amends.testing.explore_run import Run

NONE: Mapping[str, Any] = MappingProxyType({})
GRACES = 2  # its timeout, and the grace behind it
BARE_YIELDS_MAX = 10_000  # of `asyncio.sleep(0)`, in one attempt


class NeedsLoop(BaseException):
    """A step really waits: its attempts need a loop. Nothing of the user's catches it."""


class Try(Tried):
    """One attempt in a run."""

    __slots__ = ("_body", "_context", "node", "number", "run", "spoiled")

    def __init__(self, run: Run, step: StepProgram, node: StepNode, address: str, phase: Phase) -> None:
        self.run: Run = run
        self.node: StepNode = node
        self.address: str = address
        self.phase: Phase = phase
        self.number: int = 0  # which attempt of this half of the step, in the whole run
        self.spoiled: bool = False  # a fault stands at it
        self.call: Call = step.action
        self.timeout: float = node.timeout
        if phase is Phase.UNDO:
            self.call, self.timeout = step.undo or step.action, node.undo_timeout
        self.deadline: float = inf
        self.cancelled: bool = False
        self.stopping: bool = False
        self.task: asyncio.Task[Any] | None = None
        self.interrupt: Callable[[], None] | None = None
        self._body: Body = step.step.body
        self._context: Context | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self.run.scene.loop()

    @property
    def deadlines(self) -> Deadlines:
        raise NotImplementedError("nobody watches the time of an attempt in a run")

    @property
    def retry(self) -> Retry:
        undo = self._body.undo if self.phase is Phase.UNDO else None
        return (undo or self._body.action).retry

    @property
    def rejects(self) -> tuple[type[Exception], ...]:
        return () if self.phase is Phase.UNDO else self._body.rejects

    @property
    def readonly(self) -> bool:
        return self.phase is Phase.ACTION and self._body.readonly

    @property
    def context(self) -> Context:
        if self._context is None:
            self._context = self.run.context(self)
        return self._context

    def arguments(self) -> dict[str, Any]:
        return self.run.arguments(self)

    def admit(self, result: Any) -> bytes:
        return self.run.admit(self.address, result)

    def heartbeat(self) -> None:
        """Nothing is timed here but by the virtual clock."""

    def expire(self) -> bool:
        self.cancelled = True
        if self.task is not None:
            self.task.cancel()
        return False


class Dice:
    """What judging an attempt asks of its worker: no jitter, and nothing around it."""

    has_around = False

    def share(self) -> float:
        return 0.0

    def in_thread(self, fn: Callable[[], Any]) -> asyncio.Future[Any]:
        raise NotImplementedError("there are no threads in a run")

    async def around(self, ctx: Context, stack: AsyncExitStack) -> None:
        raise NotImplementedError("there is nothing around the attempts of a run")


DICE = Dice()


class Called:
    """How an attempt ended: the message that says so, and how long it took. error: what the user's code raised."""

    __slots__ = ("error", "message", "seconds")

    def __init__(self, message: Message, seconds: float = 0.0, error: BaseException | None = None) -> None:
        self.message: Message = message
        self.seconds: float = seconds
        self.error: BaseException | None = error


def call(attempt: Try, transactions: Mapping[str, Any] = NONE) -> Called:
    """Make an attempt. transactions: what the function is given for those that it takes. Raises NeedsLoop."""
    try:
        given = {**attempt.arguments(), **transactions} if transactions else attempt.arguments()
    except ValueRefused as error:
        refused = m.Failure(attempt.address, attempt.phase, describe(error), resolved=True, park=True)
        return Called(refused, error=error)
    waited = 0.0
    try:
        made = attempt.call.fn(**given)
        if not attempt.call.is_async:
            result = made
        elif attempt.run.scene.looped:
            result, waited = _on_loop(attempt, made)
        else:
            result = driven(made)
    except (NeedsLoop, KeyboardInterrupt):
        raise
    except Stalled:
        return _overdue(attempt)
    except BaseException as error:  # whatever a user's function raises is an outcome
        if isinstance(error, RuntimeError) and _wants_a_loop(error) and not attempt.run.scene.looped:
            raise NeedsLoop from error
        return Called(failure(attempt, error, DICE), attempt.timeout if attempt.cancelled else 0.0, error)
    if waited > GRACES * attempt.timeout:
        return _overdue(attempt)
    return Called(returned(attempt, result), waited)


def _overdue(attempt: Try) -> Called:
    """It was asked to stop, and did not within its grace."""
    overdue = m.Overdue(attempt.address, attempt.phase, attempt.run.worker)
    return Called(overdue, GRACES * attempt.timeout)


def driven(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that waits for nothing to its end. Raises NeedsLoop for one that does."""
    try:
        for _ in range(BARE_YIELDS_MAX):
            if coroutine.send(None) is not None:
                break
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    raise NeedsLoop


def _on_loop(attempt: Try, coroutine: Coroutine[Any, Any, Any]) -> tuple[Any, float]:
    """The same under the virtual clock, with the attempt's timeout."""
    loop = attempt.run.scene.loop()
    loop._virtual = began = attempt.run.now - START
    attempt.task = task = loop.create_task(coroutine)
    timer = loop.call_later(attempt.timeout, attempt.expire)
    try:
        result = loop.run_until_complete(task)
    finally:
        timer.cancel()
    return result, loop.time() - began


def _wants_a_loop(error: RuntimeError) -> bool:
    return str(error) in ("no running event loop", "Timeout should be used inside a task")


class _Guard:
    """Stands where a running loop would: whoever looks for one needs one."""

    def __getattr__(self, name: str) -> NoReturn:
        raise NeedsLoop

    def __repr__(self) -> str:
        return "<no loop: a run of explore>"


@contextmanager
def loopless(*, guarded: bool) -> Iterator[None]:
    """No loop is running inside; where `guarded`, whoever asks for it raises NeedsLoop. Explore works in an async
    program too, and stops its loop meanwhile."""
    outer = loops._get_running_loop()
    logger = logging.getLogger("asyncio")
    quiet, logger.disabled = logger.disabled, True  # what a dead worker leaves on the loop is its own affair
    loops._set_running_loop(_Guard() if guarded else None)  # type: ignore[arg-type]  # it only has to be there
    try:
        yield
    finally:
        loops._set_running_loop(outer)
        logger.disabled = quiet


def new_loop() -> SandboxLoop:
    """A loop for the attempts of an exploration, one at a time."""
    return SandboxLoop()


def end_loop(loop: SandboxLoop) -> None:
    """Close it, with whatever the user's functions left on it."""
    close(loop)
