"""Fakes of services: who does a command in a test, what becomes of it there, and what was asked.

    bank = fake(charge_card, lambda command: Payment("p-1"))
    app = amends([place_order], services=[bank])
    bank.rejects("declined")

Guarantees: a fake is asked for its effect once per saga and step, as a participant is; what it was asked is kept.
Must not: know how a command reaches it.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any, Generic, NamedTuple, TypeVar, overload

from amends.decide.events import Phase
from amends.define.bind import Argument, Call, Kind
from amends.define.contract import Command
from amends.define.handlers import Handled, Handler
from amends.define.hints import is_nothing, shown
from amends.define.policy import Retry
from amends.errors import DefinitionError
from amends.run.participant import Participant

Q = TypeVar("Q")
R = TypeVar("R")
PATIENCE_SECONDS = 365 * 24 * 3600.0  # a fake may take as long as the test likes


class Trouble(StrEnum):
    """What becomes of a command on its way, or at the service."""

    NONE = "none"
    REJECTS = "rejects"
    FAILS = "fails"
    COMMAND_LOST = "command-lost"
    REPLY_LOST = "reply-lost"
    REPLY_LATE = "reply-late"
    REPLY_TWICE = "reply-twice"


DONE_THERE = frozenset({Trouble.REJECTS, Trouble.FAILS})  # what the handler says; the barrier may answer before it


class Turn(NamedTuple):
    """What becomes of one command."""

    trouble: Trouble = Trouble.NONE
    reason: str = ""
    seconds: float = 0.0


class Script:
    """What becomes of the commands that come: what is said with `times=` first, one after the other; what is said
    without it holds from then on, until something else is said."""

    def __init__(self) -> None:
        self._next: deque[Turn] = deque()
        self._ever = Turn()

    def rejects(self, reason: str = "no", /, *, times: int | None = None) -> None:
        """It says a definite no, and nothing has happened."""
        self._say(Turn(Trouble.REJECTS, reason), times)

    def fails(self, reason: str = "it failed", /, *, times: int | None = None) -> None:
        """It fails, and nothing stays; asked again it may work."""
        self._say(Turn(Trouble.FAILS, reason), times)

    def loses_commands(self, *, times: int | None = None) -> None:
        """Commands never arrive."""
        self._say(Turn(Trouble.COMMAND_LOST), times)

    def loses_replies(self, *, times: int | None = None) -> None:
        """It is done, and no reply comes."""
        self._say(Turn(Trouble.REPLY_LOST), times)

    def answers_late(self, *, seconds: float, times: int | None = None) -> None:
        """It is done at once, and the reply takes so long."""
        self._say(Turn(Trouble.REPLY_LATE, seconds=seconds), times)

    def answers_twice(self, *, times: int | None = None) -> None:
        """The reply comes twice."""
        self._say(Turn(Trouble.REPLY_TWICE), times)

    def works(self) -> None:
        """From now on all is well; what was said before is forgotten."""
        self._next.clear()
        self._ever = Turn()

    def take(self) -> Turn:
        """For the command that comes now."""
        return self._next.popleft() if self._next else self._ever

    def put_back(self, turn: Turn) -> None:
        """It was for a handler that is not called."""
        if turn is not self._ever:
            self._next.appendleft(turn)

    def _say(self, turn: Turn, times: int | None) -> None:
        if times is None:
            self._ever = turn
        else:
            self._next.extend(turn._replace() for _ in range(times))  # each one its own


class Fake(Script, Generic[Q, R]):
    """Who does one command in a test. Made by `fake`.

    asked: every command that arrived, also one that came again. done: those that were done, each once. undone: those
    that were undone, each once. undo: what becomes of its compensations, in the same words: `bank.undo.fails(times=2)`.
    """

    def __init__(
        self, command: Command[Q, R], does: Callable[[Q], Any], undoes: Callable[[Q, R], Any] | None, /
    ) -> None:
        super().__init__()
        self.command: Command[Q, R] = command
        self.undo: Script = Script()
        self.asked: list[Q] = []
        self.done: list[Q] = []
        self.undone: list[Q] = []
        self._does, self._undoes = does, undoes

    def handled(self) -> Handled:
        """It, as a participant's functions are."""
        name = f"fake({self.command.type})"
        action = _handler(name, self._does, Argument("command", Kind.INPUT), readonly=self.command.readonly)
        undoes = self._undoes or _nothing
        undo = _handler(f"{name}, undoes", undoes, Argument("command", Kind.INPUT), Argument("reply", Kind.RESULT))
        return Handled(self.command, action, undo)

    def script(self, phase: Phase) -> Script:
        """What becomes of this half."""
        return self if phase is Phase.ACTION else self.undo

    def __repr__(self) -> str:
        return f"fake({self.command.type}): asked {len(self.asked)}, done {len(self.done)}, undone {len(self.undone)}"


class Hosted(NamedTuple):
    """A participant in a test, and the transaction that its handlers are given."""

    participant: Participant
    tx: Any = None


@overload
def fake(
    command: Command[Q, None],
    does: Callable[[Q], Awaitable[None]] | Callable[[Q], None] | None = ...,
    /,
    *,
    undoes: Callable[[Q, None], Awaitable[None]] | Callable[[Q, None], None] | None = ...,
) -> Fake[Q, None]: ...
@overload
def fake(
    command: Command[Q, R],
    does: Callable[[Q], Awaitable[R]] | Callable[[Q], R] | R,
    /,
    *,
    undoes: Callable[[Q, R], Awaitable[None]] | Callable[[Q, R], None] | None = ...,
) -> Fake[Q, R]: ...
def fake(command: Command[Any, Any], does: Any = None, /, *, undoes: Any = None) -> Fake[Any, Any]:
    """Who does a command in a test: `fake(charge_card, Payment("p-1"))`, or a function of the command. It may raise
    what a handler may, and may be async.

    undoes: a function of the command and the reply that it was answered with; nothing is to be done without it.

    Raises DefinitionError.
    """
    if not isinstance(command, Command):
        raise DefinitionError(f"fake({command!r:.80}): a command is expected, as Service.command(…) gives")
    if does is None and not is_nothing(command.replied.type):
        answer = shown(command.replied.type)
        raise DefinitionError(
            f"fake({command.type}): {command.type} answers with a {answer}; give it, or a function of the command "
            f"that returns one"
        )
    if undoes is not None and not callable(undoes):
        raise DefinitionError(f"fake({command.type}, undoes={undoes!r:.80}): a function is expected")
    return Fake(command, does if callable(does) else lambda _: does, undoes)


def host(participant: Participant, /, *, tx: object = None) -> Hosted:
    """A participant of yours, whose handlers are called as they are. tx: what those get that ask for a transaction: a
    `sqlite3.Connection` in memory, or a fake. Nothing that the participant was built with is opened."""
    return Hosted(participant, tx)


def _nothing(command: Any, reply: Any) -> None:
    """There is nothing to undo in a fake that only answers."""


def _handler(where: str, fn: Callable[..., Any], *given: Argument, readonly: bool = False) -> Handler:
    names = [argument.name for argument in given]

    if inspect.iscoroutinefunction(fn):

        async def call_async(**values: Any) -> Any:
            return await fn(*(values[name] for name in names))

        return Handler(Call(call_async, given, is_async=True), where, PATIENCE_SECONDS, Retry(), readonly=readonly)

    def call(**values: Any) -> Any:
        return fn(*(values[name] for name in names))

    return Handler(Call(call, given, is_async=False), where, PATIENCE_SECONDS, Retry(), readonly=readonly)
