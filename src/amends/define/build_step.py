"""One step of a saga: how its action and its compensation are called, and its plan.

Guarantees: what is wrong with a step where it stands is found here, and the error names it.
Must not: know the nodes around it, beyond what they provide.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from amends.decide import plan as p
from amends.decide.plan import Place
from amends.define.bind import Binder, Call, Candidate, Kind
from amends.define.hints import canonical, hints_of, is_nothing, shown
from amends.define.nodes import Each
from amends.define.program import StepProgram
from amends.define.step import TIMEOUT_SECONDS, UNDO_RETRY, Remote, Step, Work
from amends.define.values import codec_for
from amends.errors import DefinitionError

_STEERED = (Kind.CONTEXT, Kind.RESOURCE, Kind.TX)
TX_TIMEOUT_SECONDS = 5.0  # a transaction on the store's own file holds its only write lock


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a step stands. giver: the node that would give a type, anywhere in the saga."""

    saga: str
    address: str
    place: Place
    known: list[Candidate]
    giver: Callable[[Any], str]
    item: bool = False


def plan_step(node: Step[..., Any, Any], spot: Spot) -> tuple[p.StepNode, StepProgram, Any]:
    """A step's plan, its callables and the type of its result."""
    body = node.body
    if body.remote is not None:
        return _plan_request(node, body.remote, spot)
    where = f"{spot.saga}, step {spot.address}"
    hints = _hints(body.action, where)
    if "return" not in hints:
        raise DefinitionError(f"{where}: annotate what it returns, `-> None` if that is nothing")
    result_type = hints["return"]
    action = Binder(where, spot.known, body.action, spot.giver).bind(hints, item=spot.item)
    undo = _undo(node, spot, result_type, action)
    codec = codec_for(result_type, f"{where}, its result")
    item = codec_for(hints[action.arguments[0].name], f"{where}, its item") if spot.item else None
    retry = body.action.retry.policy()
    planned = p.StepNode(
        address=spot.address,
        place=spot.place,
        work="local" if action.transaction is None else "tx",
        readonly=body.readonly,
        compensated=undo is not None,
        retry=retry if spot.place is not Place.AFTER else replace(retry, attempts=None),
        undo_retry=(UNDO_RETRY if body.undo is None else body.undo.retry).policy(),
        timeout=_timeout(body.action, action),
        undo_timeout=TIMEOUT_SECONDS if body.undo is None or undo is None else _timeout(body.undo, undo),
        reads=tuple(dict.fromkeys((*action.reads, *(undo.reads if undo is not None else ())))),
        result=codec.schema,
    )
    return planned, StepProgram(node, action, undo, codec, item), result_type


def _plan_request(node: Step[..., Any, Any], remote: Remote, spot: Spot) -> tuple[p.StepNode, StepProgram, Any]:
    """The same of a step that a service does: the function builds the command."""
    work, readonly = node.body.action, node.body.readonly
    where = f"{spot.saga}, step {spot.address}"
    hints = _hints(work, where)
    wanted = remote.sent.type
    if "return" not in hints or canonical(hints["return"]) != canonical(wanted):
        raise DefinitionError(f"{where}: it builds the command {shown(wanted)}; annotate `-> {shown(wanted)}`")
    build = Binder(where, spot.known, work, spot.giver).bind(hints, item=spot.item)
    if build.is_async or any(argument.kind in _STEERED for argument in build.arguments):
        raise DefinitionError(
            f"{where}: a request is a plain function of the saga's values, so that it can be called before anything is "
            "sent; what needs a client, a transaction or the context is a step of its own before it"
        )
    if spot.place is Place.BEFORE and not (readonly or remote.undoable):
        raise DefinitionError(
            f"{where}: it stands before the point of no return, and {remote.service}.{remote.name} has no "
            "compensation; declare it with compensation=True, or readonly=True if it changes nothing, or move the step "
            "behind the pivot"
        )
    retry = work.retry.policy()
    timeout = TIMEOUT_SECONDS if work.timeout is None else work.timeout
    planned = p.StepNode(
        address=spot.address,
        place=spot.place,
        work=remote.work,
        readonly=readonly,
        compensated=spot.place is Place.BEFORE and not readonly,
        retry=retry if spot.place is not Place.AFTER else replace(retry, attempts=None),
        undo_retry=UNDO_RETRY.policy(),
        timeout=timeout,
        undo_timeout=timeout,
        reads=tuple(dict.fromkeys(build.reads)),
        result=remote.replied.schema,
    )
    item = codec_for(hints[build.arguments[0].name], f"{where}, its item") if spot.item else None
    return planned, StepProgram(node, build, None, remote.replied, item), remote.replied.type


def _undo(node: Step[..., Any, Any], spot: Spot, result_type: Any, action: Call) -> Call | None:
    body = node.body
    if spot.place is not Place.BEFORE:
        return None
    if body.undo is None:
        if body.readonly:
            return None
        raise DefinitionError(
            f"{spot.saga}, step {spot.address}: it stands before the point of no return and has no compensation; add "
            f"`@{node.__name__}.compensation`, or step(readonly=True) if it changes nothing, or move it behind "
            "the pivot"
        )
    where = f"{spot.saga}, the compensation of {spot.address}"
    hints = _hints(body.undo, where)
    if "return" not in hints or not is_nothing(hints["return"]):
        raise DefinitionError(f"{where}: a compensation returns nothing; annotate `-> None`")
    known = _others(spot.known, node)
    if not is_nothing(result_type):
        known.append(_own(node, spot.address, result_type, action))
    undo = Binder(where, known, body.undo, spot.giver).bind(hints, item=spot.item)
    _check_pair(spot, action, undo, where)
    if spot.item:
        _check_item(body.action, action, hints[undo.arguments[0].name], where)
    return undo


def _own(node: Step[..., Any, Any], address: str, result_type: Any, action: Call) -> Candidate:
    """The result of the step itself, for its compensation: there for sure only with the barrier."""
    return Candidate(result_type, Kind.RESULT, (address,), (node,), sure=action.transaction is not None, own=True)


def _others(known: list[Candidate], node: Step[..., Any, Any]) -> list[Candidate]:
    """What a compensation may read beside its own result: not the results of the same step
    under other names, they would be taken for it."""
    return [c for c in known if not c.nodes or not all(_body(other) is node.body for other in c.nodes)]


def _body(node: object) -> object:
    step = node.step if isinstance(node, Each) else node
    return step.body if isinstance(step, Step) else None


def _check_pair(spot: Spot, action: Call, undo: Call, where: str) -> None:
    if (undo.transaction is None) != (action.transaction is None):
        has, lacks = ("step", "compensation") if undo.transaction is None else ("compensation", "step")
        raise DefinitionError(
            f"{where}: the {has} takes a transaction and the {lacks} does not; both must, or neither, because what "
            "keeps them apart lives in it"
        )


def _check_item(work: Work, action: Call, item: Any, where: str) -> None:
    wanted = _hints(work, where)[action.arguments[0].name]
    if canonical(item) != canonical(wanted):
        raise DefinitionError(
            f"{where}: in a for_each its first parameter is the item, {shown(wanted)} as in the step, not {shown(item)}"
        )


def _hints(work: Work, where: str) -> dict[str, Any]:
    return hints_of(work.fn, work.local_names, where)


def _timeout(work: Work, call: Call) -> float:
    if work.timeout is not None:
        return work.timeout
    return TIMEOUT_SECONDS if call.transaction is None else TX_TIMEOUT_SECONDS
