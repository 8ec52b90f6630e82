"""The nodes of a saga, as a user writes them.

Guarantees: a node is only a description; building one checks what can be seen in it alone.
Must not: know about parameters (`bind.py`) or about the whole saga (`program.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any, Concatenate, Final, Generic, Literal, ParamSpec, Self, TypeVar, cast, overload

from amends.define.hints import is_type
from amends.define.node import Node, Source, check_name, check_node, shown_node
from amends.define.outcome import Rejected
from amends.define.policy import Duration, is_whole, seconds
from amends.define.step import Step
from amends.errors import DefinitionError

P = ParamSpec("P")
I = TypeVar("I")  # noqa: E741  # the input, as in the documented signatures
I_contra = TypeVar("I_contra", contravariant=True)
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
C = TypeVar("C")
Item = TypeVar("Item")

FAN_OUT_LIMIT_MAX = 1000


class Pivot(Node[object]):
    """The point of no return: bare between two nodes, or `pivot(step)` around the step whose
    success it is."""

    nameable: bool = False

    def __init__(self, step: Source[Any] | None = None) -> None:
        self.step = step

    def __call__(self, step: Source[T], /) -> Source[T]:
        """The go/no-go step: it may reject, needs no compensation, and its success is the
        point of no return."""
        _check_source(step, "pivot(…): a step")
        return PivotStep(step)

    def __repr__(self) -> str:
        return "pivot"


class PivotStep(Source[T_co]):
    """`pivot(step)`."""

    def __init__(self, step: Source[T_co]) -> None:
        self.step: Source[Any] = step

    def named(self, name: str, /) -> Self:
        """The pivot around the same step under another stored name."""
        return type(self)(self.step.named(name))

    def __repr__(self) -> str:
        return f"pivot({self.step!r})"


pivot: Final = Pivot()


class Parallel(Node[I_contra]):
    """Branches that run together."""

    nameable: bool = False

    def __init__(self, branches: tuple[Node[Any], ...]) -> None:
        self.branches: tuple[Node[Any], ...] = _nodes(branches, "parallel(…)")

    def __repr__(self) -> str:
        return "parallel(…)"


class Sequence(Node[I_contra]):
    """Nodes that run one after the other."""

    nameable: bool = False

    def __init__(self, nodes: tuple[Node[Any], ...]) -> None:
        self.nodes: tuple[Node[Any], ...] = _nodes(nodes, "sequence(…)")

    def __repr__(self) -> str:
        return "sequence(…)"


def parallel(*branches: Node[I]) -> Node[I]:
    """Branches that run together and do not read each other's results."""
    return Parallel(branches)


def sequence(*nodes: Node[I]) -> Node[I]:
    """Nodes in order, as one branch of a `parallel` or of a `when`."""
    return Sequence(nodes)


class When(Node[I_contra]):
    """A branch that is taken or not."""

    def __init__(self, condition: object, nodes: tuple[Node[Any], ...], otherwise: Node[Any] | None) -> None:
        self.condition: object = _asked(condition, "when(…)")
        self.then: Sequence[Any] = Sequence(_nodes(nodes, "when(…)"))
        self.otherwise: Node[Any] | None = None if otherwise is None else _nodes((otherwise,), "when(otherwise=…)")[0]

    def __repr__(self) -> str:
        return f"when({shown_node(self.condition)})"


@overload
def when(condition: Source[bool], /, *nodes: Node[Any], otherwise: Node[Any] | None = None) -> Node[object]: ...
@overload
def when(condition: Callable[[I], bool], /, *nodes: Node[Any], otherwise: Node[Any] | None = None) -> Node[I]: ...
def when(condition: Any, /, *nodes: Node[Any], otherwise: Node[Any] | None = None) -> Any:
    """Nodes that run if a condition holds; `otherwise`, if given, runs if it does not.

    condition: a pure function of the saga's input, or an earlier readonly step that returns a
    bool. It is asked once and the answer is recorded.
    """
    return When[Any](condition, nodes, otherwise)


class Sleep(Node[I_contra]):
    """A wait for time to pass."""

    def __init__(self, duration: object) -> None:
        fixed = isinstance(duration, (int, float, timedelta))
        self.seconds: float | None = seconds(duration, "sleep(…)") if fixed else None
        self.until: object | None = None if fixed else _asked(duration, "sleep(…)")

    def __repr__(self) -> str:
        return f"sleep({'…' if self.seconds is None else f'{self.seconds:g}'})"


@overload
def sleep(duration: Duration | Source[timedelta] | Source[datetime], /) -> Node[object]: ...
@overload
def sleep(duration: Callable[[I], timedelta | datetime], /) -> Node[I]: ...
def sleep(duration: Any, /) -> Any:
    """A wait that survives restarts and costs nothing while it lasts.

    duration: seconds, a timedelta, or whence to take a timedelta or a datetime: a function of
    the saga's input, or an earlier readonly step. It is asked once and recorded as an instant.
    """
    return Sleep[Any](duration)


class Each(Node[I_contra], Generic[I_contra, T_co]):
    """One step over many items."""

    def __init__(self, step: object, over: object, limit: int, on_reject: str) -> None:
        if not isinstance(step, Step):
            raise DefinitionError(f"for_each(…): a step is expected, not {shown_node(step)}")
        if not is_whole(limit) or not 1 <= limit <= FAN_OUT_LIMIT_MAX:
            raise DefinitionError(f"for_each(limit={limit!r}): how many items run together, 1 to {FAN_OUT_LIMIT_MAX}")
        if on_reject not in ("compensate", "collect"):
            raise DefinitionError(f"for_each(on_reject={on_reject!r}): 'compensate' or 'collect'")
        self.step: Step[Any, Any, Any] = step
        self.over: object = _asked(over, "for_each(over=…)")
        self.limit = limit
        self.collect: bool = on_reject == "collect"

    def __repr__(self) -> str:
        return f"for_each({self.step!r})"


class EachSource(Each[object, T_co], Source[T_co]):
    """A `for_each` over an earlier result."""


@overload
def for_each(
    step: Step[Concatenate[Item, P], Any, T],
    /,
    *,
    over: Source[Iterable[Item]],
    limit: int = ...,
    on_reject: Literal["compensate"] = ...,
) -> Source[list[T]]: ...
@overload
def for_each(
    step: Step[Concatenate[Item, P], Any, T],
    /,
    *,
    over: Source[Iterable[Item]],
    limit: int = ...,
    on_reject: Literal["collect"],
) -> Source[list[T | Rejected]]: ...
@overload
def for_each(
    step: Step[Concatenate[Item, P], Any, T],
    /,
    *,
    over: Callable[[I], Iterable[Item]],
    limit: int = ...,
    on_reject: Literal["compensate"] = ...,
) -> Each[I, list[T]]: ...
@overload
def for_each(
    step: Step[Concatenate[Item, P], Any, T],
    /,
    *,
    over: Callable[[I], Iterable[Item]],
    limit: int = ...,
    on_reject: Literal["collect"],
) -> Each[I, list[T | Rejected]]: ...
def for_each(step: Any, /, *, over: Any, limit: int = 20, on_reject: Any = "compensate") -> Any:
    """One step over many items, in order of start, `limit` at a time.

    over: a function of the saga's input that gives the items, or an earlier readonly step that
    returns a list. The step's first parameter is the item, in its compensation too. The result
    is the list of the step's results in item order. on_reject: "compensate" goes back when an
    item rejects; "collect" puts a `Rejected` into the list and goes on.
    """
    if isinstance(over, Source):
        return EachSource[Any](step, cast("object", over), limit, on_reject)
    return Each[Any, Any](step, over, limit, on_reject)


class Signal(Source[T], Generic[T]):
    """A wait for a value from outside; also the handle to send it with, and only this type of it."""

    def __init__(self, name: str, type_: object, timeout: Duration | None, default: object, reject_if: object) -> None:
        self._name = check_name(name, "wait_for(…)")
        if not is_type(type_):
            raise DefinitionError(f"wait_for({name!r}, {type_!r:.80}): the class of the value is expected")
        self.type = type_
        self.timeout: float | None = None if timeout is None else seconds(timeout, f"wait_for({name!r}, timeout=…)")
        self.default = default
        self.reject_if: Callable[..., Any] | None = None
        if default is not MISSING and timeout is None:
            raise DefinitionError(f"wait_for({name!r}): a default is taken at the timeout, so give a timeout too")
        if callable(reject_if):
            self.reject_if = reject_if
        elif reject_if is not None:
            raise DefinitionError(f"wait_for({name!r}, reject_if=…): a function of the value is expected")

    @property
    def stored_name(self) -> str:
        """The name that a signal is sent to."""
        return self._name or ""

    def __repr__(self) -> str:
        return f"wait_for({self.stored_name!r})"


class _Missing:
    """No default was given."""

    def __repr__(self) -> str:
        return "…"


MISSING: Final = _Missing()


def wait_for(
    name: str,
    type: type[T],  # as in the documented signature
    /,
    *,
    timeout: Duration | None = None,
    default: T | _Missing = MISSING,
    reject_if: Callable[[T], bool] | None = None,
) -> Signal[T]:
    """A wait for a signal: a value that a person or another program sends.

    A signal sent before the wait is kept for it. At the timeout the saga goes back, after the
    pivot it parks, or `default` is taken. `reject_if` turns an answer into a rejection.
    """
    return Signal(name, type, timeout, default, reject_if)


def is_same(one: object, other: object) -> bool:
    """Whether two nodes are one: the same object, the same step under the same name, or the
    pivot around it."""
    one, other = _inside(one), _inside(other)
    if isinstance(one, Step) and isinstance(other, Step):
        return one.body is other.body and one.stored_name == other.stored_name
    return one is other


class ResultOf:
    """Marks a parameter that one certain result fills."""

    def __init__(self, source: object) -> None:
        self.source = source


class SagaInput:
    """Marks a parameter that the saga's input fills."""


def result_of(source: Source[Any] | Each[Any, Any], /) -> object:
    """In `Annotated[T, result_of(step)]`: the result of this step, where two have the type."""
    _check_source(source, "result_of(…): a step or another node with a result")
    return ResultOf(source)


saga_input: Final[object] = SagaInput()


def _nodes(nodes: tuple[object, ...], what: str) -> tuple[Node[Any], ...]:
    if not nodes:
        raise DefinitionError(f"{what}: at least one node is expected")
    for node in nodes:
        check_node(node, what)
    return nodes  # type: ignore[return-value]  # every one is a node


def _asked(source: object, what: str) -> object:
    if isinstance(source, Source) or callable(source):
        return cast("object", source)
    raise DefinitionError(f"{what}: a function of the saga's input or an earlier step is expected, not {source!r}")


def _check_source(source: object, wanted: str) -> None:
    if not isinstance(source, (Source, Each)):
        raise DefinitionError(f"{wanted} is expected, not {shown_node(source)}")


def _inside(node: object) -> object:
    return node.step if isinstance(node, PivotStep) else node
