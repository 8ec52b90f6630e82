"""The shape of the tree, held by a ratchet: sizes, headers, and what must not appear.

Guarantees: what is over a limit is named with its place; the list of exceptions is explained
and should stay empty.
Must not: judge style that ruff judges.
"""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULE_LINES, TEST_LINES, FUNCTION_LINES, CLASS_LINES = 400, 600, 60, 300

# path or path:name -> why it may be longer. Kept empty on purpose.
EXCEPTIONS: dict[str, str] = {}

FORBIDDEN_CALLS = {
    "pickle": "decoding must never run code",
    "marshal": "decoding must never run code",
    "shelve": "decoding must never run code",
    "yaml": "no YAML: one frozen settings value",
}
FORBIDDEN_WORDS = re.compile(r"(?<![\w.])/(?:home|root|Users)/\w|\b[Ii]ssue #?[0-9]+\b|TODO|FIXME|XXX")


def tracked(*patterns: str) -> list[Path]:
    """The files that belong to the project, also those that are new."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    return [ROOT / name for name in listed if name and (ROOT / name).is_file()]


def sources() -> list[Path]:
    """Every Python file of the package."""
    return [path for path in tracked("*.py") if "src" in path.parts]


def name_of(path: Path) -> str:
    """A file's name in the project."""
    return str(path.relative_to(ROOT))


def parsed(path: Path) -> ast.Module:
    """A file's syntax tree."""
    return ast.parse(path.read_text(), filename=name_of(path))


def lines_of(node: ast.AST) -> int:
    """How many lines a function or class has, its docstring not counted."""
    end, start = getattr(node, "end_lineno", 0), getattr(node, "lineno", 0)
    body = getattr(node, "body", [])
    first = body[0] if body else None
    documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and first.end_lineno
    return int(end - start + 1 - (first.end_lineno - first.lineno + 1 if documented and first else 0))


def too_long(path: Path) -> Iterator[str]:
    """What in a file is over its limit."""
    limit = TEST_LINES if "tests" in path.parts else MODULE_LINES
    count = path.read_text().count("\n")
    if count > limit and name_of(path) not in EXCEPTIONS:
        yield f"{name_of(path)}: {count} lines, the limit is {limit}"
    for node in ast.walk(parsed(path)):
        most = 0
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            most = FUNCTION_LINES
        elif isinstance(node, ast.ClassDef):
            most = CLASS_LINES
        if most and lines_of(node) > most:
            place = f"{name_of(path)}:{getattr(node, 'name', '')}"
            if place not in EXCEPTIONS:
                yield f"{place}: {lines_of(node)} lines, the limit is {most}"


def test_modules_functions_and_classes_stay_small() -> None:
    found = [line for path in tracked("*.py") for line in too_long(path)]

    assert not found, "\n".join(found)


def test_every_exception_is_still_needed() -> None:
    places = {place.partition(":")[0] for place in EXCEPTIONS}

    assert places <= {name_of(path) for path in tracked("*.py")}


def test_every_module_says_what_it_is_what_it_guarantees_and_what_it_must_not_do() -> None:
    wrong = []
    for path in sources():
        text = ast.get_docstring(parsed(path)) or ""
        if path.name == "__init__.py":
            if not text:
                wrong.append(f"{name_of(path)}: no docstring")
        elif path.name != "__main__.py" and not ("Guarantees" in text and "Must not" in text):
            wrong.append(f"{name_of(path)}: its docstring does not say what it guarantees and must not do")

    assert not wrong, "\n".join(wrong)


def test_no_module_swallows_an_error() -> None:
    wrong = []
    for path in sources():
        for node in ast.walk(parsed(path)):
            if not isinstance(node, ast.ExceptHandler):
                continue
            caught = ast.unparse(node.type) if node.type else ""
            silent = all(isinstance(line, ast.Pass) for line in node.body)
            if not caught or (silent and caught in ("Exception", "BaseException")):
                wrong.append(f"{name_of(path)}:{node.lineno}: except {caught or '(everything)'}: pass")

    assert not wrong, "\n".join(wrong)


def test_nothing_decodes_by_running_code() -> None:
    wrong = []
    for path in sources():
        for node in ast.walk(parsed(path)):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                if name.split(".")[0] in FORBIDDEN_CALLS:
                    wrong.append(f"{name_of(path)}: imports {name}: {FORBIDDEN_CALLS[name.split('.')[0]]}")
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("eval", "exec"):
                wrong.append(f"{name_of(path)}:{node.lineno}: {node.func.id}()")

    assert not wrong, "\n".join(wrong)


def test_no_sql_is_put_together_from_values() -> None:
    """Statements live in files; what varies is a parameter. A pragma takes none, and has a constant."""
    verbs = re.compile(r"^\s*(SELECT|INSERT|UPDATE|DELETE|CREATE|DROP|ALTER)\b")
    wrong = []
    for path in sources():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.JoinedStr):
                first = next((part.value for part in node.values if isinstance(part, ast.Constant)), "")
                if verbs.match(str(first)):
                    wrong.append(f"{name_of(path)}:{node.lineno}: {ast.unparse(node)[:80]}")

    assert not wrong, "\n".join(wrong)


def test_the_project_speaks_of_itself_only() -> None:
    wrong = []
    for path in tracked():
        if path.suffix in (".lock", ".png", ".ico") or path == Path(__file__):
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if FORBIDDEN_WORDS.search(line):
                wrong.append(f"{name_of(path)}:{number}: {line.strip()[:120]}")

    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", ["README.md", "LICENSE", "CHANGELOG.md", "SECURITY.md", "src/amends/py.typed"])
def test_what_a_stranger_looks_for_is_there(name: str) -> None:
    assert (ROOT / name).exists()


def test_a_module_with_a_long_function_is_found(tmp_path: Path) -> None:
    """The check itself can fail."""
    body = "\n".join(f"    x{number} = {number}" for number in range(FUNCTION_LINES + 1))
    tree = ast.parse(f"def f():\n{body}\n")

    assert lines_of(tree.body[0]) > FUNCTION_LINES
