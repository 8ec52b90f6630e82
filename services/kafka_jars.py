"""What Apache Kafka's broker consists of: its own artifacts and those that they need, from Maven Central.

It is the closure of `org.apache.kafka:kafka_2.13` at run time, with a logger, less Netty, which only the client of
ZooKeeper needs, and there is none.

Guarantees: every file is what was pinned in `kafka_jars.txt`, by its SHA-256.
Must not: be resolved anew when it is installed.
"""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from services.found import KAFKA
from services.maven import CENTRAL, download

DOWNLOADS_AT_ONCE = 8
_TABLE = Path(__file__).with_suffix(".txt")


def fetch_kafka() -> list[str]:
    """Get Kafka if it is missing. Says what was got; raises CannotFetch."""
    into = KAFKA / version()
    if into.exists():
        return []
    new = into.with_name(f"{into.name}.new")  # all or nothing
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    with ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool:
        list(pool.map(lambda jar: _fetch(*jar, into=new), pinned()))
    new.rename(into)
    return [f"Kafka {version()}"]


def pinned() -> list[tuple[str, str]]:
    """Each artifact, as group:artifact:version, and its SHA-256."""
    lines = [line.split() for line in _TABLE.read_text().splitlines() if not line.startswith("#")]
    return [(name, digest) for digest, name in lines]


def version() -> str:
    """Of Kafka."""
    return next(name for name, _ in pinned() if name.startswith("org.apache.kafka:kafka_")).rpartition(":")[2]


def _fetch(name: str, digest: str, *, into: Path) -> None:
    group, artifact, number = name.split(":")
    url = f"{CENTRAL}/{group.replace('.', '/')}/{artifact}/{number}/{artifact}-{number}.jar"
    (into / f"{artifact}-{number}.jar").write_bytes(download(url, digest, "Kafka"))
