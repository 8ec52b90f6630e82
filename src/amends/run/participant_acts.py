"""What one may have done to the choreographed sagas that a participant has started.

Each verb is kept at their home, and travels to the service that has the saga: what is given is what that has committed.

Guarantees: it is accepted, or TooLate, Refused, UnknownSaga or NotAnswered is raised.
Must not: judge whether it is allowed; the holder does.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from amends.run.mailbox import Wish
from amends.run.settings import Settings
from amends.run.wanted import Word, accepted, unanswered, user

if TYPE_CHECKING:
    from amends.run.homes import Homes


class Acts(ABC):
    """The verbs, as those of an orchestrator's operations. Each waits `Settings.answer_seconds` for the answer, and
    gives it: `accepted`, with who has the saga. actor, reason: who and why, for the saga's history; where no actor is
    named, who this process runs as. step: its address in the saga.

    Each raises TooLate or Refused where the saga, as it stands, does not allow it, UnknownSaga where it was not started
    here, StoreError, and NotAnswered: then it is kept, and done once the service that has the saga hears of it.
    """

    async def cancel(self, saga_id: str, /, *, reason: str, actor: str | None = None) -> Word:
        """Have a saga go back, if the point of no return is not behind."""
        return await self._act(saga_id, "cancel", "", actor, reason)

    async def retry(self, saga_id: str, step: str, /, *, reason: str = "", actor: str | None = None) -> Word:
        """Have a stuck or unknown step, or its undo, tried again now, by the service that has it."""
        return await self._act(saga_id, "retry", step, actor, reason)

    async def skip(self, saga_id: str, step: str, /, *, reason: str, actor: str | None = None) -> Word:
        """Settle a step, or its undo, as it is. reason: the evidence."""
        return await self._act(saga_id, "skip", step, actor, reason)

    async def resolve(
        self, saga_id: str, step: str, /, *, reason: str, result: bytes | None = None, actor: str | None = None
    ) -> Word:
        """Say that a step, or its undo, was done by hand. result: what the step would have given, as JSON."""
        return await self._act(saga_id, "resolve", step, actor, reason, result)

    async def compensate(self, saga_id: str, /, *, reason: str, actor: str | None = None) -> Word:
        """Have a saga go back, its pivot in doubt counted as not happened."""
        return await self._act(saga_id, "compensate", "", actor, reason)

    async def unpark(self, saga_id: str, /, *, reason: str = "", actor: str | None = None) -> Word:
        """Have everything that is stuck in a parked saga tried again."""
        return await self._act(saga_id, "unpark", "", actor, reason)

    async def _act(
        self, saga_id: str, verb: str, step: str, actor: str | None, reason: str, result: bytes | None = None
    ) -> Word:
        homes, settings = self._at_home()
        who = user() if actor is None else actor
        try:
            async with asyncio.timeout(settings.answer_seconds):
                word = await homes.act(saga_id, Wish(verb, step, who, reason, result))
        except TimeoutError:
            unanswered(saga_id, verb, homes.service, settings.answer_seconds)
        return accepted(saga_id, word)

    @abstractmethod
    def _at_home(self) -> tuple[Homes, Settings]:
        """The sagas that began here. Raises NotRunning."""
