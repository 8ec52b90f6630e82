"""`amends explore`: a saga, run through every fault, from the command line.

Guarantees: the same command gives the same runs; a counterexample is told with the command that repeats it.
Must not: open a database or a network.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any, get_args

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from amends.define.saga import Saga
from amends.operate.cli.app import AppError, object_of
from amends.operate.cli.exits import Exit
from amends.operate.cli.inputs import text_of, value_of
from amends.operate.cli.output import emit_json
from amends.operate.cli.quote import quoted
from amends.operate.cli.safe import safe
from amends.operate.cli.verb import Verb, json_option
from amends.testing.exploration import Exploration, Style
from amends.testing.explore_faults import spelled
from amends.testing.explore_report import Found, Report


@click.command(
    "explore",
    cls=Verb,
    help="Run a saga through every single fault, through pairs and more of them within a budget, against a fake of "
    "the outside, and show the first run in which something is wrong, made as small as it can be. The target is an "
    "Exploration, which says what the world and the invariant are; or a saga, whose module's only Exploration is "
    "used, if it has one; or a module with one. What is given here wins. Ends with "
    f"{int(Exit.TROUBLE)} if something is wrong.",
    examples=[
        "amends explore shop:place_order",
        "amends explore shop_laws:order --runs=20000 --seed=7",
        "amends explore shop:place_order --seconds=60",
        "amends explore shop:place_order --fault=charge_card:crash-after-effect",
        "amends explore shop:place_order --fault=charge_card:rejects --fault=undo:reserve_stock:times-out",
        """amends explore shop:place_order '{"sku": "tea"}' --world=shop:FakeShop --invariant=laws:conserved""",
    ],
)
@click.argument("target", metavar="MODULE:NAME")
@click.argument("json", metavar="[JSON]", required=False)
@click.option("--fault", "faults", multiple=True, metavar="FAULT", help="One run, with this fault; may be repeated.")
@click.option("--world", metavar="MODULE:NAME", help="What makes the fake of the outside, called for every run.")
@click.option("--invariant", metavar="MODULE:NAME", help="Your law, called with the world and the outcome.")
@click.option(
    "--runs", type=click.IntRange(1), help="How many runs at most; single faults are all run. [default: 2000]"
)
@click.option("--seconds", type=float, metavar="N", help="For how long at most, instead of so many runs, or besides.")
@click.option("--style", type=click.Choice([*get_args(Style)]), help="Another one than the Exploration says.")
@click.option("--seed", type=int, help="Of what is drawn where there are more. [default: 0]")
@json_option
def explore(
    target: str,
    json: str | None,
    faults: tuple[str, ...],
    world: str | None,
    invariant: str | None,
    runs: int | None,
    seconds: float | None,
    style: Style | None,
    seed: int | None,
    as_json: bool,
) -> int:
    text = None if json is None else text_of(json)
    made = _changed(target, text, world, invariant)
    made = made if style is None else replace(made, style=style)
    with _progress() as told:
        report = made.run(only=", ".join(faults), runs=runs, seconds=seconds, seed=seed, told=told)
    if report.counterexample is not None:
        options = {"world": world, "invariant": invariant, "style": style}
        given = [f"--{name}={value}" for name, value in options.items() if value is not None]
        again = [f"--fault={fault}" for fault in report.counterexample.faults]
        report.command = quoted(["amends", "explore", target, *([] if text is None else [text]), *given, *again])
    if as_json:
        emit_json(_shape(report))
    else:
        click.echo(safe(str(report), lines=True))
    return Exit.OK if report.ok else Exit.TROUBLE


def _changed(target: str, json: str | None, world: str | None, invariant: str | None) -> Exploration:
    """What the target means, with what the command says otherwise. Raises AppError and ValueRefused."""
    made = _exploration(target, json)
    if json is not None:
        made = replace(made, input=value_of(json, made.saga.program.input, f"the input of {made.saga.name}"))
    if world is not None:
        made = replace(made, world=object_of(world))
    if invariant is not None:
        made = replace(made, invariant=_callable(invariant))
    return made


def _exploration(target: str, json: str | None) -> Exploration:
    value = object_of(target)
    if isinstance(value, Exploration):
        return value
    module = target.partition(":")[0]
    members = vars(sys.modules[module])
    fits = {name: one for name, one in members.items() if isinstance(one, Exploration) and name[:1] != "_"}
    if isinstance(value, Saga):
        fits = {name: one for name, one in fits.items() if one.saga is value}
    elif value is not sys.modules[module]:
        raise AppError(f"{target!r} is neither a saga nor an Exploration{_offered(module, fits)}")
    if len({id(one) for one in fits.values()}) == 1:
        return next(iter(fits.values()))
    if fits:
        raise AppError(f"{target!r}: there are several explorations; say which one{_offered(module, fits)}")
    if not isinstance(value, Saga):
        raise AppError(f"{module} has no Exploration; name a saga, such as {module}:place_order")
    if json is None:
        example = quoted(["amends", "explore", target, value.program.input.example()])
        raise AppError(f"{module} has no Exploration of {value.name!r}, so give its input; for example: {example}")
    return Exploration(value, None)


def _offered(module: str, fits: dict[str, Exploration]) -> str:
    return f": {', '.join(f'{module}:{name}' for name in fits)}" if fits else ""


def _callable(name: str) -> Callable[[Any, Any], Any]:
    found = object_of(name)
    if not callable(found):
        raise AppError(f"--invariant={name}: a function of the world and the outcome is expected")
    return found


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None] | None]:
    """A bar, where somebody is looking; it begins with the first word of how far it is."""
    if not sys.stderr.isatty():
        yield None
        return
    columns = (TextColumn("exploring"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    task = bar.add_task("exploring")

    def told(done: int, of: int) -> None:
        bar.start()
        bar.update(task, completed=done, total=of)

    try:
        yield told
    finally:
        bar.stop()


def _shape(report: Report) -> dict[str, object]:
    """The report as JSON data."""
    return {
        "saga": report.saga,
        "ok": report.ok,
        "runs": report.runs,
        "seed": report.seed,
        "singles": report.singles,
        "pairs": report.pairs,
        "pairs_of": report.pairs_of,
        "longer": report.longer,
        "exhaustive": report.exhaustive,
        "outcomes": dict(report.outcomes),
        "kinds": dict(report.kinds),
        "steps": sorted(report.steps),
        "compensations": sorted(report.compensations),
        "unreached": list(report.unreached),
        "unanswered": list(report.unanswered),
        "counterexample": _run(report.counterexample),
        "shown": _run(report.shown),
        "command": report.command,
    }


def _run(found: Found | None) -> dict[str, object] | None:
    return None if found is None else {**asdict(found), "faults": spelled(found.faults), "outcome": str(found.outcome)}
