"""What steers a saga: conditions, the items of a `for_each`, the instant to sleep until.

Guarantees: whoever answers is a plain function of the saga's input, or a readonly step that
surely ran before; and what it gives is of the type that is needed, where that can be seen.
Must not: call it.
"""

from __future__ import annotations

import inspect
from collections.abc import Hashable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, get_args, get_origin

from amends.define.bind import Candidate
from amends.define.hints import bare, canonical, hints_of, shown
from amends.define.node import Source
from amends.define.nodes import is_same
from amends.define.program import Ask
from amends.define.step import Step
from amends.errors import DefinitionError

CONDITION: tuple[Hashable, ...] = (bool,)
UNTIL: tuple[Hashable, ...] = (timedelta, datetime)


def ask_of(source: Any, known: list[Candidate], wanted: tuple[Hashable, ...], where: str) -> tuple[Ask, str]:
    """Who answers, and its name in the plan. `wanted`: the types that fit; empty for any."""
    if isinstance(source, Source):
        return _step(source, known, wanted, where)
    check_function(source, where, "the saga's input")
    given = result_type(source)
    if given is not None and wanted and given is not Any and canonical(given) not in wanted:
        raise DefinitionError(f"{where}: {name_of(source)} gives {shown(given)}, {_names(wanted)} is expected")
    return Ask(fn=source), f"function {getattr(source, '__name__', '?')}"


def check_function(fn: Any, where: str, takes: str) -> None:
    """Raises DefinitionError for what is no plain function of one argument."""
    name = name_of(fn)
    if inspect.iscoroutinefunction(fn):
        raise DefinitionError(f"{where}: {name} is async; what steers a saga is a plain function of {takes}")
    if inspect.isgeneratorfunction(fn):
        raise DefinitionError(f"{where}: {name} yields; what steers a saga returns its answer, a list for example")
    try:
        inspect.signature(fn).bind(object())
    except TypeError:
        raise DefinitionError(f"{where}: {name} must take one argument, {takes}") from None
    except ValueError:
        return  # a builtin without a signature


def check_items(item: Any, name: str, source: Any, where: str) -> None:
    """Where it can be seen, the items must be what the step's first parameter takes."""
    given = bare(result_type(source))
    if given is None or given is Any:
        return
    kind = get_origin(given) or given
    if not isinstance(kind, type) or not issubclass(kind, Iterable) or issubclass(kind, (str, bytes)):
        raise DefinitionError(f"{where}: over={name_of(source)} gives {shown(given)}, a list of items is expected")
    members = get_args(given)[:1] if issubclass(kind, Mapping) else get_args(given)
    for member in members:
        if member is not Ellipsis and canonical(member) != canonical(item):
            raise DefinitionError(
                f"{where}: its item {name} is {shown(item)}, but over={name_of(source)} gives {shown(given)}"
            )


def result_type(source: Any) -> Any:
    """The annotated result of a step or function; None where it cannot be told."""
    if isinstance(source, Step) and source.body.remote is not None:
        return source.body.remote.replied.type
    work = source.body.action if isinstance(source, Step) else None
    fn = source if work is None else work.fn
    if not inspect.isfunction(fn):
        return None
    try:
        return hints_of(fn, {} if work is None else work.local_names, "").get("return")
    except DefinitionError:
        return None


def name_of(fn: Any) -> str:
    """A function or node in an error."""
    return getattr(fn, "__name__", None) or repr(fn)[:80]


def _step(source: Source[Any], known: list[Candidate], wanted: tuple[Hashable, ...], where: str) -> tuple[Ask, str]:
    found = next((c for c in known if any(is_same(node, source) for node in c.nodes)), None)
    if found is None:
        raise DefinitionError(f"{where}: {source!r} gives no result before this, so it cannot steer it")
    if not isinstance(source, Step) or not source.body.readonly:
        raise DefinitionError(f"{where}: {source!r} steers the saga, so it must be a readonly step")
    if not found.sure:
        raise DefinitionError(f"{where}: {source!r} may have been skipped, so it cannot steer the saga")
    if wanted and found.key not in wanted:
        raise DefinitionError(f"{where}: {source!r} gives {shown(found.type)}, {_names(wanted)} is expected")
    return Ask(of=found.addresses[0]), found.addresses[0]


def _names(kinds: tuple[Hashable, ...]) -> str:
    return " or ".join(shown(kind) for kind in kinds)
