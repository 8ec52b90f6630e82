"""The plan: the storable form of a saga. Names, order and policies, no callables.

Guarantees: a plan is a value; two equal plans have one fingerprint; a node is found by its
address, never by its position.
Must not: hold a function, a class or anything that cannot be written as JSON.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

from amends.decide.policy import ACTION_POLICY, UNDO_POLICY, Policy

INDEX_DIGITS_MAX = 9
REMOTE = "command:"  # how the `work` of a step begins that a service does


class Place(StrEnum):
    """Where a node stands to the point of no return."""

    BEFORE = "before"
    PIVOT = "pivot"
    AFTER = "after"


class Payload(StrEnum):
    """What a payload is to the node that it belongs to."""

    INPUT = "input"  # of the saga
    RESULT = "result"  # of a step, an item's step, or a wait
    COMMAND = "command"  # that a step sends
    ITEM = "item"  # of a `for_each`


class Marked(NamedTuple):
    """Where secrets stand in a payload, as JSON pointers."""

    payload: str
    address: str
    pointers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StepNode:
    """One local transaction. `work` says who does it: "local", "tx" (in a transaction of
    ours, with the barrier), or "command:<service>/<name>"; then `timeout` is how long a reply is
    waited for."""

    address: str
    place: Place = Place.BEFORE
    work: str = "local"
    readonly: bool = False
    compensated: bool = False
    retry: Policy = ACTION_POLICY
    undo_retry: Policy = UNDO_POLICY
    timeout: float = 30.0
    undo_timeout: float = 30.0
    reads: tuple[str, ...] = ()
    result: str = ""

    @property
    def remote(self) -> bool:
        """Whether another service does it."""
        return self.work.startswith(REMOTE)

    @property
    def service(self) -> str:
        """The service that does it, if one does."""
        return self.work.removeprefix(REMOTE).partition("/")[0] if self.remote else ""

    @property
    def command(self) -> str:
        """The contract's name as it is on the wire, `inventory.reserve-stock`; empty where no service does it."""
        return self.work.removeprefix(REMOTE).replace("/", ".", 1) if self.remote else ""


@dataclass(frozen=True, slots=True)
class PivotNode:
    """The bare marker: the point of no return between two nodes."""

    address: str = "pivot"


@dataclass(frozen=True, slots=True)
class SequenceNode:
    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class ParallelNode:
    branches: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class WhenNode:
    """A branch. `condition` names what is asked: a function of the input, or a step's address."""

    address: str
    condition: str
    then: Node
    otherwise: Node | None = None
    place: Place = Place.BEFORE


@dataclass(frozen=True, slots=True)
class EachNode:
    """One step over many items; item `i` has the address `name[i]`."""

    address: str
    step: StepNode
    over: str
    limit: int = 20
    collect: bool = False
    place: Place = Place.BEFORE


@dataclass(frozen=True, slots=True)
class SleepNode:
    """A wait for an instant. `seconds` where it is fixed, else `until` names what is asked."""

    address: str
    seconds: float | None = None
    until: str = ""
    place: Place = Place.BEFORE


@dataclass(frozen=True, slots=True)
class WaitNode:
    """A wait for a signal. `default` is the encoded value taken at the timeout, if any;
    `filtered` says that the answer is asked about (`reject_if`)."""

    address: str
    timeout: float | None = None
    default: str | None = None
    filtered: bool = False
    place: Place = Place.BEFORE
    result: str = ""


Node = StepNode | PivotNode | SequenceNode | ParallelNode | WhenNode | EachNode | SleepNode | WaitNode
Json = dict[str, "Json"] | list["Json"] | str | int | float | bool | None

_TAGS: dict[type[Node], str] = {
    StepNode: "step",
    PivotNode: "pivot",
    SequenceNode: "sequence",
    ParallelNode: "parallel",
    WhenNode: "when",
    EachNode: "each",
    SleepNode: "sleep",
    WaitNode: "wait",
}


@dataclass(frozen=True)
class Plan:
    """A saga's flow as it is stored, fingerprinted, drawn and compared.

    name, version: of the saga. root: its node list. output: the address whose result is the
    saga's, if any. deadline: seconds from the start. input: the fingerprint of the input's schema. secrets: where
    marked fields stand, which nobody is shown.
    """

    name: str
    root: SequenceNode
    version: str = ""
    output: str | None = None
    deadline: float | None = None
    input: str = ""
    secrets: tuple[Marked, ...] = ()

    @cached_property
    def fingerprint(self) -> str:
        """32 hex digits that equal plans share."""
        return hashlib.blake2b(self.json.encode(), digest_size=16).hexdigest()

    @cached_property
    def json(self) -> str:
        """The canonical JSON text of the plan."""
        head: dict[str, Json] = {
            "name": self.name,
            "version": self.version,
            "output": self.output,
            "deadline": _node_json(self.deadline),
            "input": self.input,
            "root": _node_json(self.root),
        }
        if self.secrets:  # without any it is written as before there were any
            head["secrets"] = _node_json(self.secrets)
        return json.dumps(head, sort_keys=True, separators=(",", ":"))

    @cached_property
    def by_address(self) -> dict[str, Node]:
        """Every node that has an address; a `for_each` stands for its items."""
        return {node.address: node for node in walk(self.root) if not isinstance(node, (SequenceNode, ParallelNode))}

    @cached_property
    def waits(self) -> tuple[WaitNode, ...]:
        """Every wait for a signal."""
        return tuple(node for node in walk(self.root) if isinstance(node, WaitNode))

    @cached_property
    def remote(self) -> bool:
        """Whether any step is done by a service."""
        return any(step.remote for step in _steps(self.root))

    @cached_property
    def services(self) -> tuple[str, ...]:
        """The services that do steps, each once."""
        remote = (step.service for step in _steps(self.root) if step.remote)
        return tuple(dict.fromkeys(remote))

    @cached_property
    def pivot(self) -> StepNode | None:
        """The step that is the pivot, where a step is."""
        steps = (node for node in walk(self.root) if isinstance(node, StepNode))
        return next((node for node in steps if node.place is Place.PIVOT), None)

    def secrets_in(self, payload: Payload, address: str = "") -> tuple[str, ...]:
        """Where secrets stand in a payload."""
        stem = stem_of(address)
        found = (marked.pointers for marked in self.secrets if marked.payload == payload and marked.address == stem)
        return next(found, ())

    def node(self, address: str) -> Node | None:
        """The node at an address, an item's step for `name[3]`; None if there is none."""
        found = self.by_address.get(address)
        if found is None and address.endswith("]"):
            group = self.by_address.get(group_of(address))
            return group.step if isinstance(group, EachNode) else None
        return found

    def step(self, address: str) -> StepNode:
        """The step at an address, or an item's. Raises KeyError where no step stands."""
        node = self.by_address.get(address)
        if isinstance(node, StepNode):
            return node
        item = self.node(address)
        if not isinstance(item, StepNode):
            raise KeyError(address)
        return item


def _steps(root: Node) -> Iterator[StepNode]:
    for node in walk(root):
        if isinstance(node, StepNode):
            yield node
        elif isinstance(node, EachNode):
            yield node.step


def walk(node: Node) -> Iterator[Node]:
    """The node and all below it, in flow order."""
    yield node
    for child in children(node):
        yield from walk(child)


def addresses(node: Node) -> Iterator[str]:
    """The addresses at and below a node, in flow order."""
    for below in walk(node):
        if not isinstance(below, (SequenceNode, ParallelNode)):
            yield below.address


def children(node: Node) -> tuple[Node, ...]:
    """The nodes directly below a node; a `for_each` has none, its step is its own."""
    if isinstance(node, SequenceNode):
        return node.nodes
    if isinstance(node, ParallelNode):
        return node.branches
    if isinstance(node, WhenNode):
        return (node.then,) if node.otherwise is None else (node.then, node.otherwise)
    return ()


def item_address(group: str, index: int) -> str:
    """The address of a `for_each` item."""
    return f"{group}[{index}]"


def group_of(address: str) -> str:
    """The `for_each` an item's address belongs to; empty for what is no item's address."""
    return address.rpartition("[")[0]


def stem_of(address: str) -> str:
    """The address that the plan knows: an item's `for_each`, anything else its own."""
    return group_of(address) if address.endswith("]") else address


def index_of(address: str) -> int:
    """The position of an item in its `for_each`. Raises LookupError for what is no item's address: a history that came
    with a message may have any."""
    number = address.rpartition("[")[2][:-1]
    if not (number.isdecimal() and len(number) <= INDEX_DIGITS_MAX):
        raise LookupError(f"{address!r:.60} is no item's address")
    return int(number)


def from_json(text: str) -> Plan:
    """The plan that a canonical JSON text describes. Raises KeyError, TypeError or ValueError
    for a text that is no plan."""
    try:
        data = json.loads(text)
        root = _node_from(data.pop("root"))
        secrets = tuple(Marked(str(of), str(at), tuple(found)) for of, at, found in data.pop("secrets", ()))
    except (AttributeError, RecursionError):
        raise ValueError("that is no plan") from None
    if not isinstance(root, SequenceNode):
        raise ValueError("a plan's root is a sequence")
    return Plan(root=root, secrets=secrets, **data)


def _node_json(value: object) -> Json:
    if isinstance(value, tuple):
        return [_node_json(item) for item in value]
    if isinstance(value, Policy):
        return {field.name: _node_json(getattr(value, field.name)) for field in fields(value)}
    tag = _TAGS.get(type(value))  # type: ignore[arg-type]  # any type may be asked for
    if tag is None:
        if isinstance(value, float):
            return _number(value)
        if value is None or isinstance(value, (str, int)):
            return value
        raise TypeError(f"a plan holds names and numbers, not {value!r}")
    shape: dict[str, Json] = {"kind": tag}
    for field in fields(value):  # type: ignore[arg-type]  # every tagged type is a dataclass
        shape[field.name] = _node_json(getattr(value, field.name))
    return shape


def _number(value: float) -> int | float:
    """Equal numbers are written alike: 30.0 as 30."""
    return int(value) if value.is_integer() else value


_KINDS: dict[str, type[Node]] = {tag: kind for kind, tag in _TAGS.items()}
_POLICIES = frozenset({"retry", "undo_retry"})
_NODES = frozenset({"then", "otherwise", "step"})
_LISTS = frozenset({"nodes", "branches"})


def _node_from(data: dict[str, object]) -> Node:
    given = dict(data)
    kind = _KINDS[str(given.pop("kind"))]
    for name, value in given.items():
        if name in _POLICIES:
            given[name] = Policy(**value)  # type: ignore[arg-type]
        elif name in _NODES and value is not None:
            given[name] = _node_from(value)  # type: ignore[arg-type]
        elif name in _LISTS:
            given[name] = tuple(_node_from(item) for item in value)  # type: ignore[attr-defined]
        elif name == "place":
            given[name] = Place(str(value))
        elif name == "reads":
            given[name] = tuple(value)  # type: ignore[arg-type]
    return kind(**given)  # type: ignore[arg-type]
