"""What is unpacked of the servers, and what is fetched of Kafka: links that hold, a Java that will do, pinned files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from services import found, install, kafka_jars
from services.maven import CannotFetch


def a_java(root: Path, name: str) -> Path:
    """A program at the place where a Java of this name is unpacked."""
    program = root / "usr/lib/jvm" / name / "bin/java"
    program.parent.mkdir(parents=True)
    program.touch(mode=0o755)
    return program


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file system of a machine on which nothing is installed; what was unpacked lies in `unpacked` of it."""
    (tmp_path / "unpacked").mkdir()
    monkeypatch.setattr(found, "_BASES", (tmp_path / "unpacked", tmp_path))
    monkeypatch.setattr(found, "UNPACKED", tmp_path / "unpacked")
    monkeypatch.setattr(found, "KAFKA", tmp_path / "unpacked/opt/kafka")
    monkeypatch.setattr(kafka_jars, "KAFKA", tmp_path / "unpacked/opt/kafka")
    monkeypatch.setattr(kafka_jars, "CENTRAL", (tmp_path / "central").as_uri())
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def publish(machine: Path, monkeypatch: pytest.MonkeyPatch, *, pinned: bytes, published: bytes) -> None:
    """A Kafka of one file, as it was pinned and as it is now."""
    table = machine / "jars.txt"
    table.write_text(f"# what there is\n{hashlib.sha256(pinned).hexdigest()}  org.apache.kafka:kafka_2.13:9.9.9\n")
    monkeypatch.setattr(kafka_jars, "_TABLE", table)
    folder = machine / "central/org/apache/kafka/kafka_2.13/9.9.9"
    folder.mkdir(parents=True)
    (folder / "kafka_2.13-9.9.9.jar").write_bytes(published)


def test_links_of_an_unpacked_package_lead_to_what_was_unpacked(tmp_path: Path) -> None:
    kept = tmp_path / "etc/amends-of-no-machine/kept"
    kept.parent.mkdir(parents=True)
    kept.write_text("found")
    for name, target in (("file", "/etc/amends-of-no-machine/kept"), ("folder", "/etc/amends-of-no-machine")):
        (tmp_path / name).symlink_to(target)
    (tmp_path / "there").symlink_to("/proc/self/stat")
    (tmp_path / "nowhere").symlink_to("/etc/amends-of-no-machine/lost")

    install._lead_home(tmp_path)

    assert (tmp_path / "file").read_text() == "found"
    assert (tmp_path / "folder/kept").read_text() == "found"
    assert (tmp_path / "there").readlink() == Path("/proc/self/stat")
    assert not (tmp_path / "nowhere").exists()


def test_the_java_that_is_taken_is_one_that_kafka_runs_on(machine: Path) -> None:
    a_java(machine, "temurin-25-jdk-amd64")
    with pytest.raises(found.ServiceMissing, match=r"Java 17 or 21"):
        found.java_program()

    later = a_java(machine, "java-21-openjdk-amd64")
    assert found.java_program() == later

    best = a_java(machine / "unpacked", "java-17-openjdk-amd64")
    assert found.java_program() == best


def test_kafka_is_fetched_once(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(machine, monkeypatch, pinned=b"code", published=b"code")
    a_java(machine, "java-17-openjdk-amd64")
    with pytest.raises(found.ServiceMissing, match="Kafka"):
        found.kafka_jars()

    first, second = kafka_jars.fetch_kafka(), kafka_jars.fetch_kafka()

    assert (first, second) == (["Kafka 9.9.9"], [])
    assert (found.kafka_jars() / "kafka_2.13-9.9.9.jar").read_bytes() == b"code"


def test_a_kafka_that_is_not_what_was_pinned_is_refused_and_is_not_there(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(machine, monkeypatch, pinned=b"code", published=b"other code")
    a_java(machine, "java-17-openjdk-amd64")

    with pytest.raises(CannotFetch, match="is not what it was"):
        kafka_jars.fetch_kafka()

    with pytest.raises(found.ServiceMissing, match="Kafka"):
        found.kafka_jars()


def test_everything_that_is_pinned_of_kafka_has_a_hash() -> None:
    pinned = kafka_jars.pinned()

    assert len(pinned) == len({name for name, _ in pinned}) > 40
    assert all(len(digest) == 64 and name.count(":") == 2 for name, digest in pinned)


def test_a_newer_kafka_is_taken_and_no_half_fetched_one(machine: Path) -> None:
    a_java(machine, "java-17-openjdk-amd64")
    for name in ("3.9.2", "3.10.0", "4.0.0.new"):
        (machine / "unpacked/opt/kafka" / name).mkdir(parents=True)

    assert found.kafka_jars().name == "3.10.0"
