"""One attempt: a single call of a user's function, and the message that says how it ended.

Guarantees: every attempt ends in exactly one message, whatever the function does; the message
says "no effect" only where that is known. An attempt is over when the function has returned,
not when its timeout fires.
Must not: retry, or decide what the outcome means.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from math import inf
from typing import TYPE_CHECKING, Any, Protocol

from amends import fault
from amends.decide import messages as m
from amends.decide.events import Phase
from amends.decide.messages import Message
from amends.decide.plan import StepNode
from amends.define.bind import Call
from amends.define.context import Context
from amends.define.policy import Park, Reject, Retry, RetryAfter
from amends.define.program import StepProgram
from amends.define.step import Body
from amends.define.values import describe, named
from amends.errors import LimitExceeded, ValueRefused
from amends.run.timers import Deadlines
from amends.run.tried import Tried
from amends.run.unsaid import in_state, told_of, unsaid_by

if TYPE_CHECKING:
    from amends.run.live import Live

Ended = tuple[Any, BaseException | None]  # what a function returned, or raised
_log = logging.getLogger("amends.attempt")


class Runner(Protocol):
    """What an attempt needs from the worker it runs in."""

    def in_thread(self, fn: Callable[[], Any]) -> asyncio.Future[Any]:
        """Run a sync function off the loop."""
        ...

    async def around(self, ctx: Context, stack: AsyncExitStack) -> None:
        """Enter what the user put around every attempt."""
        ...

    @property
    def has_around(self) -> bool:
        """Whether there is anything around attempts."""
        ...

    def share(self) -> float:
        """A random number from 0 to 1, for jitter."""
        ...


class Attempt(Tried):
    """The attempt in flight, and what its context sees of it."""

    __slots__ = (
        "_body",
        "_context",
        "alone",
        "began",
        "in_transaction",
        "live",
        "overdue",
    )

    def __init__(self, live: Live, step: StepProgram, node: StepNode, address: str, phase: Phase) -> None:
        self.live: Live = live
        self.address: str = address
        self.phase: Phase = phase
        self.call: Call = step.action
        self.timeout: float = node.timeout
        if phase is Phase.UNDO:
            self.call, self.timeout = step.undo or step.action, node.undo_timeout
        self.in_transaction: bool = node.work == "tx"
        self.began: float = inf  # of one in a transaction: an instant before the look at the lease
        self.deadline: float = inf
        self.cancelled: bool = False
        self.overdue: bool = False
        self.stopping: bool = False
        self.alone: bool = False  # it runs carefully, and holds up the others of its kind
        self.task: asyncio.Task[Any] | None = None  # what a request to stop cancels
        self.interrupt: Callable[[], None] | None = None  # what it interrupts in another thread
        self._body: Body = step.step.body
        self._context: Context | None = None

    # What is asked when it fails

    @property
    def retry(self) -> Retry:
        """What it says about being tried again."""
        undo = self._body.undo if self.phase is Phase.UNDO else None
        return (undo or self._body.action).retry

    @property
    def rejects(self) -> tuple[type[Exception], ...]:
        """The exceptions that mean no."""
        return () if self.phase is Phase.UNDO else self._body.rejects

    @property
    def readonly(self) -> bool:
        """Whether nothing can stay of it."""
        return self.phase is Phase.ACTION and self._body.readonly

    # What is asked while it runs

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The worker's."""
        return self.live.shell.loop

    @property
    def deadlines(self) -> Deadlines:
        """The worker's."""
        return self.live.shell.deadlines

    @property
    def context(self) -> Context:
        """What the function may know about it; made when it is asked for, since few functions do."""
        if self._context is None:
            self._context = self.live.context(self)
        return self._context

    def arguments(self) -> dict[str, Any]:
        """What the function is called with. Raises ValueRefused."""
        return self.live.arguments(self)

    def admit(self, result: Any) -> bytes:
        """The payload of a result. Raises ValueRefused and LimitExceeded."""
        return self.live.admit(self.address, result)

    def secrets(self) -> Sequence[object]:
        """The marked values of its saga."""
        return in_state(self.live.program.plan, self.live.state)

    def expire(self) -> bool:
        """The timeout is over: ask the function to stop. Or the grace after that is."""
        if self.cancelled:
            self.overdue = True
            self.live.overdue(self)
            return False
        self.deadline = self.loop.time() + self.timeout
        self.ask_to_stop()
        return True


async def outcome(attempt: Tried, runner: Runner) -> Message:
    """Call the function; how it ended, as a message for the core."""
    call = attempt.call
    try:
        given = attempt.arguments()
    except ValueRefused as error:
        unfit = m.Failure(attempt.address, attempt.phase, describe(error), resolved=True, park=True)
        return unsaid_by(unfit, attempt.secrets())
    try:
        if call.is_async and not runner.has_around:
            attempt.start_clock()
            fault.point("attempt.before")
            result = await call.fn(**given)
        else:
            result = await _wrapped(attempt, runner, given)
    except BaseException as error:  # noqa: BLE001  # whatever a user's function raises is an outcome
        return failure(attempt, error, runner)
    finally:
        attempt.stop_clock()
    return returned(attempt, result)


def returned(attempt: Tried, result: Any, *, resolved: bool = False) -> Message:
    """The function returned. What it returned must be storable; `resolved`: if it is not, its
    effect is taken back."""
    address, phase = attempt.address, attempt.phase
    reason = ""
    try:
        if phase is Phase.ACTION:
            return m.Done(address, phase, attempt.admit(result))
        if result is None or not asyncio.iscoroutine(result):
            return m.Done(address, phase)
    except (ValueRefused, LimitExceeded) as error:
        reason = describe(error)
    except Exception as error:  # noqa: BLE001  # a value may run code of the user's when it is looked at
        reason = f"the result of {address} cannot be stored: {describe(error)}"
    if asyncio.iscoroutine(result):  # looked at last: it is dear, and no coroutine can be stored
        result.close()  # a plain decorator around an async function: nothing of it has run
        reason = "it returned a coroutine that nobody awaits; write what decorates it as async def"
    return unsaid_by(m.Failure(address, phase, reason, resolved=resolved, final=True), attempt.secrets())


def failure(attempt: Tried, error: BaseException, runner: Runner, *, resolved: bool = False) -> Message:
    """The function raised. `resolved`: it is known that nothing stayed."""
    secrets = attempt.secrets()
    return unsaid_by(_failure(attempt, error, runner, resolved=resolved), secrets)


def _failure(attempt: Tried, error: BaseException, runner: Runner, *, resolved: bool) -> Message:
    address, phase = attempt.address, attempt.phase
    resolved = resolved or attempt.readonly
    match error:
        case NotMade():
            return m.Failure(address, phase, describe(error), resolved=True, share=runner.share())
        case Reject():
            said = describe(error)
            return m.No(address, phase, "rejected" if said == type(error).__name__ else said, sure=resolved)
        case Park():
            return m.Failure(address, phase, describe(error), resolved=resolved, park=True)
        case RetryAfter():
            return m.Failure(address, phase, describe(error), resolved=resolved, after=error.seconds)
        case asyncio.CancelledError():
            why = "its worker was stopped" if attempt.stopping else f"it took longer than {attempt.timeout:g} s"
            if not attempt.cancelled:
                why = "CancelledError: something in it was cancelled"
            return m.Failure(address, phase, why, resolved=resolved, share=runner.share())
        case GeneratorExit() if not attempt.loop.is_running():
            raise error  # Python clears up after a loop that is gone
        case KeyboardInterrupt() if attempt.call.is_async:
            attempt.loop.call_soon_threadsafe(_interrupt)
        case Exception() if isinstance(error, attempt.rejects):
            return m.No(address, phase, named(error), sure=resolved)
    reason = named(error)
    final = isinstance(error, Exception) and not attempt.retry.allows(error)
    if _log.isEnabledFor(logging.DEBUG):
        _log.debug("an attempt of %s failed\n%s", address, told_of(error, attempt.secrets()))
    return m.Failure(address, phase, reason, resolved=resolved, final=final, share=runner.share())


async def _wrapped(attempt: Tried, runner: Runner, given: dict[str, Any]) -> Any:
    """The call, inside what stands around it."""
    if not runner.has_around:
        return await _called(attempt, runner, given)
    attempt.start_clock()
    return await inside(runner, attempt, lambda: _called(attempt, runner, given))


async def _called(attempt: Tried, runner: Runner, given: dict[str, Any]) -> Any:
    """The call itself. The time of a sync function counts from when a thread has taken it up;
    one that is not wanted any more by then is not begun."""
    call = attempt.call

    def in_thread() -> Ended:
        if attempt.cancelled:
            return None, asyncio.CancelledError()
        attempt.start_clock_from_thread()
        try:
            return call.fn(**given), None
        except BaseException as error:  # noqa: BLE001  # raised where it is awaited: a future takes not every exception
            return None, error

    if call.is_async:
        attempt.start_clock()
        fault.point("attempt.before")
        return await call.fn(**given)
    attempt.stop_clock()
    fault.point("attempt.before")
    result, error = await runner.in_thread(in_thread)
    if error is not None:
        raise error
    return result


async def contained(call: Callable[[], Awaitable[Any]]) -> Ended:
    """What an async call returns or raises, as a value: in a task of its own, SystemExit would end the loop. Where the
    task is cancelled before it began, nothing was called."""
    try:
        return await call(), None
    except BaseException as error:  # noqa: BLE001  # handed to whoever waits
        return None, error


async def settled(task: asyncio.Task[Any]) -> None:
    """Wait until a task is over. Who is cancelled meanwhile leaves it running; what it raises is not raised here."""
    waiter: asyncio.Future[None] = task.get_loop().create_future()

    def tell(_: asyncio.Task[Any]) -> None:
        if not waiter.done():
            waiter.set_result(None)

    task.add_done_callback(tell)
    await waiter


class NotMade(Exception):
    """What stands around the attempts raised before the function was called: nothing happened."""


async def inside(runner: Runner, attempt: Tried, call: Callable[[], Awaitable[Any]]) -> Any:
    """The call inside what the user put around it, which sees how it ends and changes nothing.

    Raises what the call raises, and NotMade where it was not made.
    """
    ended: BaseException | None = None
    result: Any = None
    begun = False
    try:
        async with AsyncExitStack() as stack:
            await runner.around(attempt.context, stack)
            begun = True
            try:
                result = await call()
            except BaseException as error:
                ended = error
                raise
    except BaseException as error:
        if not begun:
            raise NotMade(f"what stands around the attempt raised {type(error).__name__}: {describe(error)}") from error
        if error is not ended:
            told = told_of(error, attempt.secrets())
            _log.error(
                "what stands around the attempts of %s raised; the outcome stays as it is\n%s", attempt.address, told
            )
    if ended is not None:
        raise ended
    return result


def _interrupt() -> None:
    """A Ctrl-C that met a step means the process. Elsewhere than on the main thread it is none."""
    if threading.current_thread() is threading.main_thread():
        raise KeyboardInterrupt
