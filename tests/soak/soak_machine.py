"""What a soak ran on: the machine, and the versions of what it used.

Guarantees: what is not there is left out.
Must not: name the machine, or start anything that stays.
"""

from __future__ import annotations

import os
import platform
import re
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from services.found import (
    ServiceMissing,
    erlang_start,
    java_program,
    kafka_jars,
    library_path,
    nats_program,
    pgbouncer_program,
    postgres_bin,
    rabbitmq_home,
    redis_program,
)
from services.kafka_jars import version as kafka_version

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "amends",
    "msgspec",
    "asyncpg",
    "psycopg",
    "SQLAlchemy",
    "aiokafka",
    "aio-pika",
    "nats-py",
    "redis",
    "pytest",
)
NEEDED: tuple[Callable[[], Path], ...] = (
    postgres_bin,
    pgbouncer_program,
    nats_program,
    redis_program,
    rabbitmq_home,
    erlang_start,
    java_program,
    kafka_jars,
)


def facts() -> list[str]:
    """The Markdown."""
    system = f"{platform.system()} {platform.release().partition('-')[0]}"
    gigabytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return [
        f"- {_processor()}, {gigabytes:.0f} GB, {system}, Python {platform.python_version()}",
        "- " + ", ".join([f"SQLite {sqlite3.sqlite_version}", *_servers()]),
        "- " + ", ".join(f"{name} {number}" for name in PACKAGES if (number := _version(name))),
        f"- commit {_commit()}",
    ]


def missing() -> list[str]:
    """What a soak needs and is not there, in the words of who looked for it."""
    found = []
    for find in NEEDED:
        try:
            find()
        except ServiceMissing as error:
            found.append(str(error))
    return found


def _processor() -> str:
    name = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        found = re.search(r"^model name\s*:\s*(.*)$", information.read_text(), re.M)
        name = found[1] if found else name
    return f"{os.cpu_count()} x {name}"


def _servers() -> Iterator[str]:
    programs: dict[str, Callable[[], Path]] = {
        "PostgreSQL": lambda: postgres_bin() / "postgres",
        "PgBouncer": pgbouncer_program,
        "NATS": nats_program,
        "Redis": redis_program,
    }
    for name, find in programs.items():
        try:
            program = find()
            told = {**os.environ, **library_path(program)}
            done = subprocess.run([program, "--version"], env=told, capture_output=True, text=True, check=False)
        except (ServiceMissing, OSError):
            continue
        number = re.search(r"\d+\.[\d.]*\d", done.stdout + done.stderr)
        yield f"{name} {number[0]}" if number else name
    yield f"Kafka {kafka_version()}"
    yield from _rabbitmq()


def _rabbitmq() -> Iterator[str]:
    try:
        number = re.search(r"\d+\.\d+\.\d+", rabbitmq_home().name)
    except ServiceMissing:
        return
    yield f"RabbitMQ {number[0]}" if number else "RabbitMQ"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _commit() -> str:
    """The one that is checked out, and whether it was changed."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    changed = " and changes that are not committed" if git("status", "--porcelain", "--untracked-files=no") else ""
    return (git("rev-parse", "--short", "HEAD") or "unknown") + changed
