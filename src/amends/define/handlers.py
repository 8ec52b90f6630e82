"""What a service does with each command and event: the user's functions, fitted to their contracts.

    command and reply come first, by position; the rest by annotation: a transaction, Context, Resource[…]

Guarantees: a function that does not fit its contract is refused when it is registered, and says what would;
it is returned unchanged.
Must not: call anything.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, get_args, get_origin, overload

from amends.decide.events import Phase
from amends.define.bind import Argument, Call, Kind, one_of, special
from amends.define.contract import Command, Event, Service
from amends.define.hints import canonical, hints_of, is_nothing, members, shown
from amends.define.policy import Duration, Retry
from amends.define.step import TIMEOUT_SECONDS, check_function, check_retry, check_timeout
from amends.define.transactions import ACCEPTED, LIBRARIES, misfit
from amends.errors import DefinitionError

P = ParamSpec("P")
Q = TypeVar("Q")
R = TypeVar("R")
T = TypeVar("T")
BATCH_MAX = 1000
COMMAND, RESULT = Kind.INPUT, Kind.RESULT


class Handles(Protocol[Q, R]):
    """`@app.handles(…)`: the function is returned as it is. Async first."""

    @overload
    def __call__(
        self, fn: Callable[Concatenate[Q, P], Coroutine[Any, Any, R]], /
    ) -> Callable[Concatenate[Q, P], Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(self, fn: Callable[Concatenate[Q, P], R], /) -> Callable[Concatenate[Q, P], R]: ...


class Compensates(Protocol[Q, R]):
    """`@app.compensates(…)`: the same with the result that is to be undone."""

    @overload
    def __call__(
        self, fn: Callable[Concatenate[Q, R, P], Coroutine[Any, Any, None]], /
    ) -> Callable[Concatenate[Q, R, P], Coroutine[Any, Any, None]]: ...
    @overload
    def __call__(self, fn: Callable[Concatenate[Q, R, P], None], /) -> Callable[Concatenate[Q, R, P], None]: ...


class CompensatesNothing(Protocol[Q]):
    """`@app.compensates(…)` of a command without a reply: there is no result to be given."""

    @overload
    def __call__(
        self, fn: Callable[Concatenate[Q, P], Coroutine[Any, Any, None]], /
    ) -> Callable[Concatenate[Q, P], Coroutine[Any, Any, None]]: ...
    @overload
    def __call__(self, fn: Callable[Concatenate[Q, P], None], /) -> Callable[Concatenate[Q, P], None]: ...


class On(Protocol[Q]):
    """`@app.on(…)`: the same with an event."""

    def __call__(self, fn: Callable[Concatenate[Q, P], T], /) -> Callable[Concatenate[Q, P], T]: ...


@dataclass(frozen=True, slots=True)
class Handler:
    """A function, and what it is for. where: it, in messages. batch: how many commands it may be called for in one
    transaction. told: the events that it may return, by their class. outcomes: which of them at once; () is nothing."""

    call: Call
    where: str
    timeout: float
    retry: Retry
    rejects: tuple[type[Exception], ...] = ()
    readonly: bool = False
    batch: int = 1
    told: tuple[Event[Any], ...] = ()
    outcomes: tuple[tuple[Event[Any], ...], ...] = ((),)


@dataclass(slots=True)
class Handled:
    """A command of the service, with those who do it and undo it."""

    contract: Command[Any, Any]
    action: Handler | None = None
    undo: Handler | None = None

    def handler(self, phase: Phase) -> Handler | None:
        """Who does this half."""
        return self.action if phase is Phase.ACTION else self.undo


class Handlers:
    """Everything that one service does."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.commands: dict[str, Handled] = {  # by the name on the wire
            command.type: Handled(command) for command in service.commands.values()
        }
        self.events: dict[str, tuple[Event[Any], Handler]] = {}

    def add(self, contract: Command[Any, Any], phase: Phase, fn: Callable[..., Any], given: Given) -> None:
        """Who does, or undoes, a command. Raises DefinitionError."""
        word = "handles" if phase is Phase.ACTION else "compensates"
        where = f"@app.{word}({_contract(contract)}) {getattr(fn, '__name__', fn)!s:.80}"
        if not isinstance(contract, Command):
            raise DefinitionError(f"{where}: a command is expected, such as {self.service.name}.command(…) gives")
        handled = self.commands.get(contract.type)
        if handled is None or handled.contract is not contract:
            raise DefinitionError(
                f"{where}: this is a participant of {self.service.name}, and that is no command of it"
            )
        if handled.handler(phase) is not None:
            raise DefinitionError(f"{where}: {contract.type} has one already; take one of them out")
        made = _fitted(fn, where, given, _parts(contract, phase), contract.replied.type)
        if phase is Phase.ACTION:
            handled.action = _with(made, given, readonly=contract.readonly)
        elif not contract.undoable:
            raise DefinitionError(f"{where}: the contract promises no compensation, so nobody ever asks for it")
        else:
            handled.undo = _with(made, given)

    def listen(self, event: Event[Any], fn: Callable[..., Any], given: Given) -> None:
        """Who hears of an event. Raises DefinitionError."""
        where = f"@app.on({_contract(event)}) {getattr(fn, '__name__', fn)!s:.80}"
        if not isinstance(event, Event):
            raise DefinitionError(f"{where}: an event is expected, such as {self.service.name}.event(…) gives")
        if event.type in self.events:
            raise DefinitionError(f"{where}: {event.type} has one already; a service hears of an event once")
        made = _fitted(fn, where, given, (("the event", event.told.type, COMMAND),), None)
        told, outcomes = self._told(fn, where, given)
        self.events[event.type] = (event, replace(_with(made, given), told=told, outcomes=outcomes))

    def check_complete(self) -> None:
        """Raises DefinitionError where the service's contracts promise what nobody here does."""
        missing = [f"@app.handles for {one.contract.type}" for one in self.commands.values() if one.action is None]
        missing += [
            f"@app.compensates for {one.contract.type}"
            for one in self.commands.values()
            if one.contract.undoable and one.undo is None
        ]
        if missing:
            raise DefinitionError(
                f"the service {self.service.name} lacks {', '.join(missing)}: add it, or take the promise out of the "
                "contract (a command that cannot be undone is declared with compensation=False)"
            )

    def all(self) -> Iterator[Handler]:
        """Every function."""
        for handled in self.commands.values():
            yield from (one for one in (handled.action, handled.undo) if one is not None)
        yield from (handler for _, handler in self.events.values())

    def _told(
        self, fn: Callable[..., Any], where: str, given: Given
    ) -> tuple[tuple[Event[Any], ...], tuple[tuple[Event[Any], ...], ...]]:
        """The events that an event's handler returns, by its annotation: one, several, or none; and which at once."""
        hint = hints_of(fn, given.local_names, where).get("return")
        found: dict[Any, Event[Any]] = {}
        for part in _returned(hint):
            if is_nothing(part):
                continue
            fitting = [one for one in self.service.events.values() if canonical(one.told.type) == canonical(part)]
            if len(fitting) != 1:
                known = ", ".join(shown(one.told.type) for one in self.service.events.values()) or "none"
                raise DefinitionError(
                    f"{where}: it returns {shown(part)}, and {self.service.name} tells {len(fitting) or 'no'} "
                    f"event{'s' if len(fitting) != 1 else ''} of that class; its events are: {known}"
                )
            found[canonical(part)] = fitting[0]
        outcomes = (tuple(found[canonical(one)] for one in at_once) for at_once in _at_once(hint))
        return tuple(dict.fromkeys(found.values())), tuple(dict.fromkeys(outcomes))


@dataclass(frozen=True, slots=True)
class Given:
    """What stands beside a function in its decorator."""

    local_names: dict[str, Any]
    timeout: Duration | None = None
    retry: Retry = Retry()  # noqa: RUF009  # a frozen value
    rejects: tuple[type[Exception], ...] = ()
    batch: int = 1


def _with(call: Call, given: Given, *, readonly: bool = False) -> Handler:
    where = getattr(call.fn, "__name__", "handler")
    timeout = check_timeout(given.timeout, where)
    check_retry(given.retry, where)
    if not 1 <= given.batch <= BATCH_MAX:
        raise DefinitionError(f"{where}: batch={given.batch!r}: a number from 1 to {BATCH_MAX} is expected")
    return Handler(
        call,
        where,
        TIMEOUT_SECONDS if timeout is None else timeout,
        given.retry,
        given.rejects,
        readonly,
        given.batch,
    )


def _parts(contract: Command[Any, Any], phase: Phase) -> tuple[tuple[str, Any, Kind], ...]:
    """What comes first, by position."""
    command = ("the command", contract.sent.type, COMMAND)
    if phase is Phase.ACTION:
        return (command,)
    return (command, ("the reply", contract.replied.type, RESULT))


def _fitted(
    fn: Callable[..., Any], where: str, given: Given, parts: Sequence[tuple[str, Any, Kind]], result: Any
) -> Call:
    """A function's parameters, filled. Raises DefinitionError."""
    check_function(fn, where)
    hints = hints_of(fn, given.local_names, where)
    parameters = list(inspect.signature(fn).parameters.values())
    arguments: list[Argument] = []
    for what, type_, kind in parts:
        if kind is RESULT and is_nothing(type_) and not _is(parameters, hints, type_):
            continue  # there is no result to be given
        if not _is(parameters, hints, type_):
            had = f"it is {shown(hints[parameters[0].name])}" if parameters else "there is none"
            raise DefinitionError(
                f"{where}: {what} comes {'first' if kind is COMMAND else 'second'}, as {shown(type_)}, and {had}"
            )
        arguments.append(Argument(parameters.pop(0).name, kind, label=what, own=kind is RESULT))
    defaulted: list[str] = []
    for parameter in parameters:
        found = special(hints[parameter.name])
        if found is not None:
            arguments.append(found._replace(name=parameter.name))
        elif parameter.default is not parameter.empty:
            defaulted.append(parameter.name)
        else:
            raise DefinitionError(_unknown(parameter.name, hints[parameter.name], where))
    call = Call(fn, tuple(arguments), inspect.iscoroutinefunction(fn), tuple(defaulted))
    _check_transaction(call, where)
    if not where.startswith("@app.on"):
        wanted = None if where.startswith("@app.compensates") else result
        if "return" not in hints or canonical(hints["return"]) != canonical(wanted):
            raise DefinitionError(f"{where}: it answers {shown(wanted)}; annotate `-> {shown(wanted)}`")
    return call


def _is(parameters: Sequence[inspect.Parameter], hints: dict[str, Any], type_: Any) -> bool:
    return bool(parameters) and canonical(hints[parameters[0].name]) == canonical(type_)


def _check_transaction(call: Call, where: str) -> None:
    kinds = tuple(dict.fromkeys(known.label for known in call.arguments if known.kind is Kind.TX))
    if len(kinds) > 1:
        raise DefinitionError(f"{where}: it takes {' and '.join(kinds)}, and a command has one transaction")
    why = misfit(kinds[0], is_async=call.is_async) if kinds else ""
    if why:
        raise DefinitionError(f"{where}: {why}")


def _unknown(name: str, hint: Any, where: str) -> str:
    module = str(getattr(hint, "__module__", "")).split(".")[0]
    if name == "tx" or module in LIBRARIES:
        return f"{where}: the parameter {name} is {shown(hint)}; for a transaction ask for {one_of(ACCEPTED)}"
    return (
        f"{where}: nothing fills the parameter {name}, which is {shown(hint)}; behind the command come a transaction, "
        "Context and Resource[…]"
    )


def _returned(hint: Any) -> list[Any]:
    """The classes of what a handler of events returns: `A | B | None`, `list[A]`, `tuple[A, B]`, or nothing."""
    found: list[Any] = []
    for part in members(hint):
        inner = get_args(part) if get_origin(part) in (list, tuple) else (part,)
        for one in inner:
            found += [member for member in members(one) if member is not Ellipsis]
    return found


def _at_once(hint: Any) -> list[tuple[Any, ...]]:
    """What a handler of events returns at once: one of these."""
    found: list[tuple[Any, ...]] = []
    for part in members(hint):
        inner = [[one for one in members(each) if one is not Ellipsis] for each in get_args(part)]
        if get_origin(part) is tuple and Ellipsis not in get_args(part):
            found += [tuple(one for one in each if not is_nothing(one)) for each in product(*inner)]
        elif get_origin(part) in (list, tuple):
            found += [(), *((one,) for each in inner[:1] for one in each if not is_nothing(one))]
        else:
            found.append(() if is_nothing(part) else (part,))
    return found


def _contract(contract: object) -> str:
    return contract.type if isinstance(contract, (Command, Event)) else repr(contract)[:80]
