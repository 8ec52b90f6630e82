"""The entry point: whatever goes wrong ends as one paragraph and the right exit code.

Guarantees: no traceback for a user's mistake; a reader of the output who goes away is no error.
Must not: know any verb.
"""

from __future__ import annotations

import errno
import io
import json
import os
import sys
import textwrap
from collections.abc import Sequence
from typing import NoReturn

import click

from amends.errors import AmendsError
from amends.operate.cli.exits import Exit, exit_of
from amends.operate.cli.safe import safe
from amends.operate.cli.verb import CodeError, Flags, debug_option
from amends.operate.cli.verbs import Gone, Verbs

_HELP = """Durable sagas: every saga completes, or makes amends.

Sagas are found through --database, --app or the environment: AMENDS_DATABASE, AMENDS_APP.
"""

_TOO_MANY = "this process may open no more files; nothing is lost. Raise the limit (`ulimit -n`), or free some"

cli: Verbs = Verbs("amends", help=_HELP, context_settings={"help_option_names": ["-h", "--help"]})
cli.params.append(debug_option())
click.version_option(package_name="amends", prog_name="amends")(cli)


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run a command and leave with its exit code."""
    sys.exit(run(args))


def run(args: Sequence[str] | None = None) -> int:
    """Run a command; gives its exit code."""
    flags = Flags()
    _write_anything(sys.stdout)
    try:
        given = cli.main(None if args is None else list(args), "amends", standalone_mode=False, obj=flags)
        sys.stdout.flush()
        return int(given) if isinstance(given, int) else Exit.OK
    except click.ClickException as error:
        return _misused(error, flags)
    except (KeyboardInterrupt, click.Abort):
        print(file=sys.stderr)  # noqa: T201  # the terminal stands behind ^C
        return Exit.INTERRUPTED
    except (Gone, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing more to flush at exit
        return Exit.BROKEN_PIPE
    except AmendsError as error:
        if flags.debug:
            raise
        return _tell(str(error), error.code, exit_of(error), flags)
    except Exception as error:
        if flags.debug:
            raise
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            return _tell(_TOO_MANY, "too-many-files", Exit.STORE, flags)
        notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
        text = f"{type(error).__name__}: {error}{notes}. That was not expected; --debug shows where it happened"
        return _tell(text, "bug", Exit.BUG, flags)


def _write_anything(stream: object) -> None:
    """Where a terminal or pipe cannot take a character, it is written out instead of failing."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")


def _misused(error: click.ClickException, flags: Flags) -> int:
    if not isinstance(error, click.UsageError):
        return _tell(error.format_message(), "failed", Exit(error.exit_code), flags)
    if flags.json:
        return _tell(error.format_message(), "usage", Exit.USAGE, flags)
    if error.ctx is None or isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return Exit.USAGE
    hint = "" if isinstance(error, CodeError) else f"\nTry '{error.ctx.command_path} --help'."
    return _tell(f"{error.format_message()}{hint}", "usage", Exit.USAGE, flags)


def _tell(text: str, code: str, exit_code: Exit, flags: Flags) -> int:
    """One paragraph for people, one object for scripts; both on stderr."""
    if flags.json:
        said = json.dumps({"error": {"code": code, "message": text}, "exit": int(exit_code)})
        click.echo(said.replace("\x7f", "\\u007f"), err=True)
        return exit_code
    plain = safe(text, lines=True)
    if sys.stderr.isatty():
        plain = "\n".join(textwrap.fill(line, _width(), break_long_words=False) for line in plain.split("\n"))
    colour = None if _no_colour() or not sys.stderr.isatty() else "red"
    click.echo(click.style(plain, fg=colour) if colour else plain, err=True)
    return exit_code


def _width() -> int:
    try:
        return max(min(os.get_terminal_size(2).columns, 120), 40)
    except OSError:
        return 100


def _no_colour() -> bool:
    return bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
