"""`amends demo`: the order system at work, under failures and kills.

Guarantees: leaves no process behind, and no file unless asked to keep them; its exit code is 0 if
and only if every saga ended and the ledger balances.
Must not: touch anything outside its own directory.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol, TypeVar

import click
from rich.console import Console

from amends.operate.demo.finale import ledger, summary, where_next
from amends.operate.demo.live import LiveShow
from amends.operate.demo.plain import PlainShow
from amends.operate.demo.process import WorkerDied
from amends.operate.demo.story import Result, Show, Story, Tempo
from amends.operate.demo.system import Run
from amends.operate.demo.weather import ORDERS_MAX, ORDERS_MIN, SIBLINGS_AMONG, orders_of

ORDERS = 40
INTERRUPTED = 130
T = TypeVar("T", covariant=True)


@click.command()
@click.option(
    "--orders", type=click.IntRange(ORDERS_MIN, ORDERS_MAX), default=ORDERS, show_default=True, help="How many orders."
)
@click.option("--seed", type=int, default=1, show_default=True, help="Which orders meet which trouble.")
@click.option("--speed", type=click.FloatRange(0.1, 100), default=1.0, show_default=True, help="2 is twice as fast.")
@click.option("--fast", is_flag=True, help="No slowness for the eye: for CI.")
@click.option("--plain", is_flag=True, help="Lines instead of a live table; so it is where there is no terminal.")
@click.option("--json", "as_json", is_flag=True, help="Only a summary, as JSON.")
@click.option("--keep", is_flag=True, help="Keep the databases, to look into them afterwards.")
@click.option("--web", is_flag=True, help="Another story: with a dashboard, and parked orders for you to repair.")
@click.option(
    "--minutes", type=click.FloatRange(0.01, 240), default=30, show_default=True, help="With --web: when it ends."
)
@click.option("--port", type=click.IntRange(0, 65_535), default=0, help="With --web: the dashboard's. [default: any]")
def demo(
    orders: int,
    seed: int,
    speed: float,
    fast: bool,
    plain: bool,
    as_json: bool,
    keep: bool,
    web: bool,
    minutes: float,
    port: int,
) -> None:
    """Orders through three services, under failures and kills.

    Cards are declined, goods are sold out, services do their work and never say so, and the worker
    process is killed with kill -9, twice. Every saga ends all the same, and the ledger balances.

    \b
    Examples:
      amends demo
      amends demo --orders 200 --speed 4 --keep
      amends demo --fast --json
      amends demo --web
    """
    directory = Path(tempfile.mkdtemp(prefix="amends-demo-"))
    if web:
        _by_hand(directory, seed, speed, minutes, port, keep=keep)
        return
    run, tempo = _paced(directory, orders, seed, speed, fast=fast)
    console = Console(highlight=False)
    try:
        result = _tell(console, run, tempo, plain=plain or not _live(console), quiet=as_json)
        if as_json:
            click.echo(json.dumps(summary(result, run), indent=2))
        else:
            _end(console, result, run, keep=keep)
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.print("\nStopped. The worker is stopped too.")
        sys.exit(INTERRUPTED)
    except WorkerDied as died:
        raise click.ClickException(str(died)) from None
    finally:
        if not keep:
            shutil.rmtree(directory, ignore_errors=True)
    sys.exit(0 if result.well else 1)


def _by_hand(directory: Path, seed: int, speed: float, minutes: float, port: int, *, keep: bool) -> None:
    """The story in which whoever watches does the mending."""
    missing = [name for name in ("starlette", "uvicorn", "jinja2") if find_spec(name) is None]
    if missing:
        raise click.ClickException(f"the dashboard needs {', '.join(missing)}: pip install 'amends[web]'")
    from amends.operate.demo.by_hand import ByHand, Pace

    pace = Pace(0.25 / speed, 3.0 / speed, minutes * 60)
    count = min(SIBLINGS_AMONG + int(pace.limit / pace.later), ORDERS_MAX)
    run = Run(directory, count, seed, 0.2 / speed, 1.0, by_hand=True)
    click.echo("amends demo: an order system, with a dashboard")
    try:
        asyncio.run(_until_told_to_stop(ByHand(run, pace, port, click.echo)))
        if keep:
            click.echo(f"amends show {run.placed[0].order.id} --database {run.url}")
    except (KeyboardInterrupt, asyncio.CancelledError):
        click.echo("Stopped. The worker is stopped too.")
        sys.exit(INTERRUPTED)
    except WorkerDied as died:
        raise click.ClickException(str(died)) from None
    finally:
        if not keep:
            shutil.rmtree(directory, ignore_errors=True)


def _live(console: Console) -> bool:
    return sys.stdout.isatty() and console.is_terminal and not console.is_dumb_terminal


def _paced(directory: Path, orders: int, seed: int, speed: float, *, fast: bool) -> tuple[Run, Tempo]:
    """How slow everything is. Fast is not instant: there must be something to kill."""
    if fast:
        limit = 90 + orders / 5
        return Run(directory, orders, seed, 0.02, 1.0), Tempo(0.0, 0.03, 0.0, 0.1, limit)
    pace = 1 / speed
    limit = 90 + orders * pace
    return Run(directory, orders, seed, 0.35 * pace, 2.0), Tempo(0.27 * pace, 0.1, pace, 1.5 * pace, limit)


def _tell(console: Console, run: Run, tempo: Tempo, *, plain: bool, quiet: bool) -> Result:
    title = f"amends demo: {run.count} orders through three services, each with its own database"
    if quiet:
        return _story(run, tempo, PlainShow(lambda line: None))
    if plain:
        click.echo(f"{title}\nin {run.directory}")
        return _story(run, tempo, PlainShow(click.echo))
    console.print(f"[bright_black]in {run.directory}")
    with LiveShow(console, title) as show:
        return _story(run, tempo, show)


def _story(run: Run, tempo: Tempo, show: Show) -> Result:
    return asyncio.run(_until_told_to_stop(Story(run, orders_of(run.count, run.seed), tempo, show)))


class _Tells(Protocol[T]):
    """A story of the demo."""

    async def tell(self) -> T: ...


async def _until_told_to_stop(story: _Tells[T]) -> T:
    """SIGTERM and a closed terminal end the demo as Ctrl-C does."""
    task = asyncio.current_task()
    if task is not None:
        for ending in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(ending, task.cancel)
    return await story.tell()


def _end(console: Console, result: Result, run: Run, *, keep: bool) -> None:
    console.print()
    for line in ledger(result):
        console.print(line, soft_wrap=True)
    console.print()
    for line in where_next(result, run, kept=keep):
        console.print(line, soft_wrap=True)
