"""The connection to a NATS server, made again and again as long as the transport is open, and questions over it.

Guarantees: a question is answered once: by the server, or with `LOST` when the connection that it went over broke, or
with `FORBIDDEN` when the server does not allow its subject; while there is no connection `away` says why.
Must not: know what is published, or what a stream is.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

from nats.errors import Error, StaleConnectionError, UnexpectedEOF

from amends.errors import TransportRefused
from amends.transport.lasting import lasting
from amends.transport.nats_client import Headers, NatsClient, NoTls, hpub, pub
from amends.transport.nats_options import Options
from amends.transport.url import Host

PAUSE_FIRST_SECONDS = 0.05
PAUSE_LAST_SECONDS = 2.0
LOOK_SECONDS = 2.0
LOST, FORBIDDEN, NOBODY = "lost", "forbidden", "503"
_TIME_OUT = 2.0  # for leaving in good order
_TROUBLE = (OSError, EOFError, ValueError, Error)  # of a server that is away, or is no NATS server
_log = logging.getLogger("amends.nats")


class Answer(NamedTuple):
    """status: empty, or why there is no answer: LOST, FORBIDDEN, NOBODY (nobody answers there), or another code."""

    status: str
    data: bytes


class Question(NamedTuple):
    """subject, body, and headers as a block, empty without."""

    subject: str
    data: bytes
    headers: bytes = b""


class Answers:
    """The answers to some questions, as they come."""

    def __init__(self, number: int) -> None:
        self.got: list[Answer | None] = [None] * number
        self.all: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._left = number

    def put(self, index: int, answer: Answer) -> None:
        """One has come."""
        if self.got[index] is None:
            self.got[index] = answer
            self._left -= 1
            if self._left == 0 and not self.all.done():
                self.all.set_result(None)


class User(Protocol):
    """Who wants to know of the connection. Called on the loop; returns at once."""

    def connected(self) -> None:
        """There is a new one."""
        ...

    def lost(self) -> None:
        """It broke."""
        ...


class Link:
    """One per transport."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.away: str = "it is not open"
        self.client: NatsClient | None = None
        self.users: list[User] = []
        self._said = False  # that the server is away
        self._gone: asyncio.Event | None = None  # the end of a connection that nobody waits for yet
        self._keeper: asyncio.Task[None] | None = None
        self._up = asyncio.Event()
        self._inbox = ""
        self._token = 0
        self._asked: dict[int, tuple[Answers, int, str]] = {}

    @property
    def is_open(self) -> bool:
        """Whether it was opened and not closed."""
        return self._keeper is not None

    async def open(self) -> None:
        """Connect; a server that is away is waited for in the background. Raises TransportRefused."""
        self.away = "there is no connection yet"
        try:
            self._gone = await self._connect()
        except _TROUBLE as error:
            self._fail(error)
        self._keeper = asyncio.get_running_loop().create_task(
            lasting(self._keep, f"the connection to {self.options.shown}", _log), name="amends-nats"
        )

    async def close(self) -> None:
        """Put what is on its way on the wire, and disconnect."""
        keeper, self._keeper = self._keeper, None
        await end(keeper)
        client = self.client
        if client is not None:
            with suppress(*_TROUBLE):
                async with asyncio.timeout(_TIME_OUT):
                    await client.flush()
        self._lose("it is closed")
        await _close(client)

    async def ready(self, seconds: float | None) -> NatsClient | None:
        """The client, once there is a connection; None if there is none in time, or the link is closed."""
        if self.client is None and self._keeper is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._up.wait()
        return self.client

    async def ask(self, questions: Sequence[Question], seconds: float) -> list[Answer | None]:
        """Ask, all at once; None for each that was not answered in time."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        client = await self.ready(seconds)
        if client is None or not questions:
            return [None] * len(questions)
        answers = Answers(len(questions))
        first = self._token + 1
        self._token += len(questions)
        for index, question in enumerate(questions):
            if self.client is not client or loop.time() > end:
                break
            self._asked[first + index] = (answers, index, question.subject)
            self._put(client, question, f"{self._inbox}.{first + index}")
            await client.flushed()
        if self.client is not client:  # what was not asked by then is lost as well
            for index in range(len(questions)):
                answers.put(index, Answer(LOST, b""))
        await asyncio.wait([answers.all], timeout=max(end - loop.time(), 0.0))
        for token in range(first, first + len(questions)):
            self._asked.pop(token, None)
        return answers.got

    def post(self, commands: list[bytes]) -> bool:
        """Put commands on the wire; False if there is no connection."""
        if self.client is None:
            return False
        self.client.put(commands)
        return True

    def _put(self, client: NatsClient, question: Question, reply: str) -> None:
        if question.headers:
            client.put((hpub(question.subject, reply, question.headers, question.data),))
        else:
            client.put((pub(question.subject, reply, question.data),))

    def _answered(self, subject: str, reply: str, data: bytes, headers: Headers) -> None:
        asked = self._asked.pop(int(subject[len(self._inbox) + 1 :]), None)
        if asked is not None:
            asked[0].put(asked[1], Answer(headers.get("Status", "") if headers else "", data))

    async def _keep(self) -> None:
        """Connect whenever there is no connection, with growing pauses."""
        pause = PAUSE_FIRST_SECONDS
        while True:
            try:
                gone, self._gone = self._gone, None
                if gone is None:
                    await self._end("it is given up")
                    await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  # no secret
                    gone = await self._connect()
                pause = PAUSE_FIRST_SECONDS
                await self._until_gone(gone)
                reason = self.client.last_error if self.client is not None else None
                await self._end(f"the connection broke: {reason or 'the server closed it'}")
            except (*_TROUBLE, TransportRefused) as error:
                self._fail(error)
                pause = min(pause * 2, PAUSE_LAST_SECONDS)

    async def _end(self, why: str) -> None:
        """Of a connection that is over."""
        client = self.client
        if client is not None:
            self._lose(why)
            await _close(client)

    async def _until_gone(self, gone: asyncio.Event) -> None:
        """Wait for the end of the connection; look for it, too, where the client does not say so."""
        while not gone.is_set() and self.client is not None and not self.client.is_closed:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await gone.wait()

    async def _connect(self) -> asyncio.Event:
        """Try each server once; gives the event of the connection's end. Raises what the last of them said."""
        error: Exception | None = None
        for host in self.options.url.hosts:
            try:
                return await self._connect_to(host)
            except _TROUBLE as failed:
                error = failed
                why = _hopeless(failed)
                if why:
                    raise self.options.url.refused(why) from failed
        raise error if error is not None else OSError("no server")

    async def _connect_to(self, host: Host) -> asyncio.Event:
        gone = asyncio.Event()
        client = NatsClient(insist_on_tls=self.options.insist_on_tls)

        async def closed() -> None:
            gone.set()

        async def trouble(error: Exception) -> None:
            if isinstance(
                error, UnexpectedEOF | StaleConnectionError | OSError
            ):  # earlier clients say no more than this
                gone.set()
            await self._trouble(error)

        try:
            server = f"{self.options.url.scheme}://{host}"
            options: dict[str, Any] = {**self.options.client(), "closed_cb": closed, "error_cb": trouble}
            async with asyncio.timeout(self.options.connect_seconds):
                await client.connect([server], **options)
                self._inbox = client.new_inbox()
                await client.hear(f"{self._inbox}.*", self._answered)
        except BaseException:
            await _close(client)
            raise
        if self._said:
            _log.info("%s is there again", self.options.shown)
        self._said = False
        self.client = client
        self.away = ""
        self._up.set()
        for user in self.users:
            user.connected()
        return gone

    async def _trouble(self, error: Exception) -> None:
        """What the server complains about. A subject that it forbids is the answer to who asked there."""
        text = str(error)
        _log.debug("%s: %s", self.options.shown, text)
        if "permissions violation" in text.lower():
            for token, (answers, index, subject) in list(self._asked.items()):
                if f'"{subject.lower()}"' in text.lower():
                    del self._asked[token]
                    answers.put(index, Answer(FORBIDDEN, text.encode()))

    def _fail(self, error: Exception) -> None:
        _log.log(logging.DEBUG if self._said else logging.WARNING, "%s is away: %s", self.options.shown, error)
        self._said = True
        self.away = f"{self.options.shown}: {error or type(error).__name__}"

    def _lose(self, why: str) -> None:
        """The connection is over: who asked over it hears so."""
        if self.client is not None and self._keeper is not None:
            _log.warning("%s is away: %s", self.options.shown, why)
            self._said = True
        self.client = None
        self._up.clear()
        self.away = f"{self.options.shown}: {why}"
        asked, self._asked = self._asked, {}
        for answers, index, _ in asked.values():
            answers.put(index, Answer(LOST, b""))
        for user in self.users:
            user.lost()


async def _close(client: NatsClient | None) -> None:
    if client is not None:
        with suppress(*_TROUBLE):
            async with asyncio.timeout(_TIME_OUT):
                await client.close()


async def end(task: asyncio.Task[None] | None) -> None:
    """Cancel a task, again where the client swallowed it, and wait for its end."""
    while task is not None and not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=1.0)


def _hopeless(error: Exception) -> str:
    """Why trying again does not help; empty if it may."""
    if isinstance(error, ssl.SSLError | NoTls):
        return f"TLS: {error}"
    text = str(error)
    if "authorization" in text.lower() or "authentication" in text.lower():
        return "the server refuses this user and password, or token"
    return ""
