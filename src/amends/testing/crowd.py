"""The people of the simulation: clients that start, signal and cancel, and an operator.

Guarantees: what they were told is remembered, to be compared with what happened.
Must not: look into the engine.
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

from amends.decide.state import Action, State
from amends.define.nodes import Signal, wait_for
from amends.errors import NotAnswered, Refused, TooLate
from amends.run.mailbox import Wish, act_mail
from amends.run.session import Session, state_of
from amends.testing.laws import Laws, Wanted


class Crowd:
    """Whoever wants something of the sagas, through one client session."""

    def __init__(self, chance: Random, session: Session, laws: Laws) -> None:
        self.chance = chance
        self.session = session
        self.laws = laws

    async def drive(self, wanted: Wanted) -> None:
        """Start a saga, perhaps twice, and say things to it at odd times."""
        await asyncio.sleep(self.chance.uniform(0.0, 20.0))
        duties = [self._start(wanted)]
        if self.chance.random() < 0.3:
            duties.append(self._start(wanted))
        await asyncio.gather(*duties)
        await asyncio.gather(self._signal_all(wanted), self._maybe_cancel(wanted), self._maybe_wait(wanted))

    async def _start(self, wanted: Wanted) -> None:
        await self.session.start(wanted.saga, wanted.ticket, wanted.key)
        wanted.told["start"] = "accepted"

    async def _signal_all(self, wanted: Wanted) -> None:
        for name in wanted.saga.program.signals:
            if self.chance.random() < 0.7:
                await asyncio.sleep(self.chance.uniform(0.0, 10.0))
                signal: Signal[str] = wait_for(name, str)
                word = "no" if self.chance.random() < 0.15 else "yes"
                for _ in range(self.chance.choice([1, 1, 2])):
                    wanted.told[f"signal {name}"] = await self._ask(
                        self.session.signal(wanted.key, signal, word, f"id-{name}")
                    )

    async def _maybe_cancel(self, wanted: Wanted) -> None:
        if self.chance.random() < 0.25:
            await asyncio.sleep(self.chance.uniform(0.0, 25.0))
            wanted.told["cancel"] = await self._ask(
                self.session.cancel(wanted.key, reason="changed my mind", actor="ann")
            )

    async def _maybe_wait(self, wanted: Wanted) -> None:
        """Wait for the outcome, though not for ever."""
        if self.chance.random() < 0.3:
            try:
                outcome = await self.session.outcome(wanted.saga, wanted.key, self.chance.uniform(1.0, 60.0))
            except TimeoutError:
                return
            wanted.told["outcome"] = type(outcome).__name__.lower()

    async def _ask(self, asking: Any) -> str:
        try:
            await asking
        except TooLate:
            return "too late"
        except Refused:
            return "refused"
        except NotAnswered:
            return "not answered"
        return "accepted"

    async def operate(self, wanted: Wanted) -> None:
        """Bring a parked saga to its end, by one of the ways there are."""
        for _ in range(300):
            loaded = self.laws.loaded(wanted.key)
            if loaded is None or loaded.head.status in ("completed", "compensated"):
                return
            state = state_of(loaded)
            if loaded.head.status != "parked":
                await self._answer_waits(wanted, state)
                await asyncio.sleep(2.0)
                continue
            verb, address = self._verb(state)
            self.laws.counts[f"operator {verb}"] += 1
            result = b'"by hand"' if verb == "resolve" else None
            if self.chance.random() < 0.2:  # which moves nothing, and is in nobody's way
                await self._do(wanted, Wish("note", "", "bob", "hm"))
                await self._do(wanted, Wish("assign", "", "bob", person="bob"))
            wish = Wish(verb, address, "bob", "it is mended", result, version=len(loaded.rows))
            wanted.acts.append((verb, await self._do(wanted, wish)))
            await asyncio.sleep(5.0)
        self.laws.fail(wanted, "an operator cannot bring it to its end")

    async def _do(self, wanted: Wanted, wish: Wish) -> str:
        return await self._ask(self.session.ask(act_mail(wanted.key, self.session.message_id(), wish)))

    def _verb(self, state: State) -> tuple[str, str]:
        """What the operator does next, and to which step."""
        if state.turned is None and not state.passed and self.chance.random() < 0.4:
            return "compensate", ""
        verb = self.chance.choice(["unpark", "unpark", "retry", "retry", "skip", "resolve"])
        return verb, "" if verb == "unpark" else self._stuck(state)

    async def _answer_waits(self, wanted: Wanted, state: State) -> None:
        for name in wanted.saga.program.signals:
            if state.step(name).action.status is Action.WAITING and name not in state.kept:
                signal: Signal[str] = wait_for(name, str)
                await self._ask(self.session.signal(wanted.key, signal, "yes", None))

    def _stuck(self, state: State) -> str:
        for address, step in state.steps.items():
            if step.undo is not None and step.undo.status == "stuck":
                return address
        for address, step in state.steps.items():
            if step.action.status in (Action.STUCK, Action.UNKNOWN) and step.undo is None:
                return address
        return ""
