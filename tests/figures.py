"""The figures on the page about the tests: counted in the tree, written into the page.

    python tests/figures.py                  print them
    python tests/figures.py --write          put them into docs/how-it-is-tested.md
    python tests/figures.py --write --run    also those that take a minute

What can be counted by reading files is in the first block of the page, and a test sees to it that it is not out of
date; what has to be run for (pytest's collection, the models) is in the second.

Guarantees: a figure is counted, never typed.
Must not: import the tests, but for what it runs in processes of their own.
"""

from __future__ import annotations

import argparse
import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/how-it-is-tested.md"
SUITES = ("store_suite", "transport_suite")
AREAS = {
    "tests/decide": "the pure core, by rule, by state machine, by model",
    "tests/define": "the definition language, every mistake by its message",
    "tests/store": "stores: SQLite, PostgreSQL, their trouble, transactions of users",
    "tests/run": "the engine, participants, choreography, web, transactions",
    "tests/transport": "Kafka, RabbitMQ, NATS, Redis, within a process",
    "tests/operate": "the command line, people's acts, the demo",
    "tests/browser": "the dashboard's pages, in Chromium",
    "tests/observe": "what observers are told: events, metrics, traces, logs",
    "tests/protocol": "the wire: schemas, vectors, a service in JavaScript",
    "tests/testing": "what is shipped for users' tests: sandbox, explore, simulation",
    "tests/chaos": "real processes under random faults, and their checkers",
    "tests/mutants": "wrong engines, each caught by a test of the suite",
    "tests/fuzz": "the fuzzer and its corpus",
    "tests/security": "what an attacker may try",
    "tests/services": "the servers that tests start",
    "tests/examples": "every example",
    "tests/typing": "what type checkers accept and refuse",
    "tests/soak": "the soak itself",
}
MODELS = {
    "the model of the barrier": "tests/decide/barrier_model_scopes.py",
    "the joined model": "tests/decide/joined_model.py",
    "the model of the hop": "tests/decide/hop_model.py",
}
Row = tuple[str, int]


def main() -> int:
    """Print the figures, or write them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="put them into the page")
    parser.add_argument("--run", action="store_true", help="also those that something has to be run for")
    given = parser.parse_args()
    blocks = {"counted": table(counted()), "areas": areas()}
    if given.run:
        blocks["run"] = table(run())
    if given.write:
        PAGE.write_text(placed(PAGE.read_text(), blocks))
    sys.stdout.write("\n\n".join(blocks.values()) + "\n")
    return 0


def placed(page: str, blocks: dict[str, str]) -> str:
    """A page with its blocks as they are now."""
    for name, text in blocks.items():
        begins, ends = f"<!-- figures: {name} -->\n", "<!-- end -->"
        before, begun, rest = page.partition(begins)
        _, ended, after = rest.partition(ends)
        if not begun or not ended or begins in after:
            raise SystemExit(f"{PAGE.name} has not one place for {name}")
        page = f"{before}{begins}\n{text}\n\n{ends}{after}"
    return page


def table(rows: Iterator[Row]) -> str:
    """Markdown."""
    return "\n".join(["| | |", "|---|---:|", *(f"| {what} | {number:,} |" for what, number in rows)])


def counted() -> Iterator[Row]:
    """What reading the files is enough for."""
    source = [path for path in python("src") if not {"testing"} & set(path.parts)]
    tools, tests = python("src/amends/testing"), python("tests")
    lines = {"source": lines_of(source), "tests": lines_of(tests)}
    yield "lines of code that run in production", lines["source"]
    yield "lines of what is shipped for tests: sandbox, explore, simulation, suites", lines_of(tools)
    yield "lines of tests", lines["tests"]
    yield (
        "lines of tests and of what is shipped for them, for 100 lines of code",
        round(100 * (lines["tests"] + lines_of(tools)) / lines["source"]),
    )
    yield "test functions, each named for the rule that it proves", sum(map(tests_in, (*tests, *tools)))
    yield "of these, what every store must do, run over each store", suite("store_suite")
    yield "of these, what every transport must do, run over each broker", suite("transport_suite")
    yield "tests of the seven promises by name", tests_in(ROOT / "tests/test_promises.py")
    yield from counted_faults()
    yield from counted_wrong()
    yield from counted_docs()


def counted_faults() -> Iterator[Row]:
    """What befalls sagas."""
    yield (
        "kinds of real servers that tests start, kill and wipe",
        2 + len(entries("services/up.py", "BROKERS")),
    )  # SQL's
    yield "fault points compiled into the product", len(entries("src/amends/fault.py", "POINTS"))
    yield "kinds of faults in chaos on a file", len(set(entries("tests/chaos/chaos_faults.py", "FAULTS"))) + 1  # poison
    yield "kinds of faults in chaos on PostgreSQL", len(set(entries("tests/chaos/fleet_faults.py", "FAULTS"))) + 1
    both = set(entries("tests/chaos/services_faults.py", "ON_ANY_STYLE"))
    for style in ("orchestrated", "choreographed"):
        yield f"kinds of faults in chaos of services, {style}", len(both | set(styled(style)))
    yield "kinds of what befalls a message on its way", len(rates())
    seeds = re.search(r"^SEEDS \?= 0:(\d+)", (ROOT / "Makefile").read_text(), re.M)
    yield "seeds of the simulation in `make test`", int(seeds[1]) if seeds else 0


def counted_wrong() -> Iterator[Row]:
    """What is made wrong on purpose, and must be found."""
    yield "wrong engines that the simulation must catch", decorated("tests/testing/mutants.py", "mutant")
    wrong = [path for path in python("tests/mutants") if path.name.startswith("wrong")]
    if wrong:
        yield (
            "wrong engines, of twenty kinds, that tests of the suite must catch",
            sum(decorated(str(path.relative_to(ROOT)), "wrong") for path in wrong),
        )
    rules = (ROOT / "tests/decide/barrier_model_mutants.py").read_text()
    yield "participants with a rule of the barrier taken away", len(re.findall(r"^[A-Z_]+ = ", rules, re.M))
    fails = (ROOT / "tests/transport/test_transport_suite_fails.py").read_text()
    yield "transports that break a promise, and must fail the suite", len(re.findall(r"^class \w+\(", fails, re.M))
    misuses = (ROOT / "tests/typing/misuses.py").read_text()
    yield "misuses that both type checkers must refuse", misuses.count("# misuse: ")


def counted_docs() -> Iterator[Row]:
    """What the docs hold that is executed, and what the track record names."""
    from docs_page import blocks

    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    found = [block for page in pages for block in blocks(page.read_text()) if "no-run" not in block.options]
    yield "blocks of Python in the docs, executed", sum(block.language == "python" for block in found)
    yield (
        "commands in the docs, executed, their output compared",
        sum(block.body.count("\n$ ") + block.body.startswith("$ ") for block in found if block.language == "console"),
    )
    yield "bugs in the track record, each with its reproducer", len(track_record())


def areas() -> str:
    """How many tests there are of what."""
    rows = [f"| {what} | {sum(map(tests_in, python(where))):,} |" for where, what in AREAS.items()]
    return "\n".join(["| tests of | functions |", "|---|---:|", *rows])


def run() -> Iterator[Row]:
    """What takes a minute."""
    told = ran("-m", "pytest", "--collect-only", "-p", "no:cacheprovider", "tests")
    collected = re.search(r"^(\d+) tests collected", told, re.M)
    if collected is None:
        raise SystemExit(f"pytest collects nothing: {told[-500:]}")
    yield "tests that pytest collects, with their parameters", int(collected[1])
    code = "import sys; sys.path[:0] = ['tests/run']; from lease_model import explore; print(explore()[0])"
    yield "worlds of the model of ownership", int(ran("-c", code))
    for what, program in MODELS.items():
        worlds = re.findall(r"([\d,]+) worlds", ran(program))
        yield f"worlds of {what}", sum(int(number.replace(",", "")) for number in worlds)


def ran(*words: str) -> str:
    """What a command prints."""
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout


# Reading


def python(where: str) -> list[Path]:
    """The Python files of a folder."""
    return sorted(path for path in (ROOT / where).rglob("*.py") if "__pycache__" not in path.parts)


def lines_of(paths: list[Path]) -> int:
    """Lines that are not empty."""
    return sum(bool(line.strip()) for path in paths for line in path.read_text().splitlines())


def tests_in(path: Path) -> int:
    """Functions of a file that are tests."""
    return len(re.findall(r"^ *(?:async )?def test_\w+", path.read_text(), re.M))


def suite(name: str) -> int:
    """Rules of a suite that is shipped."""
    return sum(map(tests_in, python(f"src/amends/testing/{name}")))


def value_of(path: str, name: str) -> ast.expr:
    """What is assigned to a name in a file."""
    for node in ast.parse((ROOT / path).read_text()).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            value = getattr(node, "value", None)
            assert isinstance(value, ast.expr)
            return value
    raise SystemExit(f"{path} has no {name}")


def entries(path: str, name: str) -> list[str]:
    """The elements of a tuple, or the keys of a dict, as they are written."""
    value = value_of(path, name)
    if isinstance(value, ast.Dict):
        return [ast.unparse(key) for key in value.keys if key is not None]
    assert isinstance(value, (ast.Tuple, ast.List))
    return [ast.unparse(element) for element in value.elts if not isinstance(element, ast.Starred)]


def styled(style: str) -> list[str]:
    """The faults of services that one style has beside the others."""
    value = value_of("tests/chaos/services_faults.py", "FAULTS")
    assert isinstance(value, ast.Dict)
    for key, found in zip(value.keys, value.values, strict=True):
        if isinstance(key, ast.Constant) and key.value == style and isinstance(found, ast.Tuple):
            return [ast.unparse(element) for element in found.elts if not isinstance(element, ast.Starred)]
    raise SystemExit(f"no faults of the style {style}")


def rates() -> list[str]:
    """What may befall a message, each with a rate."""
    text = (ROOT / "src/amends/testing/unreliable_rates.py").read_text()
    return [name for name in re.findall(r"^    (\w+): float = 0\.0$", text, re.M) if not name.endswith("_seconds")]


def decorated(path: str, name: str) -> int:
    """Functions with a decorator."""
    return len(re.findall(rf"^@{name}\b", (ROOT / path).read_text(), re.M))


def track_record() -> list[tuple[str, str]]:
    """Rows of the page's tables on bugs: what was wrong, and the reproducer's cell."""
    part = PAGE.read_text().partition("## The track record")[2]
    return re.findall(r"^\| ([^|]+) \| [^|]+ \| (`[^|`]+::[^|`]+`) \|$", part, re.M)


if __name__ == "__main__":
    sys.exit(main())
