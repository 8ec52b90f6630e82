"""What the tests of operations share.

Guarantees: no environment of the developer's leaks into a test.
Must not: start anything by itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from shop_floor import Floor


@pytest.fixture
def floor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Floor]:
    """A user's project in an empty directory."""
    for name in list(os.environ):
        if name.startswith("AMENDS_") or name == "DJANGO_SETTINGS_MODULE":
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    made = Floor(tmp_path, capsys)
    try:
        yield made
    finally:
        made.close()
