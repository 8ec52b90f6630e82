"""What the figures were measured on: the machine, the disk, the versions.

Guarantees: the probe of the disk is the very thing a commit waits for.
Must not: name the machine.
"""

from __future__ import annotations

import os
import platform
import sqlite3
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

PACKAGES = ("amends", "msgspec", "dbos", "SQLAlchemy")


def processor() -> str:
    """The processor's name, and how many there are."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    except OSError:
        pass
    return f"{os.cpu_count()} x {name}"


def flush(directory: Path | None, times: int = 200) -> float:
    """The median of overwriting 8 KiB and having it on the disk, in milliseconds."""
    block, took = os.urandom(8192), []
    with tempfile.NamedTemporaryFile(dir=directory) as file:
        file.write(block)
        os.fsync(file.fileno())
        for _ in range(times):
            since = time.perf_counter()
            os.pwrite(file.fileno(), block, 0)
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - since)
    return median(took) * 1e3


def commit(directory: Path | None, journal: str, times: int = 300) -> float:
    """The median of one row in a transaction of its own, `synchronous=FULL`, in milliseconds."""
    took = []
    with tempfile.TemporaryDirectory(dir=directory) as home:
        connection = sqlite3.connect(Path(home) / "probe.db", isolation_level=None)
        connection.execute(f"PRAGMA journal_mode = {journal}")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE probe (id BLOB PRIMARY KEY, row TEXT) WITHOUT ROWID")
        row = "x" * 260
        for number in range(times):
            since = time.perf_counter()
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO probe VALUES (?, ?)", (number.to_bytes(16, "big"), row))
            connection.execute("COMMIT")
            took.append(time.perf_counter() - since)
        connection.close()
    return median(took) * 1e3


def load() -> str:
    """How busy the machine is."""
    return ", ".join(f"{number:.1f}" for number in os.getloadavg())


def lines(directory: Path | None) -> list[str]:
    """The Markdown."""
    system = f"{platform.system()} {platform.release().partition('-')[0]}"
    found = [
        f"- {processor()}, {system}, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}",
        "- " + ", ".join(f"{name} {_version(name)}" for name in PACKAGES),
        f"- overwriting 8 KiB and flushing it: {flush(directory):.2f} ms",
        f"- load average when this began: {load()}",
    ]
    found += [f"- one row in one commit, journal mode {mode}: {commit(directory, mode):.2f} ms" for mode in MODES]
    return found


MODES = ("persist", "wal")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "is not installed"
