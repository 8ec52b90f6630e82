"""The table of verbs, and the group that imports one only when it is called for.

Guarantees: listing the verbs imports none of them; a verb whose module is missing is not there.
Must not: import anything but Click.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import NamedTuple

import click


class Entry(NamedTuple):
    """One verb: where its command is, and what it does in a line."""

    place: str
    summary: str


VERBS: dict[str, Entry] = {
    "demo": Entry("amends.operate.cli.demo:demo", "See an order system at work: failures, amends, a killed worker."),
    "run": Entry("amends.operate.cli.run:run", "Start a saga, watch it, and wait for its end."),
    "worker": Entry("amends.operate.cli.worker:worker", "Run sagas until told to stop."),
    "start": Entry("amends.operate.cli.start:start", "Start a saga for a worker to run, and print its id."),
    "list": Entry("amends.operate.cli.reading:list_", "List sagas, newest first."),
    "show": Entry("amends.operate.cli.show:show", "Show one saga: where it stands, what happened, what to do."),
    "stuck": Entry("amends.operate.cli.reading:stuck", "List the sagas that wait for somebody, and why."),
    "alert": Entry("amends.operate.cli.alert:alert", "Tell a webhook when the set of stuck sagas changes."),
    "workers": Entry("amends.operate.cli.workers:workers", "List the workers, and what they run and own."),
    "signal": Entry("amends.operate.cli.acts:signal", "Send a value that a saga waits for."),
    "cancel": Entry("amends.operate.cli.acts:cancel", "Have a saga go back, if it has not passed its pivot."),
    "retry": Entry("amends.operate.cli.acts:retry", "Have a stuck step, or its undo, tried again."),
    "skip": Entry("amends.operate.cli.acts:skip", "Settle a step, or its undo, as it is."),
    "resolve": Entry("amends.operate.cli.acts:resolve", "Say that a step, or its undo, was done by hand."),
    "compensate": Entry("amends.operate.cli.acts:compensate", "Have a saga go back and undo what it did."),
    "unpark": Entry("amends.operate.cli.acts:unpark", "Have everything stuck in a parked saga tried again."),
    "assign": Entry("amends.operate.cli.acts:assign", "Say who sees to a saga."),
    "note": Entry("amends.operate.cli.acts:note", "Leave a note for whoever looks at a saga next."),
    "bulk": Entry("amends.operate.cli.bulk:bulk", "Do one act on all sagas that fit, tracked."),
    "graph": Entry("amends.operate.cli.graph:graph", "Draw a saga's flow."),
    "explore": Entry("amends.testing.explore_verb:explore", "Run a saga through every fault, against a fake world."),
    "contracts": Entry("amends.operate.cli.contracts:contracts", "Show what services can be asked for and tell."),
    "outbox": Entry("amends.operate.cli.outbox:outbox", "Look after the events that a service publishes."),
    "dashboard": Entry("amends.operate.cli.dashboard:dashboard", "Serve the dashboard and the HTTP API."),
    "db": Entry("amends.operate.cli.db:db", "Look after the database's schema."),
    "doctor": Entry("amends.operate.cli.doctor:doctor", "Check the database, the workers and what they leave alone."),
    "prune": Entry("amends.operate.cli.prune:prune", "Forget sagas that ended long ago."),
}


class Gone(Exception):
    """Whoever read the output has gone."""


class Verbs(click.Group):
    """The group of all verbs."""

    def invoke(self, ctx: click.Context) -> object:
        """Run a verb. Raises Gone; Click would end the process here for a broken pipe."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise Gone from None

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name, entry in VERBS.items() if name != "demo" or _is_there(entry)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = VERBS.get(cmd_name)
        if entry is None or (cmd_name == "demo" and not _is_there(entry)):
            return None
        module, _, name = entry.place.partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, VERBS[name].summary) for name in self.list_commands(ctx)])


def _is_there(entry: Entry) -> bool:
    return find_spec(entry.place.partition(":")[0]) is not None
