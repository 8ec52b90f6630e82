"""What the verbs have in common: examples in their help, and the options that many take.

Guarantees: an option has one name, one meaning and one environment variable in every verb.
Must not: open anything.
"""

from __future__ import annotations

import getpass
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])
ANSWER_SECONDS = 30.0


@dataclass(slots=True)
class Flags:
    """How what went wrong is told."""

    debug: bool = False
    json: bool = False


class CodeError(click.UsageError):
    """What is wrong is in the user's code, or in how it was named; the help does not help."""


class Verb(click.Command):
    """A command with examples, and with `--debug` behind the verb as well as before it."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples: tuple[str, ...] = tuple(examples)
        self.params.append(debug_option())

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    formatter.write(f"{'':>{formatter.current_indent}}{example}\n")


def debug_option() -> click.Option:
    """`--debug`."""
    return click.Option(
        ["--debug"],
        is_flag=True,
        expose_value=False,
        callback=_set_debug,
        envvar="AMENDS_DEBUG",
        help="Show the traceback of what goes wrong.",
    )


def json_option(command: F) -> F:
    """`--json`."""
    text = "Print JSON for scripts."
    return click.option("--json", "as_json", is_flag=True, callback=_set_json, help=text)(command)


def place_options(command: F) -> F:
    """`--database`, `--app`, `--namespace`: where the sagas are. They come as one `place`."""
    command = click.option(
        "--namespace", envvar="AMENDS_NAMESPACE", help="The share of the database. [default: the app's, or default]"
    )(command)
    command = click.option(
        "--app",
        envvar="AMENDS_APP",
        metavar="MODULE:NAME",
        help="The orchestrator in your code; it knows the database. Also a watcher, or the participant that is the "
        "home of choreographed sagas. Else AMENDS_APP.",
    )(command)
    return click.option(
        "--database",
        metavar="URL",
        help="Such as sqlite:///orders.db or postgresql://app@db/orders. Else the app's, else AMENDS_DATABASE, else "
        "sqlite:///amends.db.",
    )(command)


def timeout_option(command: F) -> F:
    """`--timeout` of an answer."""
    return click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        default=ANSWER_SECONDS,
        show_default=True,
        metavar="SECONDS",
        help="How long to wait for the answer.",
    )(command)


def actor_option(command: F) -> F:
    """`--actor`."""
    return click.option(
        "--actor",
        envvar="AMENDS_ACTOR",
        default=user,
        show_default="you",
        help="Who acts, for the saga's history.",
    )(command)


def reason_option(command: F) -> F:
    """`--reason`."""
    return click.option("--reason", required=True, help="Why, for the saga's history.")(command)


def user() -> str:
    """Who this process runs as."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def _flags(ctx: click.Context) -> Flags:
    root = ctx.find_root()
    if not isinstance(root.obj, Flags):
        root.obj = Flags()
    return root.obj


def _set_debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        _flags(ctx).debug = True


def _set_json(ctx: click.Context, _: click.Parameter, value: bool) -> bool:
    _flags(ctx).json = value
    return value
