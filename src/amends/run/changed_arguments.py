"""What a person changes of what a step is asked: checked as the code that asks would be.

Of a step that a service does it is the command, as JSON. Of a local one it is an object: each parameter that is to be
another, by its name, with its value; the others are filled as ever.

Guarantees: what is taken can be read by whoever gets it; what is not is refused with the place of what is wrong.
Must not: decide whether anything may be changed now; the core does.
"""

from __future__ import annotations

from typing import Any

import msgspec

from amends.decide.plan import group_of
from amends.define.bind import Argument, Kind
from amends.define.program import Program, StepProgram
from amends.define.values import Codec, describe
from amends.errors import LimitExceeded, ValueRefused

_VALUES = frozenset({Kind.INPUT, Kind.RESULT, Kind.ITEMS, Kind.ITEM})
_names = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


def admitted(program: Program, address: str, arguments: bytes, limit: int) -> tuple[bytes, str]:
    """The arguments as they are kept, and why they cannot be; that is empty if they can. limit: bytes."""
    if program.plan.node(address) is None or (address not in program.steps and group_of(address) not in program.steps):
        return arguments, ""  # the core says what there is
    step = program.step(address)
    remote = step.step.body.remote
    try:
        if remote is not None:
            return _admitted(remote.sent, arguments, f"the command of {address}", limit), ""
        given = _named(arguments, address)
        known = {one.name: one for one in step.action.arguments if one.kind in _VALUES}
        for name in given:
            if name not in known:
                raise ValueRefused(f"{address} has no parameter {name!r:.60} to change; it has: {', '.join(known)}")
        kept: dict[str, msgspec.Raw] = {}
        for name, raw in given.items():
            codec = codec_of(program, address, known[name])
            kept[name] = msgspec.Raw(_admitted(codec, bytes(raw), f"{address}: {name}", limit))
        return _encode(kept), ""
    except (ValueRefused, LimitExceeded) as error:
        return arguments, describe(error)


def changed(arguments: bytes) -> dict[str, msgspec.Raw]:
    """What was changed, by name. Raises ValueRefused."""
    return _named(arguments, "what a person changed")


def may_be_changed(step: StepProgram) -> tuple[str, ...]:
    """The parameters of a local step that can be changed."""
    return tuple(argument.name for argument in step.action.arguments if argument.kind in _VALUES)


def codec_of(program: Program, address: str, argument: Argument) -> Codec[Any]:
    """The way of an argument's value into the store and back. Raises ValueRefused for one that has none."""
    if argument.kind is Kind.INPUT:
        return program.input
    if argument.kind is Kind.ITEM:
        codec = program.step(address).item
        if codec is None:
            raise ValueRefused(f"{address} is an item of a step that takes none")
        return codec
    try:
        return program.codecs[argument.addresses[0]]
    except KeyError:
        raise ValueRefused(f"{address}: {argument.name} is made of many results and cannot be changed") from None


def _named(arguments: bytes, where: str) -> dict[str, msgspec.Raw]:
    try:
        given = _names(arguments)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise ValueRefused(
            f'{where}: an object of the parameters that are to be others is expected, such as {{"order": …}}'
        ) from None
    if not given:
        raise ValueRefused(f"{where}: no parameter is named that is to be another")
    return given


def _admitted(codec: Codec[Any], payload: bytes, where: str, limit: int) -> bytes:
    try:
        value = codec.decode(payload)
    except ValueRefused as error:
        told = describe(error).replace(f"a stored {codec.name} cannot be read", f"it does not fit {codec.name}")
        raise ValueRefused(f"{where}: {told}") from None
    return codec.admit(value, where, limit)[0]
