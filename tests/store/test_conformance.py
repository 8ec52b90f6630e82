"""Both stores of one machine keep every promise of `amends.store.base`."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from amends.store import sqlite_file
from amends.store.memory import MemoryDatabase, MemoryStore
from amends.store.sqlite import SqliteStore
from amends.testing.store_suite import Connect, StoreSuite


class TestMemory(StoreSuite):
    @pytest.fixture
    def connect(self) -> Connect:
        databases: dict[str, MemoryDatabase] = defaultdict(MemoryDatabase)
        return lambda namespace: MemoryStore(databases[namespace])


class TestSqlite(StoreSuite):
    @pytest.fixture
    def connect(self, tmp_path: Path) -> Connect:
        return lambda namespace: SqliteStore(tmp_path / "sagas.db", namespace)


class TestSqliteInWal(StoreSuite):
    """As on a library without the defect."""

    @pytest.fixture
    def connect(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Connect:
        monkeypatch.setattr(sqlite_file, "library_is_fixed", lambda: True)
        return lambda namespace: SqliteStore(tmp_path / "sagas.db", namespace)
