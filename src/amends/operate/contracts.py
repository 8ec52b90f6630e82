"""The contracts of services, wherever they are found: in `Service`s, in participants, in the requests of sagas.

Guarantees: a contract that is found in several places is one, and an error where they do not say the same.
Must not: open or run anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any, NamedTuple

from amends.define.contract import Command, Event, Service
from amends.define.saga import Saga
from amends.define.schemas import DIALECT, Definitions, Json
from amends.define.values import Codec
from amends.errors import DefinitionError
from amends.run.orchestrator import Orchestrator
from amends.run.participant import Participant


class Contract(NamedTuple):
    """One contract. replied: None of an event. undoable, readonly: of a command. keyed: an event with a key."""

    service: str
    name: str
    sent: Codec[Any]
    replied: Codec[Any] | None
    undoable: bool = False
    readonly: bool = False
    keyed: bool = False

    @property
    def type(self) -> str:
        """Its name on the wire."""
        return f"{self.service}.{self.name}"

    @property
    def is_event(self) -> bool:
        """Whether it is told, not asked for."""
        return self.replied is None

    @property
    def says(self) -> tuple[object, ...]:
        """What equal contracts have in common."""
        replied = None if self.replied is None else self.replied.schema
        return self.sent.schema, replied, self.undoable, self.readonly


def contracts_in(value: object) -> list[Contract]:
    """The contracts that something knows: a module, a `Service`, a participant, an orchestrator or a saga; sorted.

    Raises DefinitionError for two that have one name and are not the same.
    """
    found: dict[str, Contract] = {}
    for contract in _in(value):
        other = found.setdefault(contract.type, contract)
        if other.says != contract.says:
            raise DefinitionError(f"the contract {contract.type} is declared twice, and not in the same way")
    return [found[type_] for type_ in sorted(found)]


def document(contracts: Iterable[Contract]) -> Json:
    """What all of them say, with a JSON Schema for each type: a document to store and to compare with."""
    return {contract.type: _described(contract) for contract in contracts}


def schema_of(codec: Codec[Any]) -> Json:
    """The JSON Schema of what a codec writes, complete in itself."""
    definitions = Definitions()
    schema = {"$schema": DIALECT, "title": codec.name, **codec.shape.json_schema(definitions)}
    return {**schema, "$defs": definitions.found} if definitions.found else schema


def _described(contract: Contract) -> Json:
    sent = schema_of(contract.sent)
    if contract.replied is None:
        return {"event": sent}
    reply = schema_of(contract.replied)
    return {"command": sent, "reply": reply, "compensation": contract.undoable, "readonly": contract.readonly}


def _in(value: object) -> Iterator[Contract]:
    if isinstance(value, Service):
        yield from _of_service(value)
    elif isinstance(value, Saga):
        yield from _of_saga(value)
    elif isinstance(value, Orchestrator):
        for saga in value.config.registry.by_fingerprint.values():
            yield from _of_saga(saga)
    elif isinstance(value, ModuleType):
        for name, member in vars(value).items():
            if not name.startswith("_") and not isinstance(member, ModuleType):
                yield from _in(member)
    elif isinstance(value, (Participant, Command, Event)):
        yield from _of_service(value.service)


def _of_service(service: Service) -> Iterator[Contract]:
    for command in service.commands.values():
        yield Contract(service.name, command.name, command.sent, command.replied, command.undoable, command.readonly)
    for event in service.events.values():
        yield Contract(service.name, event.name, event.told, None, keyed=event.key is not None)


def _of_saga(saga: Saga[Any, Any]) -> Iterator[Contract]:
    for step in saga.program.steps.values():
        remote, readonly = step.step.body.remote, step.step.body.readonly
        if remote is not None:
            yield Contract(remote.service, remote.name, remote.sent, remote.replied, remote.undoable, readonly)
