"""Contracts: what a service can be asked for, and what it tells. Shared by both sides.

Guarantees: a contract is a value that needs no broker, no database and no saga; values of types that cannot be
sent are refused when it is made.
Must not: know who handles it (`Participant`) or where it travels.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar, overload

from amends.decide.flows import EventName, Expectation
from amends.define.hints import frame_locals, has_type_variable, is_nothing, is_type, shown
from amends.define.node import check_name
from amends.define.policy import Duration, Retry, seconds
from amends.define.step import Body, Remote, Step, Work, check_function, check_retry, check_timeout
from amends.define.values import Codec, codec_for
from amends.errors import DefinitionError

P = ParamSpec("P")
Q = TypeVar("Q")
R = TypeVar("R")
E = TypeVar("E")


class Service:
    """A service by its name, and all that it can be asked for or tells.

    name: unique among the services on a broker; its queues and topics are called after it.

    Raises DefinitionError.
    """

    def __init__(self, name: str, /) -> None:
        self.name: str = _check_contract_name(name, "Service(…)")
        self.commands: dict[str, Command[Any, Any]] = {}
        self.events: dict[str, Event[Any]] = {}

    @overload
    def command(
        self, name: str, request: type[Q], /, *, reply: type[R], compensation: bool = ..., readonly: bool = ...
    ) -> Command[Q, R]: ...
    @overload
    def command(
        self, name: str, request: type[Q], /, *, reply: None = ..., compensation: bool = ..., readonly: bool = ...
    ) -> Command[Q, None]: ...
    def command(
        self, name: str, request: Any, /, *, reply: Any = None, compensation: bool = True, readonly: bool = False
    ) -> Any:
        """Something the service does when it is asked.

        request, reply: the classes of what it is asked with and answers; no reply is None.
        compensation: it can be undone. readonly: it changes nothing, so there is nothing to undo.

        Raises DefinitionError.
        """
        _check_contract_name(name, f"Service({self.name!r}).command(…)")
        self._check_free(name)
        _check_bool(compensation, f"{self.name}.{name}, compensation=…")
        _check_bool(readonly, f"{self.name}.{name}, readonly=…")
        made: Command[Any, Any] = Command(self, name, request, reply, undoable=compensation, readonly=readonly)
        self.commands[name] = made
        return made

    def event(
        self,
        name: str,
        type: type[E],
        /,
        *,
        key: Callable[[E], str] | None = None,
        begins: bool = False,
        rejection: bool = False,
        compensates: Event[Any] | None = None,
    ) -> Event[E]:
        """Something the service tells. key: of an event; those with the same key are published in order.

        What it means in a choreography, for `amends graph --check`; nothing else depends on it:
        begins: the service tells it by itself, with `publish`, and not only in reaction to an event.
        rejection: it tells that something was not done. compensates: the event of this service whose effect it tells
            the undoing of.

        Raises DefinitionError.
        """
        where = f"{self.name}.{name}"
        _check_contract_name(name, f"Service({self.name!r}).event(…)")
        self._check_free(name)
        _check_bool(begins, f"{where}, begins=…")
        _check_bool(rejection, f"{where}, rejection=…")
        if compensates is not None and not (isinstance(compensates, Event) and compensates.service is self):
            raise DefinitionError(f"{where}, compensates={compensates!r:.80}: an event of {self.name} is expected")
        made = Event(self, name, type, key)
        made.begins, made.rejection, made.compensates = begins, rejection, compensates
        self.events[name] = made
        return made

    def _check_free(self, name: str) -> None:
        if name in self.commands or name in self.events:
            raise DefinitionError(f"the service {self.name} has two contracts called {name}; choose another name")

    def __repr__(self) -> str:
        return f"Service({self.name!r})"


class Command(Generic[Q, R]):
    """A request to one service, and its reply. Made by `Service.command`.

    readonly: it changes nothing. undoable: it can be undone, and changes something.
    """

    def __init__(
        self, service: Service, name: str, request: Any, reply: Any, *, undoable: bool, readonly: bool
    ) -> None:
        self.service: Service = service
        self.name: str = name
        self.readonly: bool = readonly
        self.undoable: bool = undoable and not readonly
        _check_type(request, f"{self.type}: {request!r:.80}: the class of the command is expected")
        self.sent: Codec[Any] = codec_for(request, f"{self.type}, the command")
        if not is_nothing(reply):
            _check_type(reply, f"{self.type}, reply={reply!r:.80}: the class of the reply is expected")
        self.replied: Codec[Any] = codec_for(type(None) if reply is None else reply, f"{self.type}, the reply")

    @property
    def type(self) -> str:
        """The contract's name on the wire."""
        return f"{self.service.name}.{self.name}"

    @overload
    def request(self, fn: Callable[P, Q], /) -> Step[P, Q, R]: ...
    @overload
    def request(
        self, /, *, name: str = ..., retry: Retry = ..., timeout: Duration = ...
    ) -> Callable[[Callable[P, Q]], Step[P, Q, R]]: ...
    def request(
        self,
        fn: Any = None,
        /,
        *,
        name: str | None = None,
        retry: Retry = Retry(),  # noqa: B008  # a frozen value
        timeout: Duration | None = None,
    ) -> Any:
        """Make a step of a plain function that builds the command: pure and cheap, it may raise `Reject`, and is
        called once. The step's result is the reply.

        name: the stored name, the function's own by default. retry: how often the command is sent before its
        outcome is unknown. timeout: how long a reply is waited for before the command is sent again, 30 s by default.

        Raises DefinitionError.
        """
        local_names = frame_locals(1)

        def make(function: Callable[..., Any]) -> Step[..., Any, Any]:
            stored = getattr(function, "__name__", "") if name is None else name
            where = f"the request {stored or repr(function)[:80]} of {self.type}"
            check_function(function, where)
            check_retry(retry, where)
            work = Work(function, retry, check_timeout(timeout, where), local_names)
            remote = Remote(self.service.name, self.name, self.sent, self.replied, undoable=self.undoable)
            return Step(Body(work, self.readonly, remote=remote), check_name(stored, where))

        return make if fn is None else make(fn)

    def __repr__(self) -> str:
        return f"{self.type}({shown(self.sent.type)}) -> {shown(self.replied.type)}"


class Event(Generic[E]):
    """A fact, for whoever listens. Made by `Service.event`.

    begins, rejection, compensates: what it means in a choreography.
    """

    begins: bool = False
    rejection: bool = False
    compensates: Event[Any] | None = None

    def __init__(self, service: Service, name: str, type_: Any, key: Callable[[E], str] | None) -> None:
        self.service: Service = service
        self.name: str = name
        _check_type(type_, f"{self.type}: {type_!r:.80}: the class of the event is expected")
        if key is not None and (not callable(key) or inspect.iscoroutinefunction(key)):
            raise DefinitionError(f"{self.type}, key={key!r:.80}: a plain function of the event is expected")
        self.told: Codec[Any] = codec_for(type_, f"{self.type}, the event")
        self.key: Callable[[E], str] | None = key

    @property
    def type(self) -> str:
        """The contract's name on the wire."""
        return f"{self.service.name}.{self.name}"

    def leads_to(self, *events: Event[Any], within: Duration) -> Expectation:
        """One of these events is expected after this one: a line of a `Flow`. within: seconds or a timedelta.

        Raises DefinitionError.
        """
        where = f"{self.type}.leads_to(…)"
        for event in events:
            if not isinstance(event, Event):
                raise DefinitionError(f"{where}: an event is expected, as Service.event(…) gives, not {event!r:.80}")
        if not events:
            raise DefinitionError(f"{where}: it leads to nothing; name the events of which one is expected")
        after = seconds(within, f"{where}, within=…")
        if after == 0:
            raise DefinitionError(f"{where}: within=0 leaves no time to react")
        return Expectation(self.named, tuple(event.named for event in events), after)

    @property
    def named(self) -> EventName:
        """It, as flows that are stored name it."""
        return EventName(self.service.name, self.name)

    def __repr__(self) -> str:
        return f"{self.type}({shown(self.told.type)})"


def _check_contract_name(name: object, what: str) -> str:
    """The name of a service or a contract, which is part of a destination's name or of a type on the wire."""
    checked = check_name(name, what)
    if ".." in checked or checked.endswith("."):
        raise DefinitionError(f"{what}: {checked!r} has a dot with nothing behind it, which brokers refuse")
    return checked


def _check_type(type_: Any, otherwise: str) -> None:
    if not is_type(type_) or is_nothing(type_) or has_type_variable(type_):
        raise DefinitionError(otherwise)


def _check_bool(value: object, where: str) -> None:
    if not isinstance(value, bool):
        raise DefinitionError(f"{where}: True or False is expected, not {value!r:.80}")
