"""A step: a plain function, and its compensation.

Guarantees: the function stays callable as it is, with its own arguments; what cannot be a
step is refused where the decorator stands.
Must not: wrap the function or look at the saga it will be used in.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, overload

from amends.decide.plan import REMOTE
from amends.decide.policy import UNDO_POLICY
from amends.define.hints import frame_locals
from amends.define.node import Source, check_name
from amends.define.policy import Duration, Retry, is_exceptions, seconds
from amends.define.transactions import ACCEPTED
from amends.define.values import Codec
from amends.errors import DefinitionError

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
C = TypeVar("C")
Undo = TypeVar("Undo", bound=Callable[..., Coroutine[Any, Any, None] | None])

UNDO_RETRY = Retry(attempts=UNDO_POLICY.attempts, cap=UNDO_POLICY.cap)
TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Work:
    """A function that the shell will call, and how it is tried."""

    fn: Callable[..., Any]
    retry: Retry
    timeout: float | None  # seconds; None where the user gave none
    local_names: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Remote:
    """Who does a step that is a request: a command of a service, with its codecs."""

    service: str
    name: str
    sent: Codec[Any]
    replied: Codec[Any]
    undoable: bool

    @property
    def work(self) -> str:
        """The step's `work` in a plan."""
        return f"{REMOTE}{self.service}/{self.name}"


@dataclass(slots=True)
class Body:
    """What a step and its renamed copies share. `remote`: of a request; then the action builds the command."""

    action: Work
    readonly: bool = False
    rejects: tuple[type[Exception], ...] = ()
    undo: Work | None = None
    remote: Remote | None = None


class UndoDecorator(Protocol):
    """`@a_step.compensation(…)`."""

    def __call__(self, fn: Undo, /) -> Undo: ...


class Step(Source[T_co], Generic[P, C, T_co]):
    """A step of a saga. Made by `@step`; calling it calls the function.

    C: what a plain call gives. T_co: the result.
    """

    def __init__(self, body: Body, name: str) -> None:
        self.body = body
        self._name: str | None = name
        self.__name__: str = getattr(body.action.fn, "__name__", name)
        self.__doc__ = body.action.fn.__doc__
        self.__module__ = body.action.fn.__module__
        self.__wrapped__: Callable[..., Any] = body.action.fn

    @property
    def stored_name(self) -> str:
        """The name in the journal, in keys and in addresses."""
        return self._name or self.__name__

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> C:
        """Call the plain function."""
        result: C = self.body.action.fn(*args, **kwargs)
        return result

    def __repr__(self) -> str:
        return self.stored_name

    @overload
    def compensation(self, fn: Undo, /) -> Undo: ...
    @overload
    def compensation(self, *, retry: Retry = ..., timeout: Duration = ...) -> UndoDecorator: ...
    def compensation(self, fn: Any = None, *, retry: Retry = UNDO_RETRY, timeout: Duration | None = None) -> Any:
        """Register the function that undoes this step. It stays a plain function.

        retry: compensations try longer than actions by default. timeout: of one attempt.
        """
        local_names = frame_locals(1)

        def register(undo: Callable[..., Any]) -> Callable[..., Any]:
            where = f"the compensation of {self.stored_name}"
            if self.body.undo is not None:
                raise DefinitionError(f"{where}: there is one already, {_name(self.body.undo.fn)}")
            if self.body.remote is not None:
                raise DefinitionError(f"{where}: it is a request; the service that does it undoes it")
            if self.body.readonly:
                raise DefinitionError(f"{where}: the step is readonly, so there is nothing to undo")
            check_function(undo, where)
            check_retry(retry, where)
            self.body.undo = Work(undo, retry, check_timeout(timeout, where), local_names)
            return undo

        return register if fn is None else register(fn)


class StepDecorator(Protocol):
    """`@step(…)`: async first, as in `step` itself."""

    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, T]], /) -> Step[P, Coroutine[Any, Any, T], T]: ...
    @overload
    def __call__(self, fn: Callable[P, T], /) -> Step[P, T, T]: ...


@overload
def step(fn: Callable[P, Coroutine[Any, Any, T]], /) -> Step[P, Coroutine[Any, Any, T], T]: ...
@overload
def step(fn: Callable[P, T], /) -> Step[P, T, T]: ...
@overload
def step(
    *,
    name: str = ...,
    retry: Retry = ...,
    timeout: Duration = ...,
    readonly: bool = ...,
    rejects: tuple[type[Exception], ...] = ...,
) -> StepDecorator: ...
def step(
    fn: Any = None,
    /,
    *,
    name: str | None = None,
    retry: Retry = Retry(),  # noqa: B008  # a frozen value
    timeout: Duration | None = None,
    readonly: bool = False,
    rejects: tuple[type[Exception], ...] = (),
) -> Any:
    """Make a step of a plain function, async or not.

    name: the stored name, the function's own by default; it never changes once sagas have run.
    retry: how it is tried again. timeout: of one attempt, seconds or timedelta, 30 s by default.
    readonly: it changes nothing, so it needs no compensation. rejects: exceptions that mean
    "no, and nothing was done".

    Raises DefinitionError for what cannot be a step.
    """
    local_names = frame_locals(1)

    def make(function: Callable[..., Any]) -> Step[..., Any, Any]:
        where = f"step {_name(function)}"
        check_function(function, where)
        check_retry(retry, where)
        if not is_exceptions(rejects):
            raise DefinitionError(f"{where}: rejects={rejects!r}: a tuple of exception classes, such as (Declined,)")
        work = Work(function, retry, check_timeout(timeout, where), local_names)
        return Step(Body(work, readonly, rejects), check_name(_name(function) if name is None else name, where))

    return make if fn is None else make(fn)


def check_function(fn: object, where: str) -> None:
    """Raises DefinitionError for what the shell could not call as a step."""
    if isinstance(fn, Step):
        raise DefinitionError(f"{where}: it is a step already; one @step is enough")
    if isinstance(fn, (staticmethod, classmethod)) or not inspect.isfunction(fn):
        raise DefinitionError(f"{where}: a plain function is expected, not {fn!r:.80}")
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        raise DefinitionError(f"{where}: it yields, and a step returns once; use `for_each` for many items")
    for parameter in inspect.signature(fn).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            name = f"{'*' if parameter.kind is parameter.VAR_POSITIONAL else '**'}{parameter.name}"
            raise DefinitionError(f"{where}: {name} cannot be filled by type; write the parameters out")
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise DefinitionError(f"{where}: {parameter.name} is positional-only; write the parameters without the /")
        if parameter.annotation is parameter.empty:
            raise DefinitionError(_unannotated(parameter.name, where))


def _unannotated(name: str, where: str) -> str:
    if name in ("self", "cls"):
        return f"{where}: it looks like a method; a step is a function, and what it needs comes as a Resource"
    if name == "tx":
        return f"{where}: the parameter tx has no annotation; accepted: {', '.join(ACCEPTED)}"
    return f"{where}: the parameter {name} has no annotation, and parameters are filled by type"


def check_retry(retry: object, where: str) -> None:
    """Raises DefinitionError for what is no Retry."""
    if not isinstance(retry, Retry):
        raise DefinitionError(f"{where}: retry={retry!r}: a Retry is expected, such as Retry(attempts=3)")


def check_timeout(timeout: Duration | None, where: str) -> float | None:
    """Seconds; None where none is given. Raises DefinitionError."""
    if timeout is None:
        return None
    value = seconds(timeout, f"{where}, timeout=…")
    if value == 0:
        raise DefinitionError(f"{where}: a timeout of 0 leaves no time to do anything")
    return value


def _name(fn: object) -> str:
    return getattr(fn, "__name__", None) or repr(fn)[:80]
