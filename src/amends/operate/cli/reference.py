"""The part of `docs/reference/cli.md` that the commands know themselves.

    python -m amends.operate.cli.reference docs/reference/cli.md

writes it between two marks of that page; a test says when it is due.

Guarantees: the same commands give the same text, on every terminal and machine.
Must not: be imported by a verb.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from amends.operate.cli.exits import MEANING
from amends.operate.cli.main import cli
from amends.operate.cli.verb import Verb

START = "<!-- generated: what the commands say of themselves -->\n"
END = "<!-- end of what is generated -->\n"
COMMON = ("debug", "as_json", "database", "app", "namespace", "help")


def reference() -> str:
    """Exit codes and every verb, as Markdown."""
    return "\n".join(_parts()) + "\n"


def _parts() -> Iterator[str]:
    yield "\n## Exit codes\n\n| code | meaning |\n|---|---|"
    for code, meaning in MEANING.items():
        yield f"| {int(code)} | {meaning} |"
    context = click.Context(cli, info_name="amends")
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        if command is not None:
            yield from _verb(command, click.Context(command, context, info_name=name))


def _verb(command: click.Command, context: click.Context) -> Iterator[str]:
    path = context.command_path
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from _verb(below, click.Context(below, context, info_name=name))
        return
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    yield f"\n## {path}\n\n{_text(command.help or '')}\n\n```text\n{usage}\n```"
    options = [p for p in command.params if isinstance(p, click.Option) and p.name not in COMMON]
    if options:
        yield "\n| option | |\n|---|---|"
    for option in options:
        record = option.get_help_record(context)
        if record is not None:
            words, text = record
            yield f"| `{_text(words)}` | {_text(text)} |"
    if isinstance(command, Verb) and command.examples:
        yield "\n```text\n" + "\n".join(command.examples) + "\n```"


def _text(text: str) -> str:
    return " ".join(text.partition("\b")[0].split()).replace("|", "\\|")


def main() -> None:
    """Write the part into a page."""
    page = Path(sys.argv[1])
    before, _, rest = page.read_text().partition(START)
    _, _, after = rest.partition(END)
    page.write_text(before + START + reference() + END + after)


if __name__ == "__main__":
    main()
