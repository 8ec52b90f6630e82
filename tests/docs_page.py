"""Runs every block of code of one page of the docs, in order, as a reader would.

    python docs_page.py PAGE

Conventions, written down for authors in docs/README.md:
- `python` blocks share one namespace. With `title="shop.py"` a block is also saved under that
  name first, so that commands and other blocks can use it, and is run as that module.
- `console` blocks are lines `$ command`, run by bash in the page's own directory, and below each
  what it prints: `…` stands for anything. `$ command &` stays in the background until the page ends.
- `no-run="why"` behind the language is for what cannot run here; the reason is printed.
- `postgresql:///orders`, wherever it stands, is a fresh database: AMENDS_DOCS_POSTGRES says which; `nats://localhost`
  is a broker: AMENDS_DOCS_NATS.
- everything else (text, mermaid, json, …) is only checked for being well-formed where that is cheap.

Guarantees: the first block that fails ends the page, with its line number.
Must not: leave a process behind.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tomllib
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMAND_SECONDS = 90
POSTGRES = "postgresql:///orders"  # what pages call a database that is there
NATS = "nats://localhost"  # and a broker
_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>[\w-]*) *(?P<options>[^`\n]*)\n(?P<body>.*?)^(?P=indent)```", re.M | re.S
)


class BlockFailed(AssertionError):
    """A block of a page does not do what the page says."""


@dataclass(frozen=True)
class Block:
    """One fenced block. line: where it begins in the page, counted from 1."""

    language: str
    options: dict[str, str]
    body: str
    line: int


def blocks(text: str) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    for found in _FENCE.finditer(text):
        indent = found["indent"]
        body = "\n".join(line.removeprefix(indent) for line in found["body"].splitlines()) + "\n"
        options = dict(re.findall(r'([\w-]+)="([^"]*)"', found["options"]))
        yield Block(found["language"], options, body, text[: found.start()].count("\n") + 1)


class Page:
    """A page being run, in the current directory."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.namespace: dict[str, Any] = _module("page").__dict__
        self.environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "120", "PYTHONUNBUFFERED": "1"}
        self.environment["PATH"] = f"{Path(sys.executable).parent}:{self.environment['PATH']}"
        self.background: list[subprocess.Popen[bytes]] = []

    def run(self, block: Block) -> None:
        """Do what the block says. Raises BlockFailed."""
        if "no-run" in block.options:
            sys.stdout.write(f"{self.name}:{block.line} not run: {block.options['no-run']}\n")
            return
        match block.language:
            case "python" | "py":
                self._python(block)
            case "console":
                self._console(block)
            case "json":
                json.loads(block.body)
            case "toml":
                tomllib.loads(block.body)
            case "bash" | "sh" | "shell" | "pycon" | "":
                raise BlockFailed(f"{self.name}:{block.line}: say `console`, `text` or another language")

    def _python(self, block: Block) -> None:
        title = block.options.get("title")
        source = "\n" * block.line + block.body
        namespace = self.namespace
        if title:
            Path(title).write_text(block.body)
            module = _module(Path(title).stem)
            module.__file__ = str(Path(title).absolute())
            namespace = module.__dict__
        code = compile(source, f"{self.name} (its line numbers)", "exec", dont_inherit=True)
        exec(code, namespace)  # noqa: S102  # running the docs is the point
        if title:
            self.namespace.update({key: value for key, value in namespace.items() if not key.startswith("__")})

    def _console(self, block: Block) -> None:
        for command, expected, line in _commands(block):
            if command.endswith("&"):
                self._start(command.removesuffix("&").strip())
                continue
            status, printed = self._bash(command)
            if status != 0 and "; echo $?" not in command:
                raise BlockFailed(f"{self.name}:{line}: `{command}` ended with {status}:\n{printed}")
            if expected.strip() and not _matches(expected, printed):
                raise BlockFailed(f"{self.name}:{line}: `{command}` printed\n{printed}\nthe page says\n{expected}")

    def _bash(self, command: str) -> tuple[int, str]:
        change = re.fullmatch(r"export (\w+)=(\S+)", command)
        if change:
            self.environment[change[1]] = change[2].strip("'\"")
            return 0, ""
        done = subprocess.run(
            ["bash", "-c", command],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        return done.returncode, done.stdout + done.stderr

    def _start(self, command: str) -> None:
        log = open(f"background-{len(self.background)}.log", "wb")  # noqa: SIM115  # open as long as the process
        started = subprocess.Popen(
            ["bash", "-c", f"exec {command}"], env=self.environment, stdout=log, stderr=log, start_new_session=True
        )
        self.background.append(started)

    def close(self) -> None:
        """End what was left in the background."""
        for process in self.background:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _module(name: str) -> types.ModuleType:
    """An empty module that can be imported."""
    sys.modules[name] = module = types.ModuleType(name)
    return module


def _commands(block: Block) -> Iterator[tuple[str, str, int]]:
    """Each command of a console block, what should follow it, and its line."""
    parts = re.split(r"^\$ ", block.body, flags=re.M)
    line = block.line + 1 + parts[0].count("\n")
    for part in parts[1:]:
        command, _, expected = part.partition("\n")
        while command.endswith("\\"):
            more, _, expected = expected.partition("\n")
            command = command[:-1] + more.removeprefix("> ")
        yield command.strip(), expected, line
        line += part.count("\n")


def _matches(expected: str, printed: str) -> bool:
    """Whether an output is what a page shows, where `…` stands for anything and blanks do not count."""
    wanted = re.sub(r"(\\ )?…(\\ )?", ".*", re.escape(" ".join(expected.split())))
    return re.search(wanted, " ".join(printed.split()), re.S) is not None


def main(path: Path) -> int:
    """Run a page in the current directory."""
    sys.path.insert(0, os.getcwd())
    page = Page(path.name)
    text = path.read_text().replace(POSTGRES, os.environ.get("AMENDS_DOCS_POSTGRES", POSTGRES))
    text = text.replace(NATS, os.environ.get("AMENDS_DOCS_NATS", NATS))
    try:
        for block in blocks(text):
            page.run(block)
    finally:
        page.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).absolute()))
