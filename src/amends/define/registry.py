"""The sagas that one orchestrator knows, by name and by the fingerprint of their plan.

Guarantees: a name means one saga, or several versions of it of which the last is started.
Must not: run anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from amends.define.resources import Resources
from amends.define.saga import Saga
from amends.errors import DefinitionError, UnknownSaga


class Registry:
    """The sagas of an orchestrator, checked together with its resources."""

    def __init__(self, sagas: Sequence[Saga[Any, Any]], resources: Resources) -> None:
        self.by_fingerprint: dict[str, Saga[Any, Any]] = {}
        self._current: dict[str, Saga[Any, Any]] = {}
        if not isinstance(sagas, (list, tuple)):
            raise DefinitionError(f"sagas=…: a list of sagas is expected, not {sagas!r:.80}")
        for saga in sagas:
            if not isinstance(saga, Saga):
                raise DefinitionError(f"sagas=[…]: a Saga is expected, not {saga!r:.80}")
            self._add(saga)
            for where, call in saga.program.calls():
                for argument in call.arguments:
                    if argument.key is not None:
                        at = f"saga {saga.name!r}, {where}, parameter {argument.name}"
                        resources.check(argument.key, argument.label, at)

    def _add(self, saga: Saga[Any, Any]) -> None:
        other = self._current.get(saga.name)
        if other is not None and other is not saga and other.version == saga.version:
            raise DefinitionError(
                f"two sagas are called {saga.name!r}; if one is the changed form of the other, give that one a version="
            )
        self._current[saga.name] = saga
        self.by_fingerprint[saga.plan.fingerprint] = saga

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all sagas, in the order given."""
        return tuple(self._current)

    def __iter__(self) -> Any:
        return iter(self._current.values())

    def named(self, name: str) -> Saga[Any, Any]:
        """The saga that a new start of this name runs. Raises UnknownSaga."""
        if name not in self._current:
            known = ", ".join(self._current) or "none"
            raise UnknownSaga(f"no saga is called {name!r}; this orchestrator knows: {known}")
        return self._current[name]

    def check_known(self, saga: Saga[Any, Any]) -> None:
        """Raises UnknownSaga for a saga that was not given to the orchestrator."""
        if self.by_fingerprint.get(saga.plan.fingerprint) is None:
            known = ", ".join(self._current) or "none"
            raise UnknownSaga(f"{saga!r} is not among this orchestrator's sagas ({known}); add it to sagas=[…]")
