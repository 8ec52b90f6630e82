"""The wheel, installed into an empty environment: nothing more than one machine needs, and it works."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SECONDS = 300
FEW = {"amends", "click", "markdown-it-py", "mdurl", "msgspec", "pygments", "rich"}
SAGA = """
import asyncio
from amends import Completed, Orchestrator, Saga, step

@step(readonly=True)
async def look(name: str) -> int:
    return len(name)

measure = Saga("measure", look, input=str, output=look)

async def main() -> None:
    async with Orchestrator("sqlite:///sagas.db", sagas=[measure]) as orchestrator:
        print(await orchestrator.run(measure, "four"))

asyncio.run(main())
"""


def run(*command: str | Path, cwd: Path) -> str:
    """What a command prints; its errors fail the test."""
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree."""
    directory = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", directory, cwd=ROOT)
    return next(directory.glob("amends-*.whl"))


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()

    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"amends"}
    assert "amends/py.typed" in names
    assert any(name.endswith(".sql") for name in names)


def test_installed_clean_it_brings_little_and_runs_a_saga(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel, cwd=tmp_path)

    listed = run(python, "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check", cwd=tmp_path)
    printed = run(python, "-c", SAGA, cwd=tmp_path)
    helped = run(tmp_path / "env" / "bin" / "amends", "--help", cwd=tmp_path)

    assert {line.partition("==")[0].lower() for line in listed.split()} - {"pip", "setuptools"} == FEW
    assert "Completed(result=4" in printed
    assert "worker" in helped
