"""Finding an orchestrator, a participant, a service or a saga in the user's code, from `module:name`.

Guarantees: every way to spell it wrongly gets an error that says what is there instead; the
current directory is importable; Django is set up where its settings are named.
Must not: change the user's objects.
"""

from __future__ import annotations

import difflib
import os
import sys
import traceback
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple

from amends.define.contract import Service
from amends.define.saga import Saga
from amends.operate.cli.verb import CodeError
from amends.run.config import Config
from amends.run.orchestrator import Orchestrator
from amends.run.participant import Participant
from amends.run.watcher import Watcher

CANDIDATES_MAX = 12
Kinds = dict[str, type]
_KINDS: Kinds = {"an orchestrator": Orchestrator, "a saga": Saga}
_PLACES: Kinds = {**_KINDS, "a participant": Participant, "a watcher": Watcher}
HOSTED: Kinds = {"an orchestrator": Orchestrator, "a participant": Participant, "a watcher": Watcher}


class AppError(CodeError):
    """The code that was named cannot be used."""


class Found(NamedTuple):
    """What a `module:name` names. text: as it was written."""

    text: str
    module: ModuleType
    value: Orchestrator | Saga[Any, Any]


class Choice(NamedTuple):
    """A saga with the orchestrator that runs it. lonely: no orchestrator of the code lists it."""

    saga: Saga[Any, Any]
    orchestrator: Orchestrator | None


def load(text: str) -> Found:
    """The orchestrator or saga of a `module:name`. Raises AppError."""
    module, value = _resolve(text, _KINDS)
    if value is module:
        raise AppError(f"{text!r}: module:name is expected; {_candidates(module, _KINDS)}")
    if not isinstance(value, (Orchestrator, Saga)):
        raise AppError(f"{text!r} is {_a(value)}, not an Orchestrator or a Saga; {_candidates(module, _KINDS)}")
    return Found(text, module, value)


def object_of(text: str) -> object:
    """Whatever a `module:name` names, or a module. Raises AppError."""
    return _resolve(text, {"a service": Service, **HOSTED, **_KINDS})[1]


def hosted_of(text: str) -> tuple[str, object]:
    """What a worker runs of a `module:name`: an orchestrator, also by one of its sagas, or a participant; of a module,
    the only one in it. With how it is spelled. Raises AppError."""
    module, value = _resolve(text, HOSTED)
    name = module.__name__
    if isinstance(value, Saga):
        return text, orchestrator_of(text)
    if value is module:
        found = {id(member): (f"{name}:{known}", member) for known, member in _members(module) if _is(member, HOSTED)}
        if len(found) == 1:
            return next(iter(found.values()))
        raise AppError(f"{text!r}: name what is to run, such as {name}:orchestrator; {_candidates(module, HOSTED)}")
    if not _is(value, HOSTED):
        raise AppError(
            f"{text!r} is {_a(value)}, not an Orchestrator, a Participant or a Watcher; {_candidates(module, HOSTED)}"
        )
    return text, value


def participants_beside(text: str) -> tuple[Participant, ...]:
    """The participants in the module of a `module:name`. Raises AppError."""
    module, _ = _resolve(text, _KINDS)
    found = {id(value): value for _, value in _members(module) if isinstance(value, Participant)}
    return tuple(found.values())


def _resolve(text: str, kinds: Kinds) -> tuple[ModuleType, object]:
    """The module and the object of a `module:name`; without a name, the module itself. kinds: what is offered where
    the name is wrong. Raises AppError."""
    name, colon, attribute = text.partition(":")
    if name.endswith(".py") or "/" in name:
        dotted = name.removesuffix(".py").strip("./").replace("/", ".")
        raise AppError(f"{text!r} names a file; name the module: {dotted}:{attribute or 'orchestrator'}")
    if not name or not all(part.isidentifier() for part in name.split(".")):
        raise AppError(f"{text!r}: module:name is expected, such as shop:orchestrator")
    module = _import(name, text)
    if not colon:
        return module, module
    if not attribute:
        raise AppError(f"{text!r}: module:name is expected; {_candidates(module, kinds)}")
    value: Any = module
    for part in attribute.split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            raise AppError(f"{text!r}: {name} has no {attribute!r}; {_close(module, attribute, kinds)}") from None
    return module, value


def participant_of(text: str) -> Participant | None:
    """The participant that a `module:name` names; None where it names something else. Raises AppError."""
    _, value = _resolve(text, _PLACES)
    return value if isinstance(value, Participant) else None


def place_of(text: str) -> Config:
    """Where a `module:name` keeps its sagas: an orchestrator, also by one of its sagas, or a watcher. Raises
    AppError."""
    _, value = _resolve(text, _PLACES)
    return value.config if isinstance(value, Watcher) else orchestrator_of(text).config


def orchestrator_of(text: str) -> Orchestrator:
    """The orchestrator of a `module:name`; of a saga, the one that lists it. Raises AppError."""
    found = load(text)
    if isinstance(found.value, Orchestrator):
        return found.value
    choice = _of_saga(found, found.value)
    if choice.orchestrator is None:
        raise AppError(f"{text!r} is a saga, and no orchestrator in {found.module.__name__} lists it")
    return choice.orchestrator


def choose(text: str, name: str | None) -> Choice:
    """The saga that a target means: `shop:place_order`, or `shop:orchestrator` with a name.

    Raises AppError, and UnknownSaga for a name that the orchestrator does not know.
    """
    found = load(text)
    if isinstance(found.value, Saga):
        if name is not None and name != found.value.name:
            raise AppError(f"{text!r} is the saga {found.value.name!r} already; leave {name!r} out")
        return _of_saga(found, found.value)
    known = found.value.config.registry.names
    if name is None:
        raise AppError(f"which saga of {text!r}? It knows: {', '.join(known) or 'none'}")
    return Choice(found.value.config.registry.named(name), found.value)


def _of_saga(found: Found, saga: Saga[Any, Any]) -> Choice:
    """The module's only orchestrator that lists the saga."""
    fits = {
        name: value
        for name, value in _members(found.module)
        if isinstance(value, Orchestrator) and saga in value.config.registry.by_fingerprint.values()
    }
    distinct = {id(value): value for value in fits.values()}
    if len(distinct) > 1:
        module = found.module.__name__
        choices = " or ".join(f"{module}:{name} {saga.name}" for name in fits)
        raise AppError(f"{found.text!r}: several orchestrators list it; say which one: {choices}")
    return Choice(saga, next(iter(distinct.values()), None))


def _import(name: str, text: str) -> ModuleType:
    if name in sys.modules:
        return sys.modules[name]
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    _set_up_django()
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name == missing or name.startswith(f"{missing}."):
            raise AppError(
                f"{text!r}: there is no module {missing!r} here ({here}) or among the installed packages"
            ) from error
        raise AppError(f"{text!r}: importing {name} failed: {error}{_where(error)}") from error
    except (Exception, SystemExit) as error:
        words = str(error) if str(error) else "it gave no reason"
        raise AppError(f"{text!r}: importing {name} failed: {type(error).__name__}: {words}{_where(error)}") from error


def _where(error: BaseException) -> str:
    """The last line of the user's code that was running."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_theirs(frame.filename)]
    return f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""


def _is_theirs(filename: str) -> bool:
    ours = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    return not filename.startswith((ours, "<frozen")) and os.path.basename(os.path.dirname(filename)) != "importlib"


def _set_up_django() -> None:
    if not os.environ.get("DJANGO_SETTINGS_MODULE"):
        return
    try:
        django = import_module("django")
    except ModuleNotFoundError:
        raise AppError("DJANGO_SETTINGS_MODULE is set, and Django is not installed here") from None
    django.setup()


def _members(module: ModuleType) -> Iterator[tuple[str, object]]:
    return ((name, value) for name, value in vars(module).items() if not name.startswith("_"))


def _candidates(module: ModuleType, kinds: Kinds) -> str:
    """What the module has to offer, spelled as it must be written."""
    found = [
        f"{module.__name__}:{name} ({word})"
        for word, kind in kinds.items()
        for name, value in _members(module)
        if isinstance(value, kind)
    ]
    if not found:
        none = " and ".join(f"no {word.split(' ', 1)[1]}" for word in kinds)
        return f"{module.__name__} has {none}"
    more = f" and {len(found) - CANDIDATES_MAX} more" if len(found) > CANDIDATES_MAX else ""
    return f"there is: {', '.join(found[:CANDIDATES_MAX])}{more}"


def _close(module: ModuleType, name: str, kinds: Kinds) -> str:
    names = [known for known, value in _members(module) if _is(value, kinds)]
    close = difflib.get_close_matches(name, names, 1)
    offered = _candidates(module, kinds)
    return f"did you mean {module.__name__}:{close[0]}? {offered}" if close else offered


def _is(value: object, kinds: Kinds) -> bool:
    return isinstance(value, tuple(kinds.values()))


def _a(value: object) -> str:
    """What something is, with its article."""
    kind = type(value).__name__
    return f"{'an' if kind[:1] in 'AEIOU' else 'a'} {kind}"
