"""What all nodes of a saga have in common.

Guarantees: a node is only a description; building one checks what can be seen in it alone.
Must not: know about parameters (`bind.py`) or about the whole saga (`program.py`).
"""

from __future__ import annotations

import copy
import re
from typing import Annotated, Final, Generic, Self, TypeVar

from amends.errors import DefinitionError

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
I_contra = TypeVar("I_contra", contravariant=True)

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}")
_VERSION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


class _ResourceMark:
    """Marks a parameter that a resource fills."""

    def __repr__(self) -> str:
        return "Resource"


RESOURCE: Final = _ResourceMark()
Resource = Annotated[T, RESOURCE]


class Node(Generic[I_contra]):
    """Something that may stand in a saga whose input is `I_contra`."""

    nameable: bool = True
    _name: str | None = None

    @property
    def stored_name(self) -> str | None:
        """The name in the journal and in addresses; None where the saga gives the node one."""
        return self._name

    def named(self, name: str, /) -> Self:
        """The same node under another stored name, so that it can stand in a saga twice."""
        if not self.nameable:
            raise DefinitionError(f"{self!r} has no name of its own; name the steps in it")
        renamed = copy.copy(self)
        renamed._name = check_name(name, "named(…)")
        return renamed


class Source(Node[object], Generic[T_co]):
    """A node with a result."""


def check_name(name: object, what: str) -> str:
    """A name that can be stored, typed in a shell and used in an address."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise DefinitionError(
            f"{what}: {name!r} is no name; letters, digits, _ - and . are allowed, a letter or _ first, at most 100"
        )
    return name


def check_version(version: object, what: str) -> str:
    """A name that may begin with a digit: `2`, `2026-01`."""
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        raise DefinitionError(
            f"{what}: {version!r} is no version; letters, digits, _ - and . are allowed, at most 100, such as '2'"
        )
    return version


def check_node(node: object, what: str) -> None:
    """Raises DefinitionError, with the likely mistake, for what is no node."""
    if isinstance(node, Node):
        return
    if isinstance(node, (list, tuple)):
        kind = "list" if isinstance(node, list) else "tuple"
        raise DefinitionError(f"{what}: a node is expected, not a {kind}; write the nodes one by one")
    if callable(node) and not isinstance(node, type) and hasattr(node, "__name__"):
        raise DefinitionError(f"{what}: {node.__name__} is a plain function; put @step above it")
    raise DefinitionError(f"{what}: a step or another node is expected, not {shown_node(node)}")


def shown_node(value: object) -> str:
    """A value in an error about nodes."""
    return getattr(value, "__name__", None) or repr(value)[:80]
