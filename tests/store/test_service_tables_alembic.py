"""A service's tables as a revision of a user's own migrations, with Alembic itself."""

from __future__ import annotations

import asyncio
import io
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import Operations

from amends.alembic import SERVICE_SCHEMA, create_service_tables
from amends.run.effects import upgrade_inbox
from amends.store import effects
from amends.store.effects_postgres import CODE_VERSION

ENVIRONMENT = """
from alembic import context
from sqlalchemy import create_engine

url = context.config.get_main_option("sqlalchemy.url")
if context.is_offline_mode():
    context.configure(url=url)
    with context.begin_transaction():
        context.run_migrations()
else:
    engine = create_engine(url)
    with engine.begin() as connection:
        context.configure(connection=connection)
        context.run_migrations()
    engine.dispose()
"""
REVISION = """
from alembic import op

from amends.alembic import create_service_tables, drop_service_tables

revision = "a1"
down_revision = None


def upgrade() -> None:
    create_service_tables(op)


def downgrade() -> None:
    drop_service_tables(op)
"""


@pytest.fixture
def project(tmp_path: Path) -> Any:
    """A user's project with one revision; called with a URL it gives its configuration."""
    (tmp_path / "versions").mkdir()
    (tmp_path / "env.py").write_text(ENVIRONMENT)
    (tmp_path / "versions" / "a1_service.py").write_text(REVISION)

    def configured(url: str) -> Config:
        config = Config(output_buffer=io.StringIO())
        config.set_main_option("script_location", str(tmp_path))
        config.set_main_option("path_separator", "os")
        config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
        return config

    return configured


def columns(url: str) -> list[Any]:
    """All columns of the service's tables on PostgreSQL."""
    question = (
        "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns "
        "WHERE table_schema = 'amends' ORDER BY 1, 2"
    )
    with psycopg.connect(url) as connection:
        return connection.execute(question).fetchall()


def test_a_revision_makes_on_postgresql_what_migrating_makes_and_takes_it_away(
    project: Any, postgres_databases: Any
) -> None:
    mine, theirs = postgres_databases.create(), postgres_databases.create()
    config = project(mine.replace("postgresql:", "postgresql+psycopg:"))
    command.upgrade(config, "head")
    assert asyncio.run(upgrade_inbox(theirs)) == list(range(1, CODE_VERSION + 1))

    assert columns(mine) == columns(theirs)
    assert asyncio.run(upgrade_inbox(mine)) == []  # it is found there
    command.downgrade(config, "base")
    assert columns(mine) == []


def test_a_revision_makes_on_sqlite_what_opening_makes(project: Any, tmp_path: Path) -> None:
    command.upgrade(project(f"sqlite:///{tmp_path}/mine.db"), "head")
    effects.connect(tmp_path / "theirs.db").close()

    def tables(name: str) -> list[Any]:
        with closing(sqlite3.connect(tmp_path / name)) as connection:
            rows = connection.execute("SELECT name FROM sqlite_master WHERE name LIKE 'amends%' ORDER BY name")
            listed = [row[0] for row in rows]
            return [(one, connection.execute(f"PRAGMA table_info({one})").fetchall()) for one in listed]

    assert [name for name, _ in tables("mine.db")] == [name for name, _ in tables("theirs.db")]
    shown = [[column[1:3] for column in found] for _, found in tables("mine.db")]
    assert shown == [[column[1:3] for column in found] for _, found in tables("theirs.db")]
    effects.connect(tmp_path / "mine.db").close()  # it is found there


def test_a_revision_is_shown_as_sql_without_a_database(project: Any) -> None:
    config = project("postgresql+psycopg://nobody@nowhere/nothing")

    command.upgrade(config, "head", sql=True)

    said = config.output_buffer.getvalue()
    assert "CREATE TABLE amends.outbox" in said
    assert "--" not in said.split("CREATE TABLE amends.inbox_version", 1)[1].split("CREATE TABLE alembic_version")[0]


def test_a_revision_goes_from_one_version_to_another(tmp_path: Path) -> None:
    buffer = io.StringIO()
    offline = {"as_sql": True, "output_buffer": buffer}
    op = Operations(MigrationContext.configure(dialect_name="postgresql", opts=offline))

    create_service_tables(op, since=1, to=SERVICE_SCHEMA)

    assert "CREATE TABLE amends.inbox (" not in buffer.getvalue()
    assert "CREATE TABLE amends.outbox (" in buffer.getvalue()
