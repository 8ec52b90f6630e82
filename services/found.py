"""Where the servers' programs are: on this machine, or unpacked into `.services/` by `make services-install`.

Guarantees: a program is the newest one that is there; what is not there is an error that says how to get it.
Must not: install or start anything.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
UNPACKED = ROOT / ".services" / "root"  # the file system of the packages that were unpacked
KAFKA = UNPACKED / "opt" / "kafka"
JAVA = (17, 21)  # what Kafka 3.9 runs on, the better one first: later ones lack what it needs
_BASES = (UNPACKED, Path("/"))  # where to look for what has a fixed place in its package
POSTGRES_OLDEST = 14


class ServiceMissing(Exception):
    """A server's program is not on this machine. The message says what to do."""

    def __init__(self, program: str, package: str) -> None:
        super().__init__(
            f"`{program}` is not on this machine: run `make services-install` (it touches nothing outside the "
            f"checkout), or install the package {package}"
        )
        self.program = program


def postgres_bin() -> Path:
    """The directory with `postgres`, `initdb` and the like, of the newest version that will do."""
    found = dict(_postgres_candidates())
    if not found:
        raise ServiceMissing("postgres", f"postgresql ({POSTGRES_OLDEST} or later)")
    return found[max(found)]


def pgbouncer_program() -> Path:
    """The program `pgbouncer`."""
    return _program("pgbouncer", "pgbouncer")


def nats_program() -> Path:
    """The program `nats-server`."""
    return _program("nats-server", "nats-server")


def redis_program() -> Path:
    """The program `redis-server`."""
    return _program("redis-server", "redis-server")


def rabbitmq_home() -> Path:
    """The directory of RabbitMQ's own code, of the newest version."""
    found = [path for base in _BASES for path in base.glob("usr/lib/rabbitmq/lib/rabbitmq_server-*/plugins")]
    if not found:
        raise ServiceMissing("rabbitmq-server", "rabbitmq-server")
    return max(found, key=lambda path: _numbers(path.parent.name)).parent


def erlang_start() -> Path:
    """The program `erlexec` that starts Erlang, which RabbitMQ is written in."""
    found = [path for base in _BASES for path in base.glob("usr/lib/erlang/erts-*/bin/erlexec")]
    if not found:
        raise ServiceMissing("erl", "erlang-base")
    return max(found, key=lambda path: _numbers(path.parents[1].name))


def java_program() -> Path:
    """The program `java`, of a version that Kafka runs on."""
    for version in JAVA:
        for base in _BASES:
            for place in sorted(base.glob(f"usr/lib/jvm/*-{version}-*/bin/java")):
                if os.access(place, os.X_OK):
                    return place
    on_path = shutil.which("java")
    if on_path:
        told = subprocess.run([on_path, "-version"], capture_output=True, text=True, check=False).stderr
        if _numbers(told)[:1] in [(version,) for version in JAVA]:
            return Path(on_path).resolve()
    raise ServiceMissing("java", f"default-jre-headless (Java {' or '.join(map(str, JAVA))})")


def kafka_jars() -> Path:
    """The directory with what Kafka's broker consists of, of the newest version."""
    found = [path for path in KAFKA.glob("*") if path.suffix != ".new"]
    if not found:
        raise ServiceMissing("kafka", "of Apache Kafka")
    java_program()  # without it they are of no use
    return max(found, key=lambda path: _numbers(path.name))


def library_path(program: Path) -> dict[str, str]:
    """What an unpacked program's environment must say so that it finds the libraries that came with it."""
    root = _unpacked_root(program)
    if root is None:
        return {}
    folders = {path.parent for pattern in ("lib/**/*.so*", "usr/lib/*/*.so*") for path in root.glob(pattern)}
    return {"LD_LIBRARY_PATH": ":".join(sorted(map(str, folders)))}


def _program(name: str, package: str) -> Path:
    places = [UNPACKED / "usr/sbin", UNPACKED / "usr/bin", *map(Path, os.get_exec_path()), Path("/usr/sbin")]
    for place in places:
        if os.access(place / name, os.X_OK):
            return place / name
    raise ServiceMissing(name, package)


def _numbers(version: str) -> tuple[int, ...]:
    """A version to compare with others."""
    return tuple(map(int, re.findall(r"\d+", version)))


def _unpacked_root(program: Path) -> Path | None:
    """The root of the unpacked file system that a program lies in. A copy of it ends in the same two names."""
    for folder in program.parents:
        if (folder.parent.name, folder.name) == (UNPACKED.parent.name, UNPACKED.name):
            return folder
    return None


def _postgres_candidates() -> Iterator[tuple[int, Path]]:
    for base in (UNPACKED / "usr/lib/postgresql", Path("/usr/lib/postgresql")):
        for place in base.glob("*/bin"):
            if re.fullmatch(r"\d+", place.parent.name) and (place / "postgres").exists():
                yield int(place.parent.name), place
    on_path = shutil.which("postgres")
    if on_path:
        place = Path(on_path).resolve().parent
        version = re.search(r"(\d+)", place.parent.name)
        yield (int(version[1]) if version else POSTGRES_OLDEST), place
