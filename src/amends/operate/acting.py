"""What a person may do to a saga, in whichever style it runs: each act by its name, and what it would do.

Every act takes who acts and why; `if_version`, the version of the saga that they looked at: where it has changed since,
`Changed` is raised; and `message`, an id under which it counts once, however often it is sent.

Guarantees: an act is durable, answered by whoever decides, and in the saga's own history with actor and reason. It is
accepted, or TooLate, Refused, Changed, UnknownSaga or NotAnswered is raised.
Must not: hold a rule of what a saga may do; the core has them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from amends.decide.plan import Plan
from amends.decide.state import State
from amends.define.program import Program
from amends.define.values import PAYLOAD_BYTES_MAX
from amends.errors import Refused
from amends.operate import preview
from amends.operate.values import Answer, Preview
from amends.run.mailbox import Wish, flaw_of, message_of_wish

REASON_CHARACTERS_MAX = 2000


class Seen(NamedTuple):
    """A saga as it stands. live: the workers that are alive. program: of its definition, where the code has it. as_of:
    how well it is known, in words, where it may have gone on since."""

    plan: Plan
    state: State
    version: int
    now: float
    live: frozenset[int] = frozenset()
    program: Program | None = None
    as_of: str = ""


class Acting(ABC):
    """The acts."""

    async def retry(
        self,
        saga_id: str,
        step: str,
        *,
        actor: str,
        reason: str = "",
        arguments: bytes | None = None,
        nothing_stayed: bool = False,
        if_version: int | None = None,
        message: str | None = None,
    ) -> Answer:
        """Have a stuck or unknown step, or its undo, tried again now; or a command that is unanswered, sent again.

        arguments: JSON of what the step is asked from here on, under new keys: of a step that a service does its
        command, of another an object of the parameters that are to be others. nothing_stayed: with them, the word of
        whoever acts that no earlier attempt had its effect; the reason is the evidence.
        """
        if nothing_stayed and arguments is None:
            raise Refused(f"{saga_id}: that nothing stayed is said with changed arguments only; retry it as it is")
        wish = Wish("retry", step, actor, reason, arguments=arguments, settled=nothing_stayed, version=if_version)
        return await self._act(saga_id, wish, message)

    async def skip(
        self,
        saga_id: str,
        step: str,
        *,
        actor: str,
        reason: str,
        if_version: int | None = None,
        message: str | None = None,
    ) -> Answer:
        """Settle a step, or its undo, as it is. reason: the evidence."""
        return await self._act(saga_id, Wish("skip", step, actor, reason, version=if_version), message)

    async def resolve(
        self,
        saga_id: str,
        step: str,
        *,
        actor: str,
        reason: str,
        result: bytes | None = None,
        if_version: int | None = None,
        message: str | None = None,
    ) -> Answer:
        """Say that a step, or its undo, was done by hand. result: what the step would have given, as JSON."""
        return await self._act(saga_id, Wish("resolve", step, actor, reason, result, version=if_version), message)

    async def compensate(
        self, saga_id: str, *, actor: str, reason: str, if_version: int | None = None, message: str | None = None
    ) -> Answer:
        """Have a saga go back, its pivot in doubt counted as not happened."""
        return await self._act(saga_id, Wish("compensate", "", actor, reason, version=if_version), message)

    async def unpark(
        self, saga_id: str, *, actor: str, reason: str = "", if_version: int | None = None, message: str | None = None
    ) -> Answer:
        """Have everything that is stuck in a parked saga tried again."""
        return await self._act(saga_id, Wish("unpark", "", actor, reason, version=if_version), message)

    async def cancel(
        self, saga_id: str, *, actor: str, reason: str, if_version: int | None = None, message: str | None = None
    ) -> Answer:
        """Have a saga go back, if it has not passed its pivot."""
        return await self._act(saga_id, Wish("cancel", "", actor, reason, version=if_version), message)

    async def signal(
        self,
        saga_id: str,
        name: str,
        value: bytes,
        *,
        actor: str,
        if_version: int | None = None,
        message: str | None = None,
    ) -> Answer:
        """Send a value to a wait. value: JSON."""
        return await self._act(saga_id, Wish("signal", name, actor, "", value, version=if_version), message)

    async def assign(
        self,
        saga_id: str,
        person: str,
        *,
        actor: str,
        reason: str = "",
        if_version: int | None = None,
        message: str | None = None,
    ) -> Answer:
        """Say who sees to a saga; nobody, where the person is empty. It moves nothing in it."""
        return await self._act(saga_id, Wish("assign", "", actor, reason, person=person, version=if_version), message)

    async def note(
        self, saga_id: str, text: str, *, actor: str, if_version: int | None = None, message: str | None = None
    ) -> Answer:
        """Leave a note for whoever looks at a saga next. It moves nothing in it."""
        return await self._act(saga_id, Wish("note", "", actor, text, version=if_version), message)

    async def preview(
        self,
        saga_id: str,
        verb: str,
        step: str = "",
        *,
        arguments: bytes | None = None,
        result: bytes | None = None,
        nothing_stayed: bool = False,
    ) -> Preview:
        """What an act would do now; nothing is done. result: of a step that is resolved, or the value of a signal.
        Raises UnknownSaga, and Refused of a saga that cannot be acted on here."""
        wish = Wish(verb, step, "", "preview", result, arguments=arguments, settled=nothing_stayed)
        check(wish, self._payload_bytes)
        seen = await self._seen(saga_id)
        mail = message_of_wish("preview", wish, seen.program, self._payload_bytes, live=seen.live)
        found = preview.preview(seen.plan, seen.state, mail, seen.now, seen.version)
        return found if not seen.as_of or found.why else found._replace(why=seen.as_of)

    async def _act(self, saga_id: str, wish: Wish, message: str | None) -> Answer:
        check(wish, self._payload_bytes)
        detail = await self._ask(saga_id, wish, message)
        return Answer(saga_id, wish.verb, wish.address, detail)

    @property
    def _payload_bytes(self) -> int:
        """How large a payload may be."""
        return PAYLOAD_BYTES_MAX

    @abstractmethod
    async def _ask(self, saga_id: str, wish: Wish, message: str | None) -> str:
        """Have it done; gives what was said with that."""

    @abstractmethod
    async def _seen(self, saga_id: str) -> Seen:
        """The saga. Raises UnknownSaga."""


def check(wish: Wish, payload_bytes: int) -> None:
    """See that what is wanted can be kept. Raises Refused."""
    what = "note" if wish.verb == "note" else "reason"
    for name, text in (("actor", wish.actor), (what, wish.reason), ("person", wish.person), ("step", wish.address)):
        if len(text) > REASON_CHARACTERS_MAX:
            raise Refused(f"{name}: {len(text)} characters, the limit is {REASON_CHARACTERS_MAX}")
    for name, payload in (("value", wish.value), ("arguments", wish.arguments)):
        if payload is not None and (flaw := flaw_of(payload, payload_bytes)):
            raise Refused(f"the {name} for {wish.address or wish.verb}: {flaw}")
