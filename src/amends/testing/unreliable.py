"""A network that does to messages what networks do, between a process and any real broker.

    from amends.testing.unreliable import MessageRates, Unreliable

    network = Unreliable("nats://localhost", seed=7, rates=MessageRates(duplicated=1.0, held=0.3, replies_lost=0.05))
    app = Participant(inventory, database=…, broker=network)

It wraps the transport of one process, an orchestrator's or a participant's, on both sides: what the process sends,
and what is delivered to it. `counts` says what was really done, so that a test in which nothing happened is seen to
be none. `heal()` ends it all and lets go what is held. An event, and what watchers are told, is never lost or held on
its way out, as nobody would send it again; commands and replies are whatever the rates say.

Guarantees: all chance comes from the seed, so the same messages in the same order meet the same fate; nothing is
changed that one process says to another, other than in messages that are added and say so in their source.
Must not: help. What is lost here is found again by amends, or not at all.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Sequence
from random import Random

from amends.errors import TransportAway, TransportRefused
from amends.message import Message
from amends.run.sender import Sender
from amends.testing import unreliable_strange as strange
from amends.testing.unreliable_held import Later, Shuffled
from amends.testing.unreliable_listening import UnreliableDelivery, UnreliableListening
from amends.testing.unreliable_rates import ANSWERING, ASKING, TOLD, TRAVELLING, About, MessageRates, about
from amends.transport.base import Delivery, Destination, Listening, Receive, Send, Transport
from amends.transport.open import Broker, transport_for

__all__ = ["MessageRates", "Unreliable"]
REMEMBERED = 100_000  # halves of steps of which something is known
ANSWERED_SECONDS = 12.0  # after which a compensation that went out from here counts as answered
OLD_MESSAGES = 500
SETTLE_SECONDS = 5.0


class Unreliable:
    """One process's way to its broker, with faults.

    transport: a URL, or a transport that is made already. seed: of all chance. rates: how often what happens; they
        may be changed while messages go.
    """

    def __init__(self, transport: Broker = None, *, seed: int = 0, rates: MessageRates | None = None) -> None:
        self.rates: MessageRates = rates or MessageRates()
        self.counts: Counter[str] = Counter()
        self.seed: int = seed
        self._dice = Random(seed)
        self._real: Transport = transport_for(transport)
        self._sender = Sender(self._real)
        self._later = Later()
        self._buffer: Shuffled[Send] = Shuffled(self._dice, self._leave)
        self._listenings: list[UnreliableListening] = []
        self._behind: dict[tuple[str, ...], list[Callable[[], bool]]] = {}
        self._undone: _Memory = _Memory()  # steps whose compensation was answered
        self._answered: _Memory = _Memory()  # halves whose first reply is gone
        self._seen: _Memory = _Memory()
        self._old: deque[Send] = deque(maxlen=OLD_MESSAGES)

    @property
    def prefix(self) -> str:
        """Of every name at the broker."""
        return self._real.prefix

    @property
    def away(self) -> str:
        """Why nothing can be published at the moment; empty if it can."""
        return self._real.away

    @property
    def held(self) -> int:
        """How many messages wait to be sent."""
        return len(self._later) + self._buffer.size

    # As a transport

    async def open(self) -> None:
        await self._real.open()
        self._sender = Sender(self._real)  # a transport may be opened again

    async def close(self) -> None:
        self.let_go()
        try:
            async with asyncio.timeout(SETTLE_SECONDS):
                await self._sender.drain()
        except TimeoutError:
            self.counts["left unsent"] += self._sender.waiting
        for listening in self._listenings:
            await listening.stop()
        self._listenings.clear()
        await self._sender.close()
        await self._real.close()

    async def publish(self, sends: Sequence[Send]) -> list[Exception | None]:
        told: list[Exception | None] = [None] * len(sends)
        now: list[int] = []
        for index, send in enumerate(sends):
            if self._happens("away"):
                told[index] = TransportAway("the network is unreliable: the message was not sent")
            elif self._goes(send):
                now.append(index)
        for index, fate in zip(now, await self._real.publish([sends[index] for index in now]), strict=True):
            told[index] = fate
            if fate is None and self._happens("confirms_lost"):
                told[index] = TransportAway("the network is unreliable: nobody knows whether the message came")
        for send in sends:
            self._add(send)
        return told

    async def listen(self, source: Destination, group: str, receive: Receive, *, in_flight: int) -> Listening:
        made = UnreliableListening(self._dice, receive)
        made.real = await self._real.listen(
            source, group, lambda came: self._came(source, came, made), in_flight=in_flight
        )
        self._listenings.append(made)
        return made

    async def prepare(self, destinations: Sequence[Destination]) -> None:
        await self._real.prepare(destinations)

    async def lag(self, source: Destination, group: str) -> int | None:
        return await self._real.lag(source, group)

    # By hand

    def heal(self) -> None:
        """Nothing more happens, and what is held goes out."""
        self.rates.heal()
        self.let_go()

    def let_go(self) -> None:
        """Let what is held go out now."""
        self._later.flush()
        self._buffer.flush()
        for listening in self._listenings:
            listening.buffer.flush()
        self._behind.clear()

    async def inject(self, to: Destination, message: Message, what: str = "injected") -> Exception | None:
        """Send a message that nobody sends; what became of it."""
        return self._settled(what, await self._sender.send(to, message))

    # What is sent

    def _goes(self, send: Send) -> bool:
        """Whether a message goes out now. If it does not it is lost, or held."""
        it = about(send.message)
        if it.kind in TOLD:
            self._copies(send)
            return True
        if self._is_lost(it):
            return False
        if self._waits(it, send):
            return False
        self._copies(send)
        if self._happens("held"):
            self._buffer.put(send, self.rates.held_max, self.rates.held_seconds)
            return False
        return True

    def _is_lost(self, it: About) -> bool:
        if it.kind in ASKING:
            return self._happens("commands_lost")
        if it.kind not in ANSWERING:
            return False
        if self._chosen("first_replies_lost", it.half) and self._answered.add(it.half):
            self.counts["first_replies_lost"] += 1
            return True
        return self._happens("replies_lost")

    def _waits(self, it: About, send: Send) -> bool:
        if it.kind in ANSWERING and self._happens("replies_late"):
            self._later.put(self.rates.late_seconds, lambda: self._post(send))
            return True
        if it.kind == "undo" and it.step in self._behind:  # its reply may come to another process
            self._later.put(ANSWERED_SECONDS, lambda: self._let_behind(it.step))
        if it.kind != "action" or it.step in self._undone or not self._chosen("actions_behind_undo", it.step):
            return False
        if len(self._behind) < REMEMBERED:
            go = self._later.put(self.rates.behind_seconds, lambda: self._post(send))
            self._behind.setdefault(it.step, []).append(go)
        self.counts["actions held back"] += 1
        return True

    def _copies(self, send: Send) -> None:
        if self._happens("duplicated"):
            copy = send._replace(message=strange.copy_of(send.message, self._dice))
            if self._dice.random() < 0.5:
                self._post(copy)
            else:
                self._later.put(self._dice.random() * self.rates.held_seconds, lambda: self._post(copy))

    def _add(self, send: Send) -> None:
        """What somebody else sends meanwhile."""
        it, dice, message = about(send.message), self._dice, send.message
        if it.kind == "reply" or it.kind in TRAVELLING:
            self._old.append(send)
        if self._old and self._draws("replayed"):
            old = dice.choice(self._old)
            self._post(old._replace(message=strange.copy_of(old.message, dice)), "replayed")
        if self._old and self._draws("forged"):
            old = dice.choice(self._old)
            others = [other.message for other in self._old]
            self._post(old._replace(message=strange.forged(old.message, others, dice)), "forged")
        if self._draws("garbage"):
            self._post(send._replace(message=strange.garbage(message, dice)), "garbage")
        if it.kind not in ASKING:
            return
        if self._draws("unknown"):
            self._post(send._replace(message=strange.unknown_command(message, dice)), "unknown")
        if self._draws("poison"):
            made = strange.poison_command(message, self.rates.poison_data, dice)
            self._post(send._replace(message=made), "poison")
        if self._draws("huge"):
            self._post(send._replace(message=strange.huge(message, self.rates.huge_bytes, dice)), "huge")

    def _leave(self, sends: Sequence[Send]) -> None:
        for send in sends:
            self._post(send)

    def _post(self, send: Send, what: str = "") -> None:
        """Send, until the broker has it. what: to be counted as."""
        told = self._sender.send(*send)
        if what:
            told.add_done_callback(lambda done: None if done.cancelled() else self._settled(what, done.result()))

    def _settled(self, what: str, error: Exception | None) -> Exception | None:
        self.counts[f"{what}, refused by the broker" if isinstance(error, TransportRefused) else what] += 1
        return error

    # What is delivered

    def _came(self, source: Destination, came: Sequence[Delivery], to: UnreliableListening) -> None:
        if not to.open:
            return
        now: list[Delivery] = []
        for real in came:
            it = about(real.message)
            self._note(it, real, source)
            delivery = UnreliableDelivery(real, lambda: self._happens("acks_lost"))
            here = [delivery]
            if self._happens("redelivered"):
                here.append(UnreliableDelivery(real, None))
            for one in here:
                if self._happens("held"):
                    to.buffer.put(one, self.rates.held_max, self.rates.held_seconds)
                else:
                    now.append(one)
        if now:
            to.receive(now)

    def _note(self, it: About, real: Delivery, source: Destination) -> None:
        """Count what comes, and whether it came before; let an action go whose compensation is answered."""
        if real.message is None or it.kind not in (*ASKING, *ANSWERING):
            self.counts["other messages delivered"] += 1
            return
        what = "replies" if it.kind in ANSWERING else "commands"
        self.counts[f"{what} delivered"] += 1
        if not self._seen.add((what, *it.half)):
            self.counts[f"{what} delivered again"] += 1
        if what == "replies":
            self._old.append(Send(source, real.message))
        if what == "replies" and it.phase == "undo":
            self._undone.add(it.step)
            self._let_behind(it.step)

    def _let_behind(self, step: tuple[str, ...]) -> None:
        """The compensation is answered, as far as can be known here: let the action go."""
        for go in self._behind.pop(step, ()):
            self.counts["actions_behind_undo"] += go()

    # Chance

    def _draws(self, name: str) -> bool:
        rate: float = getattr(self.rates, name)
        return rate > 0.0 and self._dice.random() < rate

    def _happens(self, name: str) -> bool:
        """The same, and it is counted: what is drawn here is done."""
        drawn = self._draws(name)
        self.counts[name] += drawn
        return drawn

    def _chosen(self, name: str, of: tuple[str, ...]) -> bool:
        """Drawn once for a step, whichever of its messages asks."""
        rate: float = getattr(self.rates, name)
        return rate > 0.0 and Random(f"{self.seed} {name} {of}").random() < rate


class _Memory:
    """What was seen, the newest of it."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, ...], None] = {}

    def __contains__(self, what: tuple[str, ...]) -> bool:
        return what in self._seen

    def add(self, what: tuple[str, ...]) -> bool:
        """Whether it is new."""
        if what in self._seen:
            return False
        if len(self._seen) >= REMEMBERED:
            del self._seen[next(iter(self._seen))]
        self._seen[what] = None
        return True
