"""What `run` and `start` share: which saga, with which input, on which orchestrator.

Guarantees: everything that can be wrong with the command is found before anything is opened.
Must not: open or start anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import click

from amends.define.saga import Saga
from amends.operate.cli.app import AppError, choose, load, participants_beside
from amends.operate.cli.inputs import value_of
from amends.operate.cli.place import Place, check_given
from amends.operate.cli.quote import quoted
from amends.run.orchestrator import Orchestrator
from amends.run.participant import Participant
from amends.run.session import Config
from amends.transport.open import LOCAL, Broker

MEMORY = "memory://"


class Launch(NamedTuple):
    """A saga to start. passing: it runs in memory only, and is gone with this process. services: the participants
    beside it in the code, which reach it without a broker."""

    saga: Saga[Any, Any]
    input: Any
    config: Config
    passing: bool
    services: tuple[Participant, ...] = ()

    @property
    def missing(self) -> list[str]:
        """The services that nobody would do the commands of, if this process were all there is."""
        here = {participant.service.name for participant in self.services}
        asked = self.saga.plan.services if is_local(self.config.broker) else ()
        return [name for name in asked if name not in here]


def launch_of(verb: str, words: Sequence[str], place: Place, *, memory: bool) -> Launch:
    """What the words behind a verb mean: `[MODULE:NAME] [SAGA] JSON`. memory: a saga that no
    orchestrator lists may run in memory, if no database is given.

    Raises AppError, UnknownSaga, DefinitionError, ValueRefused.
    """
    target, name, text = _split(verb, list(words), place)
    choice = choose(target, name)
    if text is None:
        example = quoted(["amends", verb, target, *([name] if name else []), choice.saga.program.input.example()])
        raise click.UsageError(f"the input of {choice.saga.name} is missing; for example: {example}")
    value = value_of(text, choice.saga.program.input, f"the input of {choice.saga.name}")
    orchestrator, passing = choice.orchestrator, False
    if orchestrator is None:
        if place.database is None and not memory:
            raise AppError(f"no orchestrator lists {target!r}, so say where it is to be kept: --database=sqlite:///…")
        orchestrator = Orchestrator(place.database or MEMORY, sagas=[choice.saga])
        passing = place.database is None
    config = _placed(orchestrator.config, place)
    beside = participants_beside(target) if is_local(config.broker) else ()
    services = tuple(participant for participant in beside if is_local(participant.broker))
    return Launch(choice.saga, value, config, passing, services)


def is_local(broker: Broker) -> bool:
    """Whether nobody but this process is reached."""
    return broker is None or (isinstance(broker, str) and broker.startswith(LOCAL))


def _split(verb: str, words: list[str], place: Place) -> tuple[str, str | None, str | None]:
    """The target, the saga's name where the target is an orchestrator, and the input."""
    if not words or not _is_target(words[0]):
        if place.app is None:
            raise click.UsageError(
                f"name what to {verb}: a saga such as shop:place_order, or an orchestrator and a saga"
            )
        words = [place.app, *words]
    target, rest = words[0], words[1:]
    if len(rest) > 2:
        raise click.UsageError(f"{len(rest)} words after {target}: at most a saga's name and its input are expected")
    if isinstance(load(target).value, Saga) and len(rest) < 2:
        return target, None, rest[0] if rest else None
    if len(rest) == 1 and _looks_like_json(rest[0]):
        return target, None, rest[0]
    return target, rest[0] if rest else None, rest[1] if len(rest) > 1 else None


def _is_target(word: str) -> bool:
    name, colon, attribute = word.partition(":")
    return bool(colon) and not _looks_like_json(word) and " " not in name + attribute


def _looks_like_json(word: str) -> bool:
    return word[:1] in '{["' or word == "-"


def _placed(config: Config, place: Place) -> Config:
    if place.database is not None:
        check_given(place.database)
        config = replace(config, database=place.database)
    return config if place.namespace is None else replace(config, namespace=place.namespace)
