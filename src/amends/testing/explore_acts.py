"""What a user's own code does beside a saga: cancel it, signal it, and act on the answer.

    async def customer_cancels(world: Shop, saga: Beside) -> None:
        try:
            await saga.cancel(reason="changed his mind")
        except TooLate:
            world.letters.append("sorry, it is on its way")

Guarantees: the answer is the one that production would give, when it would give it.
Must not: change a saga in any other way.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any, TypeVar

from amends.decide import messages as m
from amends.decide.draft import Reply, Word
from amends.decide.messages import Message
from amends.define.nodes import Signal
from amends.define.values import describe
from amends.errors import DefinitionError, Refused, TooLate

if TYPE_CHECKING:
    from amends.testing.explore_course import Course

T = TypeVar("T")
FIRST = -1.0  # before all that was to happen at any instant


class _Asked:
    """A mail that waits for its answer."""

    def __init__(self, mail: str, message: Message) -> None:
        self.mail = mail
        self.message = message

    def __await__(self) -> Generator[_Asked, Reply, Reply]:
        return (yield self)


class Beside:
    """The saga, as code beside it sees it."""

    def __init__(self, run: Course, name: str) -> None:
        self._run = run
        self._name = name

    @property
    def status(self) -> str:
        """Where it stands."""
        return str(self._run.standing.status)

    async def cancel(self, *, reason: str = "cancelled") -> None:
        """Have it go back. Raises TooLate and Refused, as an orchestrator does."""
        mail = self._mail()
        await self._ask(mail, m.Cancel(mail, self._name, reason), "cancel")

    async def signal(self, signal: Signal[T], value: T, /) -> None:
        """Send a value to a wait. Raises TooLate and Refused, as an orchestrator does."""
        mail = self._mail()
        name, payload = self._run.scene.signal(signal, value)
        await self._ask(mail, m.Signal(mail, name, payload), "signal")

    def _mail(self) -> str:
        return f"{self._name} {self._run.next_number()}"

    async def _ask(self, mail: str, message: Message, verb: str) -> None:
        reply = await _Asked(mail, message)
        self._run.note(f"{self._name} is told of its {verb}: {reply.word}")
        if reply.word is Word.TOO_LATE:
            raise TooLate(reply.detail)
        if reply.word is Word.REFUSED:
            raise Refused(reply.detail)


class Acting:
    """What happens beside one run."""

    def __init__(self, run: Course) -> None:
        self._run = run
        self._open: dict[str, tuple[str, Coroutine[Any, Any, None]]] = {}

    def begin(self, name: str, act: Callable[..., Any]) -> None:
        """It happens now, and goes on when it is answered."""
        self._run.note(f"{name} begins")
        self._go_on(name, act(self._run.world, Beside(self._run, name)), None)

    def told(self, reply: Reply) -> bool:
        """An answer came. False if nobody here waits for it."""
        waiting = self._open.pop(reply.mail, None)
        if waiting is not None:
            self._go_on(*waiting, reply)
        return waiting is not None

    def close(self) -> None:
        """The run is over."""
        for _, coroutine in self._open.values():
            coroutine.close()

    def _go_on(self, name: str, coroutine: Coroutine[Any, Any, None], reply: Reply | None) -> None:
        try:
            asked: Any = coroutine.send(reply)
        except StopIteration:
            return
        except (TooLate, Refused) as error:
            self._run.note(f"{name} ends with {type(error).__name__}: {error}")
            return
        except Exception as error:  # noqa: BLE001  # it is the user's own, and the run is wrong
            self._run.problem = f"{name} raised {type(error).__name__}: {describe(error)}"
            return
        if not isinstance(asked, _Asked):
            coroutine.close()
            raise DefinitionError(f"meanwhile={name}: it may await nothing but what it asks of the saga")
        self._open[asked.mail] = (name, coroutine)
        self._run.push(FIRST, asked.message)
