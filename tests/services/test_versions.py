"""Other versions of PostgreSQL: what is fetched is what was pinned."""

from __future__ import annotations

import hashlib
import io
import platform
import tarfile
import zipfile
from pathlib import Path

import pytest

from services import versions
from services.maven import CannotFetch


def a_jar() -> bytes:
    """An archive as it is published: a compressed tree within."""
    tree, jar = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=tree, mode="w:xz") as files:
        files.addfile(tarfile.TarInfo("bin/postgres"), io.BytesIO())
    with zipfile.ZipFile(jar, "w") as archive:
        archive.writestr("postgres-linux-x86_64.txz", tree.getvalue())
    return jar.getvalue()


def publish(place: Path, number: str, content: bytes) -> None:
    folder = place / "source" / versions._ARTIFACT / number
    folder.mkdir(parents=True)
    (folder / f"{versions._ARTIFACT}-{number}.jar").write_bytes(content)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(versions, "_SOURCE", (tmp_path / "source").as_uri())
    monkeypatch.setattr(versions, "_FOLDER", tmp_path / "here")
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    return tmp_path


def test_a_version_is_unpacked_once(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "VERSIONS", (99,))
    monkeypatch.setattr(versions, "_PINNED", {99: ("99.0.0", hashlib.sha256(a_jar()).hexdigest())})
    publish(place, "99.0.0", a_jar())

    first, second = versions.fetch(), versions.fetch()

    assert (first, second) == (["PostgreSQL 99"], [])
    assert (versions.version_bin(99) / "postgres").exists()


def test_what_is_not_what_was_pinned_is_refused_and_nothing_stays(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "VERSIONS", (99,))
    monkeypatch.setattr(versions, "_PINNED", {99: ("99.0.0", "0" * 64)})
    publish(place, "99.0.0", a_jar())

    with pytest.raises(CannotFetch, match="is not what it was"):
        versions.fetch()

    assert not (place / "here").exists()
