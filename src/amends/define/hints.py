"""Annotations: reading them, and telling whether two mean the same type.

Guarantees: types match exactly after aliases are resolved; a name that cannot be resolved
gets an error that says how to mend it.
Must not: evaluate an annotation anywhere but in its module and the frame around its decorator.
"""

from __future__ import annotations

import ast
import inspect
import sys
import types
from collections.abc import Callable, Hashable, Mapping
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from amends.define.names import type_name
from amends.errors import DefinitionError

Function = Callable[..., Any]


def hints_of(fn: Function, local_names: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The annotations of a function, resolved. Raises DefinitionError where a name is unknown."""
    try:
        return get_type_hints(fn, localns=dict(local_names), include_extras=True)
    except NameError as error:
        raise DefinitionError(f"{where}: {unresolved(fn.__module__, error.name or str(error))}") from None
    except DefinitionError:
        raise
    except Exception as error:  # noqa: BLE001  # an annotation in quotes is code, and may raise anything
        raise DefinitionError(f"{where}: its annotations cannot be read: {error}") from None


def canonical(type_: Any) -> Hashable:
    """A key that two annotations share exactly if they mean the same type.

    A NewType is itself, the order of a union does not matter, `Optional[X]` is `X | None`,
    `typing.List[X]` is `list[X]`; a base class or a protocol never equals what derives from it.
    """
    if is_nothing(type_):
        return "nothing"
    type_ = bare(type_)
    origin, args = get_origin(type_), get_args(type_)
    if origin is None:
        return type_  # type: ignore[no-any-return]  # whatever stands in an annotation
    if origin is Union or origin is types.UnionType:
        return ("union", frozenset(canonical(member) for member in members(type_)))
    if origin is Literal:
        return ("literal", frozenset((type(arg), arg) for arg in args))
    if not args and origin is not tuple:
        return origin  # type: ignore[no-any-return]  # `typing.List` is `list`
    return (origin, tuple(canonical(arg) if not isinstance(arg, list) else tuple(arg) for arg in args))


def members(type_: Any) -> tuple[Any, ...]:
    """The members of a union, those of unions and aliases inside it too; else the type itself."""
    type_ = bare(type_)
    if get_origin(type_) is not Union and get_origin(type_) is not types.UnionType:
        return (type_,)
    return tuple(dict.fromkeys(inner for arg in get_args(type_) for inner in members(arg)))


def is_type(type_: Any) -> bool:
    """Whether something may stand in an annotation: not a value, and not a name in quotes."""
    known = isinstance(type_, type) or is_nothing(type_) or type_ is Any or get_origin(type_) is not None
    return known or hasattr(type_, "__supertype__") or type(type_).__name__ == "TypeAliasType"


def is_nothing(type_: Any) -> bool:
    """Whether an annotation says that there is no value."""
    return type_ is None or type_ is type(None)


def without_none(type_: Any) -> Any:
    """`X` for `X | None`; None for a type that is not optional."""
    found = members(type_)
    rest = tuple(member for member in found if not is_nothing(member))
    if len(rest) == len(found) or not rest:
        return None
    return rest[0] if len(rest) == 1 else Union[rest]  # noqa: UP007  # built from a tuple


def markers(type_: Any) -> tuple[Any, ...]:
    """What stands behind the type in `Annotated[T, …]`."""
    return get_args(type_)[1:] if get_origin(type_) is Annotated else ()


def bare(type_: Any) -> Any:
    """The type in `Annotated[T, …]` and behind an alias, or the type itself."""
    while True:
        if get_origin(type_) is Annotated:
            type_ = get_args(type_)[0]
        elif type(type_).__name__ == "TypeAliasType":
            type_ = type_.__value__
        else:
            return type_


def has_type_variable(type_: Any) -> bool:
    """Whether a type is still generic."""
    return isinstance(type_, TypeVar) or any(has_type_variable(arg) for arg in get_args(type_))


def frame_locals(depth: int) -> dict[str, Any]:
    """The local names of the frame that applies a decorator; empty at module level."""
    frame = sys._getframe(depth + 1)
    return {} if frame.f_locals is frame.f_globals else dict(frame.f_locals)


def shown(type_: Any) -> str:
    """A type as a person writes it."""
    return type_name(bare(type_))


def unresolved(module_name: str, name: str) -> str:
    """Why a name in an annotation means nothing when the program runs, and what to do."""
    module = sys.modules.get(module_name)
    if module is not None and name in _type_checking_names(module):
        return (
            f"the name {name} is imported under `if TYPE_CHECKING:` only, so it does not exist when the program runs; "
            "import it without the condition"
        )
    return (
        f"the name {name} is neither in module {module_name} nor among the local names where the decorator stands; "
        "define or import it above, at module level"
    )


def _type_checking_names(module: types.ModuleType) -> set[str]:
    """The names that a module binds under `if TYPE_CHECKING:`."""
    try:
        tree = ast.parse(inspect.getsource(module))
    except (OSError, TypeError, SyntaxError):
        return set()
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            for inner in ast.walk(ast.Module(node.body, [])):
                if isinstance(inner, (ast.Import, ast.ImportFrom)):
                    found |= {(alias.asname or alias.name).split(".")[0] for alias in inner.names}
                elif isinstance(inner, ast.ClassDef):
                    found.add(inner.name)
                elif isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
                    found.add(inner.id)
    return found
