"""A saga: the typed object that a user builds, starts and shares between modules.

Guarantees: once it is built it is right: every parameter has its source, every step before
the point of no return its compensation, every value its codec.
Must not: do I/O. Where and how it runs is the orchestrator's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar, overload

from amends.decide.plan import Plan
from amends.define.build import Builder
from amends.define.node import Node, Source, check_name, check_version
from amends.define.nodes import Each
from amends.define.policy import Duration
from amends.define.program import Program
from amends.errors import DefinitionError

I = TypeVar("I")  # noqa: E741  # the input, as in the documented signatures
T = TypeVar("T")
I_contra = TypeVar("I_contra", contravariant=True)
T_co = TypeVar("T_co", covariant=True)


class Saga(Source[T_co], Generic[I_contra, T_co]):
    """A named flow of steps with an input.

    nodes: steps, `pivot`, `parallel`, `sequence`, `when`, `for_each`, `sleep`, `wait_for`.
    input: the class of its input. output: the node whose result is the saga's; without one the
    result is None. deadline: from the start, seconds or timedelta; before the pivot it makes
    the saga go back. version: a name for this form of the flow, where two are registered.

    Raises DefinitionError for every mistake that can be seen without running it.
    """

    program: Program

    @overload
    def __init__(
        self: Saga[I, None],
        name: str,
        /,
        *nodes: Node[I],
        input: type[I],
        output: None = ...,
        deadline: Duration | None = ...,
        locks: Callable[[I], Iterable[str]] = ...,
        version: str = ...,
    ) -> None: ...
    @overload
    def __init__(
        self: Saga[I, T],
        name: str,
        /,
        *nodes: Node[I],
        input: type[I],
        output: Source[T] | Each[I, T],
        deadline: Duration | None = ...,
        locks: Callable[[I], Iterable[str]] = ...,
        version: str = ...,
    ) -> None: ...
    def __init__(
        self,
        name: str,
        /,
        *nodes: Any,
        input: Any,
        output: Any = None,
        deadline: Duration | None = None,
        locks: Any = None,
        version: str = "",
    ) -> None:
        self.name: str = check_name(name, "Saga(…)")
        if locks is not None:
            raise DefinitionError(f"saga {name!r}: locks= is not supported yet")
        if version:
            check_version(version, f"saga {name!r}, version=…")
        self.version = version
        self.program = Builder(name, input).build(nodes, output, deadline, version)

    @property
    def plan(self) -> Plan:
        """The storable form: names, order and policies."""
        return self.program.plan

    def __repr__(self) -> str:
        return f"Saga({self.name!r})"
