"""Every benchmark in one go: `make bench`, or `python -m bench`.

Prints the tables, and with `--write` puts them into docs/performance.md, between the marks that
stand there for each.

Guarantees: the page says on what, with which versions and by which command.
Must not: change a word of the page outside the marks.
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

from bench import facts, growth, import_time, neighbours, sleepers, throughput

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"


def sections(options: argparse.Namespace, stack: ExitStack) -> dict[str, Callable[[], list[str]]]:
    """The tables by the name of their mark, in the order in which they are measured."""
    found: dict[str, Callable[[], list[str]]] = {
        "machine": lambda: [*facts.lines(options.dir), f"- command: `{_command()}`"],
    }
    for journal in options.journal:
        found[f"throughput {journal}"] = lambda journal=journal: _throughput(journal, options)  # type: ignore[misc]
    found["import"] = import_time.table
    found["sleepers"] = lambda: sleepers.table(options.sleepers or 100_000, 5_000, options.rounds, options.dir)
    found["neighbours"] = lambda: neighbours.table(options.rounds, 5.0 * options.scale, options.dir)
    ended = options.ended or 200_000
    found["growth"] = lambda: growth.table(ended, options.rounds, 2.0, options.journal[0], options.dir)
    if find_spec("bench.core") is not None:
        found["core"] = _core
    found |= _postgres(options, stack)
    return {name: measure for name, measure in found.items() if wanted(name, options.only)}


def wanted(name: str, only: list[str] | None) -> bool:
    """Whether a table is asked for: by its name, or by the first word of it."""
    return not only or name in only or name.split()[0] in only


def _postgres(options: argparse.Namespace, stack: ExitStack) -> dict[str, Callable[[], list[str]]]:
    """The tables that need PostgreSQL; none, with a word, where it is not on this machine."""
    from bench.postgres.sections import Sections
    from bench.services.sections import Sections as Services
    from services.found import ServiceMissing, postgres_bin

    try:
        postgres_bin()
    except ServiceMissing as error:
        print(f"PostgreSQL is not measured: {error}", file=sys.stderr)
        return {}
    return Sections(options, _command(), stack).all() | Services(options, _command(), stack).all()


def _throughput(journal: str, options: argparse.Namespace) -> list[str]:
    table = throughput.measure(journal, options.rounds, options.scale, options.dir)
    counts = [throughput.counts(journal, in_flight, options.dir) for in_flight in (20, 1)]
    return [*throughput.speeds(table), "", *throughput.verdicts(table), "", *counts[0], "", *counts[1]]


def _core() -> list[str]:
    return throughput.output([sys.executable, "-m", "bench.core"])


def _command() -> str:
    return shlex.join(["python", "-m", "bench", *sys.argv[1:]])


def put(page: str, name: str, lines: list[str]) -> str:
    """The page with a table between its marks. Raises ValueError where the marks are not there."""
    begin, end = f"<!-- figures: {name} -->", "<!-- end -->"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if pattern.search(page) is None:
        raise ValueError(f"{PAGE.name} has no place for {name!r}: {begin} … {end}")
    text = "\n".join([begin, "", *lines, "", end])
    return pattern.sub(lambda _: text, page)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--only",
        action="append",
        help="a table, such as growth or 'postgres growth'; or postgres or services, all of theirs",
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="of the seconds that each window lasts")
    parser.add_argument("--journal", choices=("delete", "persist", "wal"), action="append")
    parser.add_argument("--sleepers", type=int, help="by default 100,000 on SQLite, a million on PostgreSQL")
    parser.add_argument("--ended", type=int, help="sagas that have ended, by default 200,000, or a million")
    parser.add_argument("--broker", action="append", help="of the services' tables, only those over this one")
    parser.add_argument("--dir", type=Path, help="where the files are to be: the disk that counts")
    parser.add_argument("--write", action="store_true", help=f"put the tables into {PAGE.name}")
    options = parser.parse_args()
    options.journal = options.journal or ["persist", "wal"]
    begun = time.monotonic()
    with ExitStack() as stack:
        for name, measure in sections(options, stack).items():
            lines = measure()
            print(f"\n{name}\n\n" + "\n".join(lines), flush=True)
            if options.write:
                PAGE.write_text(put(PAGE.read_text(encoding="utf-8"), name, lines), encoding="utf-8")
    print(f"\n{(time.monotonic() - begun) / 60:.0f} minutes")


if __name__ == "__main__":
    main()
