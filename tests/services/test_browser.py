"""The browser of the tests: which one is taken, and what an unpacked one needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.browser import FONTS, INNER, browser
from services.found import ServiceMissing


def a_file(path: Path, mode: int) -> Path:
    """A file in the file system of a machine."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode)
    return path


def test_an_unpacked_one_is_started_itself_and_knows_its_libraries(tmp_path: Path) -> None:
    root = tmp_path / ".services" / "root"
    program = a_file(root / INNER, 0o755)
    a_file(root / FONTS, 0o644)
    library = a_file(root / "usr/lib/x86_64-linux-gnu/libnss3.so", 0o644)

    found = browser(root)

    assert found.program == program
    assert "FONTCONFIG_SYSROOT" not in found.environment or found.environment["FONTCONFIG_SYSROOT"] == str(root)
    assert "LD_LIBRARY_PATH" not in found.environment or str(library.parent) in found.environment["LD_LIBRARY_PATH"]


def test_the_machines_own_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = a_file(tmp_path / "bin" / "chromium", 0o755)
    monkeypatch.setenv("PATH", str(program.parent))

    assert browser(tmp_path / "nothing") == (program, {})


def test_where_there_is_none_it_is_said_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(ServiceMissing, match="make services-install"):
        browser(tmp_path)
