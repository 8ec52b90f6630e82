"""How bulk operations are shown to a person.

Guarantees: everything has gone through `safe`, and of a result or arguments only that there are some.
Must not: open or ask anything.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

import click
from rich.console import Console

from amends.operate import as_json_bulk as shapes
from amends.operate.bulk import Bulk, BulkLine, BulkOutcome, BulkPlan, BulkResults
from amends.operate.cli.output import print_table, when, word
from amends.operate.cli.place import command_line

EFFECTS_SHOWN = 6
_TONE = {"running": "running", "done": "completed", "paused": "waiting", "cancelled": "dim", "counting": "dim"}


def sagas(count: int) -> str:
    """So many sagas."""
    return f"{count:,} saga{'' if count == 1 else 's'}"


def what(bulk: Bulk) -> str:
    """What is done, in a line: `retry charge_card`."""
    more = [bulk.step, f"to {bulk.text}" if bulk.verb == "assign" and bulk.text else ""]
    more += ["with a result" if bulk.act.result is not None else ""]
    more += ["with changed arguments" if bulk.act.arguments is not None else ""]
    return " ".join(part for part in (bulk.verb, *more) if part)


def progress(bulk: Bulk) -> str:
    """How far it is, in a line."""
    parts = [f"{bulk.done:,} accepted", f"{bulk.refused:,} refused", f"{bulk.failed:,} without an answer"]
    left = [f"{bulk.left:,} to come"] if bulk.left else []
    return f"{bulk.state}: of {bulk.total:,}, {', '.join(parts + left)}"


def print_plan(out: Console, plan: BulkPlan) -> None:
    """A dry run."""
    act = f"{plan.verb} {plan.step}".strip()
    more = "more than " if plan.more else ""
    out.print(word(f"Dry run: {act} for {more}{sagas(plan.total)}; nothing was done.", "person"))
    if plan.previewed < plan.total:
        out.print(word(f"What would come of it, for the newest {plan.previewed:,}:", ""))
    for outcome in plan.outcomes:
        for line in _outcome(outcome):
            out.print(line)


def _outcome(outcome: BulkOutcome) -> Iterator[object]:
    about = f"{sagas(outcome.count)}, such as {outcome.example}"
    if not outcome.accepted:
        yield word(f"  refused     {about}: {outcome.why}", "bad")
        return
    then = f"; then it is {outcome.status_after}" if outcome.status_after else ""
    yield word(f"  accepted    {about}{then}", "good")
    for effect in outcome.effects[:EFFECTS_SHOWN]:
        yield word(f"              {effect.what}", "")
    if len(outcome.effects) > EFFECTS_SHOWN:
        yield word(f"              … and {len(outcome.effects) - EFFECTS_SHOWN} more", "dim")


def print_bulk(out: Console, bulk: Bulk, log: Sequence[BulkLine], refused: BulkResults, options: list[str]) -> None:
    """One bulk operation, and what may be done with it."""
    out.print(word(f"{bulk.id}: {what(bulk)}, for {sagas(bulk.total)}", ""))
    out.print(word(f"  {progress(bulk)}", _TONE[bulk.state]))
    pace = f"{bulk.act.per_second:g} a second, {'somebody works at it' if bulk.runner else 'nobody works at it'}"
    rows = [
        ("by", f"{bulk.actor}{': ' if bulk.reason else ''}{bulk.reason}"),
        ("pace", pace if bulk.state in ("running", "counting") else f"{bulk.act.per_second:g} a second"),
        ("sagas", _search(bulk)),
        ("version", str(bulk.version)),
    ]
    for name, text in rows:
        out.print(word(f"  {name:<8} {text}", ""))
    for line in log:
        why = f": {line.reason}" if line.reason else ""
        out.print(word(f"  {when(line.at)}  {line.move} by {line.actor}{why}", "dim"))
    for result in refused.lines:
        out.print(word(f"  {result.saga}: {result.word}: {result.detail}", "bad"))
    for command in next_commands(bulk, options, more=refused.more):
        click.echo(f"  {command}")


def _search(bulk: Bulk) -> str:
    wanted = shapes.search(bulk.search)
    if wanted is None:
        return "named one by one"
    given = (f"{name}={','.join(map(str, text)) if isinstance(text, list) else text}" for name, text in wanted.items())
    return "; ".join(given) or "all that are open"


def next_commands(bulk: Bulk, options: list[str], *, more: bool = False) -> Iterator[str]:
    """What may be done now, to paste."""
    seen = [*options, f"--if-version={bulk.version}"]
    if bulk.state == "running":
        yield command_line("bulk", "pause", options=seen, positional=[bulk.id])
        if not bulk.runner:
            yield command_line("bulk", "run", options=options, positional=[bulk.id])
    if bulk.state == "paused":
        yield command_line("bulk", "resume", options=seen, positional=[bulk.id])
    if bulk.state in ("running", "paused"):
        yield command_line("bulk", "cancel", options=seen, positional=[bulk.id])
    if more:
        yield command_line("bulk", "results", options=options, positional=[bulk.id])


def print_results(out: Console, found: BulkResults) -> None:
    """What became of some sagas."""
    rows = [
        (
            str(line.n),
            line.saga,
            word(line.word or "to come", "good" if line.word == "accepted" else "bad" if line.word else "dim"),
            when(line.at),
            line.detail,
        )
        for line in found.lines
    ]
    print_table(out, ("n", "saga", "result", "at (UTC)", "what was said"), rows)


class Progress:
    """How far it is, on one line of a person's terminal."""

    def __init__(self, *, quiet: bool) -> None:
        self._shown = sys.stderr.isatty() and not quiet

    def told(self, bulk: Bulk) -> None:
        """One more batch is done."""
        if self._shown:
            click.echo(f"\r\x1b[K{progress(bulk)} …", nl=False, err=True)

    def clear(self) -> None:
        """It is over."""
        if self._shown:
            click.echo("\r\x1b[K", nl=False, err=True)
