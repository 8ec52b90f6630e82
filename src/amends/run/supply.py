"""What a saga's functions are called with, and what they gave: values in, payloads out.

Guarantees: each reader of a value that could be changed gets a copy of its own; what cannot be
stored, or read any more, is refused by the name of its place.
Must not: call a step.
"""

from __future__ import annotations

from collections.abc import Hashable
from itertools import islice
from typing import TYPE_CHECKING, Any

from amends.decide import messages as m
from amends.decide.draft import Question
from amends.decide.plan import index_of
from amends.decide.state import State
from amends.define.bind import Kind
from amends.define.policy import Reject, seconds
from amends.define.program import Program
from amends.define.values import describe
from amends.errors import LimitExceeded, ValueRefused
from amends.run.changed_arguments import changed, codec_of
from amends.run.outcomes import list_of
from amends.run.settings import Settings
from amends.run.unsaid import in_state, unsaid

if TYPE_CHECKING:
    from amends.run.attempt import Attempt

_INPUT, _RESULT, _ITEMS = Kind.INPUT, Kind.RESULT, Kind.ITEMS  # nearly all that functions ask for


class Supply:
    """The values of one saga."""

    __slots__ = ("_program", "_resources", "_settings", "_values")

    def __init__(self, program: Program, resources: dict[Any, Any], settings: Settings) -> None:
        self._program = program
        self._resources = resources
        self._settings = settings
        self._values: dict[str, tuple[bytes, Any]] = {}  # those that cannot be changed, decoded once

    def arguments(self, attempt: Attempt, state: State) -> dict[str, Any]:
        """What a function is called with. Raises ValueRefused for a stored value that the code
        cannot read any more."""
        given: dict[str, Any] = {}
        for name, kind, addresses, key, _, _, own in attempt.call.arguments:
            if kind is _RESULT or kind is _ITEMS:
                given[name] = self._result((attempt.address,) if own else addresses, state)
            elif kind is _INPUT:
                given[name] = self._value("", state.input)
            else:
                given[name] = self._other(kind, key, attempt, state)
        if state.given and attempt.address in state.given:
            given |= self._changed(attempt, state.given[attempt.address])
        return given

    def _changed(self, attempt: Attempt, arguments: bytes) -> dict[str, Any]:
        """What a person changed, which the compensation takes too, where it takes the same: it undoes what was done
        with that. Raises ValueRefused."""
        names, address = changed(arguments), attempt.address
        same = {one.name: one for one in self._program.step(address).action.arguments if one.name in names}
        return {
            argument.name: codec_of(self._program, address, argument).decode(bytes(names[argument.name]))
            for argument in attempt.call.arguments
            if argument.name in names and argument == same.get(argument.name)
        }

    def _command(self, address: str, state: State) -> bytes:
        """The command that a request builds. Raises whatever the user's function does."""
        step = self._program.step(address)
        remote = step.step.body.remote
        if remote is None:
            raise LookupError(f"{address} is no request")
        given: dict[str, Any] = {}
        for argument in step.action.arguments:
            if argument.kind is _INPUT:
                given[argument.name] = self._value("", state.input)
            elif argument.kind is Kind.ITEM:
                given[argument.name] = self._item(address, state)
            else:
                given[argument.name] = self._result(argument.addresses, state)
        built = step.action.fn(**given)
        return remote.sent.admit(built, f"the command of {address}", self._settings.payload_bytes)[0]

    def keep_input(self, payload: bytes, value: Any) -> None:
        """The input, which need not be decoded any more, if it cannot be changed."""
        if self._program.input.shared:
            self._values[""] = payload, value

    def admit(self, address: str, result: Any) -> bytes:
        """The payload of a result. Raises ValueRefused or LimitExceeded."""
        codec = self._program.step(address).result
        payload, value = codec.admit(result, f"the result of {address}", self._settings.payload_bytes)
        if codec.shared:
            self._values[address] = payload, value
        return payload

    def answer(self, question: Question, state: State, now: float) -> m.Answer:
        """Call the user's function that a question is about; what it raises is an answer too."""
        said = self._answer(question, state, now)
        return said._replace(error=unsaid(said.error, in_state(self._program.plan, state))) if said.error else said

    def _answer(self, question: Question, state: State, now: float) -> m.Answer:
        kind, address = question.kind, question.address
        try:
            if kind == "accept":
                value = self._program.signals[address].decode(question.value)
                return m.Answer(kind, address, flag=not self._program.filters[address](value))
            if kind == "request":
                return m.Answer(kind, address, items=(self._command(address, state),))
            given = self._asked(address, state)
            if kind == "condition":
                return m.Answer(kind, address, flag=_bool(given))
            if kind == "until":
                return m.Answer(kind, address, instant=_instant(given, now))
            return m.Answer(kind, address, items=self._items(address, given))
        except KeyboardInterrupt:
            raise
        except Reject as error:
            if kind == "request":
                return m.Answer(kind, address, flag=True, error=describe(error))
            return m.Answer(kind, address, error=f"{type(error).__name__}: {describe(error)}")
        except BaseException as error:  # noqa: BLE001  # a user's function; the saga parks with its words
            return m.Answer(kind, address, error=f"{type(error).__name__}: {describe(error)}")

    def _other(self, kind: Kind, key: Hashable, attempt: Attempt, state: State) -> Any:
        """What is no value of the saga's."""
        if kind is Kind.CONTEXT:
            return attempt.context
        if kind is Kind.RESOURCE:
            return self._resources[key]
        if kind is Kind.ITEM:
            return self._item(attempt.address, state)
        return None  # a transaction, filled by whoever opens it

    def _result(self, addresses: tuple[str, ...], state: State) -> Any:
        for address in addresses:
            if address in self._program.lists:
                listed = list_of(self._program, state, address)
                if listed is not None:
                    return listed
                continue
            payload = state.step(address).result
            if payload is not None:
                return self._value(address, payload)
        return None

    def _item(self, address: str, state: State) -> Any:
        group = address[: address.rindex("[")]
        codec = self._program.steps[group].item
        if codec is None:
            raise ValueRefused(f"{address} is an item of a step that takes none")
        return codec.decode(state.groups[group].items[index_of(address)])

    def _value(self, address: str, payload: bytes) -> Any:
        kept = self._values.get(address)
        if kept is not None and kept[0] == payload:  # else another result stands: the one kept came too late
            return kept[1]
        codec = self._program.codec_at(address) if address else self._program.input
        value = codec.decode(payload)
        if codec.shared:
            self._values[address] = payload, value
        return value

    def _asked(self, address: str, state: State) -> Any:
        """What steers: a function of the input, or an earlier result."""
        ask = self._program.asks[address]
        if ask.fn is None:
            return self._value(ask.of, state.step(ask.of).result or b"null")
        return ask.fn(self._value("", state.input))

    def _items(self, address: str, given: Any) -> tuple[bytes, ...]:
        codec = self._program.steps[address].item
        limit = self._settings.fan_out
        items = list(islice(given, limit + 1))  # an iterable may have no end
        if codec is None or len(items) > limit:
            raise LimitExceeded(f"over= gave more items than the limit of {limit:,} (Settings.fan_out)")
        size = self._settings.payload_bytes
        return tuple(codec.admit(item, f"item {index} of {address}", size)[0] for index, item in enumerate(items))


def _bool(given: Any) -> bool:
    if not isinstance(given, bool):
        raise TypeError(f"the condition gave {type(given).__name__}, True or False is expected")
    return given


def _instant(given: Any, now: float) -> float:
    timestamp = getattr(given, "timestamp", None)
    if timestamp is None:
        return now + seconds(given, "sleep(…)")
    if given.tzinfo is None:
        raise ValueError("the datetime to sleep until has no time zone")
    return float(timestamp())
