"""Where the sagas are: what `--database`, `--app` and `--namespace` come to.

Guarantees: what is given on the command line wins over the app, the app over the environment;
a database that is not there is an error, and not a new file.
Must not: open anything.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import NamedTuple

import click

from amends.operate.cli.app import place_of
from amends.operate.cli.quote import quoted
from amends.operate.database import check_there, url_of
from amends.run.database import check_database, is_postgres, masked, sqlite_path
from amends.run.orchestrator import Orchestrator
from amends.run.sealing import Keyring
from amends.run.session import Config

KEYS_VARIABLE = "AMENDS_KEYS"


class Place(NamedTuple):
    """What was given."""

    database: str | None = None
    app: str | None = None
    namespace: str | None = None

    def __repr__(self) -> str:
        """Without a password: tracebacks are shown to others."""
        return f"Place({self.database and masked(self.database)!r}, {self.app!r}, {self.namespace!r})"

    def options(self) -> list[str]:
        """The options that say the same to the next command; what the environment says stays there."""
        context = click.get_current_context(silent=True)
        found: list[str] = []
        for name in ("app", "database", "namespace"):
            value = getattr(self, name)
            source = None if context is None else context.get_parameter_source(name)
            if value is not None and source is not click.core.ParameterSource.ENVIRONMENT:
                found.append(f"--{name}={value}")
        return found

    def config(self, answer_seconds: float | None = None) -> Config:
        """What a client of that place needs. Raises AppError, DefinitionError."""
        config = self._base()
        if self.database is not None:
            check_given(self.database)
            config = replace(config, database=self.database)
        if self.namespace is not None:
            config = replace(config, namespace=self.namespace)
        if config.keys is None:
            config = replace(config, keys=keys_of_environment())
        if answer_seconds is not None:
            config = replace(config, settings=replace(config.settings, answer_seconds=answer_seconds))
        return config

    def existing(self, answer_seconds: float | None = None) -> Config:
        """The same, of a database that is there. Raises StoreUnavailable where it is not."""
        config = self.config(answer_seconds)
        check_there(config.database)
        return config

    @property
    def url(self) -> str:
        """The database, for people."""
        return url_of(self.config().database)

    def _base(self) -> Config:
        if self.app is not None:
            return place_of(self.app)
        return Orchestrator(None, sagas=(), namespace=self.namespace or "default").config


def keys_of_environment() -> Keyring | None:
    """The keys that the environment names, to read what is sealed. Raises DefinitionError."""
    if KEYS_VARIABLE not in os.environ:
        return None
    from amends.crypto import Keys  # an extra

    return Keys.from_env(KEYS_VARIABLE)


def check_given(url: str) -> None:
    """See that `--database` can be meant: what is in memory only is no place to find sagas again. Raises
    DefinitionError."""
    if is_postgres(url):
        check_database(url)
    else:
        sqlite_path(url)


def command_line(*words: str, options: list[str], positional: list[str]) -> str:
    """A command to paste. What begins with a dash and is no option stands behind `--`."""
    given = ["--", *positional] if any(word.startswith("-") for word in positional) else positional
    if given and given[0] == "--":
        return quoted(["amends", *words, *options, *given])
    return quoted(["amends", *words, *given, *options])
