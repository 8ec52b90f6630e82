"""Fakes as resources: plain values where an orchestrator takes functions.

Guarantees: a plain value stands for its own class, exactly, as everywhere in amends; for
another class it is given in a mapping.
Must not: open or close a plain value. It is the test's own.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from amends.define.saga import Saga
from amends.errors import DefinitionError


def providers(resources: Sequence[object] | Mapping[Any, object]) -> list[Callable[..., Any]]:
    """Resource functions for what a test gives."""
    if isinstance(resources, Mapping):
        return [_provider(kind, value) for kind, value in resources.items()]
    return [value if inspect.isfunction(value) else _provider(type(value), value) for value in resources]


def _provider(kind: Any, value: object) -> Callable[..., Any]:
    def provide() -> Any:
        return value

    provide.__name__ = provide.__qualname__ = f"the {type(value).__name__} of the test"
    provide.__annotations__ = {"return": kind}
    return provide


def refuse_transactions(sagas: Sequence[Saga[Any, Any]]) -> None:
    """Raises DefinitionError for a step that needs a database, which memory is not."""
    for saga in sagas:
        for where, call in saga.program.calls() if isinstance(saga, Saga) else ():
            if call.transaction:
                raise DefinitionError(
                    f"saga {saga.name!r}, {where}: it takes a transaction, and the sandbox is in memory; "
                    'give it a file: database=tmp_path / "test.db"'
                )


def depth_of_test() -> int:
    """How many frames above the caller the first one lies that is not part of this package."""
    depth = 1
    while sys._getframe(depth).f_globals.get("__name__", "").startswith("amends.testing"):
        depth += 1
    return depth
