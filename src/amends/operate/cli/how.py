"""How an act is done: what every verb of a person takes beside what it is about, and what it prints.

Guarantees: with `--dry-run` nothing is done, and what would be refused ends as the act itself would.
Must not: judge whether an act is allowed; the saga does.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import click

from amends.errors import Refused
from amends.operate import as_json as shapes
from amends.operate.cli.desk import Desk, desk
from amends.operate.cli.output import console, emit_json, word
from amends.operate.cli.place import Place
from amends.operate.cli.verb import actor_option, json_option, place_options, timeout_option
from amends.operate.values import Answer, Preview


@dataclass(frozen=True, slots=True)
class About:
    """What an act is about, for looking at it before it is done."""

    saga_id: str
    verb: str
    step: str = ""
    rest: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class How:
    """Who acts, and where; for which version of the saga; under which id."""

    place: Place
    actor: str
    timeout: float
    as_json: bool
    if_version: int | None
    message: str | None
    dry_run: bool

    @property
    def said(self) -> dict[str, Any]:
        """What every act takes."""
        return {"actor": self.actor, "if_version": self.if_version, "message": self.message}

    def do(self, about: About, act: Callable[[Desk], Awaitable[Answer]]) -> None:
        """Have it done, or say what that would do."""
        if self.dry_run:
            asyncio.run(self._look(about))
            return

        async def ask() -> Answer:
            async with desk(self.place, self.timeout) as found:
                return await act(found)

        answer = asyncio.run(ask())
        if self.as_json:
            emit_json(shapes.answer(answer))
            return
        step = f" {answer.step}" if answer.step else ""
        detail = f": {answer.detail}" if answer.detail else ""
        console().print(word(f"{answer.id}: {answer.verb}{step} accepted{detail}", "good"))

    async def _look(self, about: About) -> None:
        async with desk(self.place, self.timeout) as found:
            seen = await found.preview(about.saga_id, about.verb, about.step, **about.rest)
        if not seen.accepted:
            raise Refused(f"{about.saga_id}: {about.verb} would be refused: {seen.why}")
        if self.as_json:
            emit_json(shapes.preview(about.saga_id, seen))
        else:
            _print(about, seen)


def act_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options of every act. They come as one `how`."""

    @functools.wraps(command)
    def with_how(
        *,
        actor: str,
        timeout: float,
        as_json: bool,
        if_version: int | None,
        message_id: str | None,
        dry_run: bool,
        **rest: Any,
    ) -> None:
        place = Place(**{name: rest.pop(name) for name in ("database", "app", "namespace")})
        command(how=How(place, actor, timeout, as_json, if_version, message_id, dry_run), **rest)

    options = (
        click.option("--dry-run", is_flag=True, help="Say what it would do now, and do nothing."),
        click.option("--message-id", metavar="ID", help="The same id counts once, however often it is sent."),
        click.option(
            "--if-version",
            type=click.IntRange(min=1),
            metavar="N",
            help="Only if the saga has not changed since this version, as `show` gives it.",
        ),
        actor_option,
        timeout_option,
        place_options,
        json_option,
    )
    made: Callable[..., None] = with_how
    for option in reversed(options):
        made = option(made)
    return made


def _print(about: About, seen: Preview) -> None:
    out = console()
    step = f" {seen.step}" if seen.step else ""
    why = f": {seen.why}" if seen.why else ""
    out.print(word(f"{about.saga_id}: {seen.verb}{step} would be accepted at version {seen.version}{why}", ""))
    for effect in seen.effects:
        out.print(word(f"  {effect.what}", ""))
    if not seen.effects:
        out.print(word("  nothing is called", "dim"))
    out.print(word(f"The saga would be {seen.status_after} at once. Nothing was done.", "dim"))
