"""Plain HTTP participants: an endpoint with an idempotency key has the barrier that commands have.

A team whose service is asked over HTTP has a `Participant` for it, and lets its endpoints through the same
handlers: each key has its effect once, an undo that comes before its action leaves a tombstone, and whoever asks
again gets the stored answer. The header is that of the IETF's draft "The Idempotency-Key HTTP Header Field"
(draft-ietf-httpapi-idempotency-key-header).

Guarantees: an endpoint's effect and what is remembered of its key commit together.
Must not: be imported without Starlette: pip install "amends[http]".
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn, Protocol, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from amends.decide.events import Phase
from amends.decide.wire import Command as Wired
from amends.decide.wire import Ended, Reply, Word
from amends.define.contract import Command
from amends.define.node import check_name
from amends.define.policy import Park, Reject, Retry
from amends.define.values import PAYLOAD_BYTES_MAX
from amends.errors import AmendsError, LimitExceeded, NotRunning, StoreError, ValueRefused
from amends.run.inbox import CommandTry, failed
from amends.run.participant import Participant
from amends.run.participant_session import ParticipantSession
from amends.run.participant_work import Leaving

Q = TypeVar("Q")
R = TypeVar("R")
KEY_CHARACTERS_MAX = 200
RETRY_SECONDS = 1.0
_log = logging.getLogger("amends.http")
OUTCOME, KNOWN = "Amends-Outcome", "Amends-Known"
REFUSED = "refused"  # no reply of a participant: the key belongs to another request
_STATUS = {
    Word.SUCCEEDED: 200,
    Word.COMPENSATED: 200,
    Word.VOID: 200,
    Word.REJECTED: 422,
    Word.FAILED: 503,
    Word.FENCED: 409,
    Word.EARLIER_OPEN: 409,
    Word.MISSING: 409,
    Word.EXPIRED: 410,
}


def idempotency(
    participant: Participant, /, *, namespace: str = "http", forgets: bool = False
) -> Callable[[Request], Awaitable[Once]]:
    """A dependency for FastAPI, and a function of the request for Starlette: gives the `Once` of a request.

    participant: who has the handlers; it is entered while the application runs, on the same loop. namespace: tells
    these keys from the sagas of orchestrators. forgets: a key is forgotten `inbox_horizon_seconds` (7 days) after
    anything last came of it; who asks or undoes later finds nothing. Without it keys are kept for good.
    """
    space = check_name(namespace, "idempotency(namespace=…)")

    async def once(request: Request) -> Once:
        """Raises HTTPException 400 for a request without a key that can be kept."""
        key = request.headers.get("idempotency-key", "").strip().strip('"')
        if not key or len(key) > KEY_CHARACTERS_MAX or not key.isprintable():
            words = f"the header Idempotency-Key is missing, or no printable text of at most {KEY_CHARACTERS_MAX}"
            raise HTTPException(400, f"{words} characters")
        known = request.headers.get(KNOWN.lower()) == "succeeded"
        return Once(participant, space, key, known=known, forgets=forgets)

    return once


class Once:
    """What one request asks for, under its key."""

    def __init__(self, participant: Participant, namespace: str, key: str, *, known: bool, forgets: bool) -> None:
        self._participant = participant
        self._forgets = forgets
        self._namespace = namespace
        self._key = key
        self._known = known

    async def __call__(self, command: Command[Q, Any], value: Q, /) -> Response:
        """Do a command, or give the stored answer. The same key with another value is refused with 422.

        Raises HTTPException 422 for a value that cannot be stored.
        """
        try:
            data, _ = command.sent.admit(value, f"the command {command.type}", self._limit())
        except (ValueRefused, LimitExceeded) as error:
            raise HTTPException(422, str(error)) from None
        return await self._answered(command, Phase.ACTION, data)

    async def undo(self, command: Command[Any, Any], /) -> Response:
        """Undo what was done, or may have been, under this key. With the header `Amends-Known: succeeded` whoever
        asks knows that it was; an effect that is not there is then `missing` (409), not void."""
        return await self._answered(command, Phase.UNDO, b"null")

    def _limit(self) -> int:
        try:
            return self._participant.session.work.payload_bytes
        except NotRunning:  # nothing is going to be done
            return PAYLOAD_BYTES_MAX

    async def _answered(self, command: Command[Any, Any], phase: Phase, data: bytes) -> Response:
        saga = hashlib.blake2b(self._key.encode(), digest_size=16).digest()
        asked = Wired(
            command.type,
            self._namespace,
            saga,
            self._key,
            command.type,  # services may share a database
            phase,
            data,
            "-",  # the answer goes by no message
            "-",
            time.time(),
            known=self._known,
        )
        tried: list[CommandTry] = []
        try:
            session = self._participant.session
            if session.work.loop is not asyncio.get_running_loop():
                raise NotRunning("the participant runs on another event loop than this application")
            reply = await session.asked(self._done(session, asked, tried.append))
        except (NotRunning, Leaving) as error:
            return _told(failed(asked, str(error) or "the service is going; nothing was done", park=False))
        stored = tried[0].stored if tried else None
        if phase is Phase.ACTION and stored is not None and stored.command not in (None, data):
            other = "this key was used with another request"
            return _response(422, {"outcome": REFUSED, "reason": other}, {OUTCOME: REFUSED})
        return _told(reply)

    async def _done(self, session: ParticipantSession, asked: Wired, tried: Callable[[CommandTry], object]) -> Reply:
        reply = await session.work.answer(asked, alone=True, tried=tried)
        if self._forgets:
            try:
                await session.ended(Ended(asked.namespace, (asked.saga,)))
            except StoreError as error:  # the key is kept until it is used again
                _log.warning("a key is not going to be forgotten: %s", error)
        return reply


def _told(reply: Reply) -> Response:
    said = {OUTCOME: reply.word.value}
    if reply.word is Word.SUCCEEDED:
        return Response(reply.data, 200, said, "application/json")
    status = _STATUS[reply.word]
    if reply.word is Word.FAILED:
        if reply.park:
            status, said["Amends-Park"] = 500, "true"
        else:
            said["Retry-After"] = str(math.ceil(RETRY_SECONDS if reply.after is None else reply.after))
    return _response(status, {"outcome": reply.word.value, "reason": reply.reason}, said)


def _response(status: int, content: dict[str, Any], said: dict[str, str]) -> Response:
    return Response(json.dumps(content), status, said, "application/json")


class Answered(Protocol):
    """A response as httpx, requests and others have it."""

    @property
    def status_code(self) -> int:
        """The HTTP status."""
        ...

    @property
    def headers(self) -> Any:
        """By name, in any case."""
        ...

    def json(self) -> Any:
        """The body."""
        ...


def accepted(response: Answered) -> Any:
    """For the step that asked: the body of an answer that says yes (None of an undo); for any other raises what
    means the same in a step.

    Raises Reject (a definite no), Park (a person is needed), what `Retry.after` gives (try again then), and
    AmendsError for an answer that is none of a barrier's: its effect is unknown.
    """
    outcome = response.headers.get(OUTCOME, "")
    if outcome == Word.SUCCEEDED:
        return response.json()
    if outcome in (Word.COMPENSATED, Word.VOID):
        return None
    if outcome:
        _refuse(response, outcome)
    raise AmendsError(f"the answer {response.status_code} is not of a barrier: nobody knows what became of the request")


def _refuse(response: Answered, outcome: str) -> NoReturn:
    reason = str(response.json().get("reason", "")) or outcome
    if outcome == Word.REJECTED:
        raise Reject(reason)
    if outcome in (Word.MISSING, Word.EARLIER_OPEN, REFUSED) or response.headers.get("Amends-Park") == "true":
        raise Park(f"{reason} ({outcome})")
    if outcome == Word.FAILED:
        raise Retry.after(float(response.headers.get("Retry-After", RETRY_SECONDS)))
    raise AmendsError(f"{reason} ({outcome})")
