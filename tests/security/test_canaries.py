"""F59, X1: whatever stands in a column, a message, a payload or an argument, nothing of it is ever run.

Each canary would make a file if some decoder believed it. What comes back is plain data, or an error of amends.
"""

from __future__ import annotations

import base64
import json
import pickle
import shutil
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from goods import KINDS
from security_scene import asks, done, jobs, on, settled
from shop_floor import Floor

from amends.define.values import codec_for
from amends.errors import AmendsError, ValueRefused
from amends.operate.bulk_values import BulkAct
from amends.operate.operations import operations
from amends.run.database import sqlite_path


class Canary:
    """What sings when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def canaries(path: Path) -> list[bytes]:
    """Texts and bytes that would touch a file, for the decoders that are known to do so."""
    touch = f"__import__('pathlib').Path({str(path)!r}).touch()"
    pickled = pickle.dumps(Canary(path))
    calls: list[object] = [
        {"lc": 1, "type": "constructor", "id": ["pathlib", "Path", "touch"], "kwargs": {"self": str(path)}},
        {"__class__": "pathlib.Path", "__init__": [str(path)], "__call__": "touch"},
        {"py/object": "pathlib.PosixPath", "py/reduce": [{"py/function": "pathlib.Path.touch"}, [str(path)]]},
        {"py/reduce": [{"py/type": "builtins.eval"}, {"py/tuple": [touch]}]},
        {"$type": "System.Diagnostics.Process", "$": touch},
        {"@type": "pathlib.Path", "args": [str(path)]},
        {"__reduce__": ["builtins.eval", [touch]], "__pickle__": base64.b64encode(pickled).decode()},
        base64.b64encode(pickled).decode(),
        touch,
    ]
    yaml = f"!!python/object/apply:builtins.eval [{touch!r}]"
    return [*(json.dumps(call).encode() for call in calls), yaml.encode(), pickled, b'"\\ud800"', b'"\\u0000"', b"\xff"]


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """The file that must not appear."""
    path = tmp_path / "sings"
    yield path
    assert not path.exists(), "something was run"


def test_the_canaries_sing_where_they_are_believed(tmp_path: Path) -> None:
    path = tmp_path / "sings"

    pickle.loads(pickle.dumps(Canary(path)))  # noqa: S301  # that is the point

    assert path.exists()


@pytest.mark.parametrize("name", KINDS)
def test_a_payload_is_plain_data_or_refused(canary: Path, name: str) -> None:
    codec: Any = codec_for(KINDS[name][0], name)

    for data in canaries(canary):
        try:
            value = codec.decode(data)
        except ValueRefused:
            continue
        assert "Canary" not in type(value).__name__
        assert type(value).__module__.partition(".")[0] not in ("pathlib", "subprocess", "os")


# In every column that a decoder reads

COLUMNS = {
    "amends_journal": ("row",),
    "amends_mail": ("body", "kind", "message", "answer", "detail"),
    "amends_plan": ("body", "fingerprint", "name"),
    "amends_saga": (
        *("key", "status", "stuck", "reason", "stalled", "parent", "waiting", "input_hash"),
        *("assigned", "note", "fingerprint", "step"),
    ),
    "amends_worker": ("plans", "host"),
    "amends_token_key": ("name", "secret"),
    "amends_namespace": ("name",),
    "amends_bulk": ("key", "state", "body", "runner"),
    "amends_bulk_target": ("saga", "word", "detail"),
    "amends_bulk_log": ("line",),
}
BLOBS = ("input_hash", "secret")
NUMBERS = {
    "id",
    "ns",
    "seq",
    "saga",
    "plan",
    "op",
    "pid",
    "epoch",
    "owner",
    "number",
    "taken",
    "survived",
    "version",
    "floor",
    *("bulk", "n", "total", "done", "refused", "failed", "at", "lease_until"),
}


def test_the_columns_are_all_there_are(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/sagas.db"
    done(settled(url, "default"))

    with closing(sqlite3.connect(sqlite_path(url))) as file:
        tables = [name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found = {name: {row[1] for row in file.execute(f"PRAGMA table_info({name})")} for name in tables}

    for table, columns in COLUMNS.items():
        times = {column for column in found[table] if column.endswith("_at")}
        assert found[table] - NUMBERS - times == set(columns) - NUMBERS, table


@pytest.mark.parametrize("table", COLUMNS)
def test_a_canary_in_a_column_is_shown_or_refused_and_the_others_are_there(
    tmp_path: Path, canary: Path, table: str
) -> None:
    done(_whole(f"sqlite:///{tmp_path}/whole.db"))
    songs = canaries(canary)
    where = "1" if table.startswith("amends_bulk") else "rowid = 1"

    for column in COLUMNS[table]:
        for number, song in enumerate(songs[-4:-3] if column in BLOBS else (songs[0], songs[2], songs[-5])):
            path = tmp_path / f"{column}-{number}.db"
            shutil.copy(tmp_path / "whole.db", path)
            with closing(sqlite3.connect(path)) as file:
                text: object = song if column in BLOBS else song.decode()
                try:
                    file.execute(f"UPDATE {table} SET {column} = ? WHERE {where}", (text,))  # noqa: S608  # a name above
                except sqlite3.Error:
                    continue  # there is none, or the table keeps it out
                file.commit()
            done(_looked_at(f"sqlite:///{path}"))


async def _whole(url: str) -> None:
    """Something in every table."""
    await settled(url, "default")
    async with operations(url, answer_seconds=0.2) as found:
        await found.bulk_start(BulkAct("note", "ann", text="seen"), KEYS, id="bulk", paused=True)


async def _looked_at(url: str) -> None:
    """Everything that reads: a client's operations, then a worker."""
    try:
        async with operations(url, answer_seconds=0.2) as found:
            shows: list[Callable[[], Awaitable[Any]]] = [partial(found.show, key) for key in KEYS]
            bulk = [partial(read, "bulk") for read in (found.bulk, found.bulk_results, found.bulk_log)]
            acts: list[Callable[[], Awaitable[Any]]] = [
                found.find,
                found.stuck,
                found.doctor,
                *shows,
                found.bulks,
                *bulk,
            ]
            for act in acts:
                try:
                    await act()
                except AmendsError:
                    continue
        async with on(url, "default", jobs, asks) as orchestrator:
            await orchestrator.session.store.count()
    except AmendsError:
        return


KEYS = ("ended", "parked", "waits")


# In every argument


@pytest.fixture
def floor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Floor]:
    """A user's project in an empty directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AMENDS_DATABASE", raising=False)
    made = Floor(tmp_path, capsys)
    yield made
    made.close()


def test_an_argument_is_plain_data_or_refused(floor: Floor, canary: Path) -> None:
    database = "--database=sqlite:///orders.db"
    floor.ok("run", "shop:place_order", '{"sku": "tea"}', "--id=one")
    texts = [song.decode("latin-1") for song in canaries(canary) if b"\x00" not in song]

    for text in texts:
        assert floor.amends("run", "shop:place_order", "--id=two", "--", text).code == 2
        assert floor.amends("start", f"--app=shop:{text}", "place-order", "{}").code == 2
        assert floor.amends("list", f"--app={text}").code == 2
        assert floor.amends("signal", "one", "approval", "--timeout=0.1", database, "--", text).code in (2, 5, 9)
        assert floor.amends(
            "resolve", "one", "ship", f"--result={text}", "--reason=x", "--timeout=0.1", database
        ).code in (2, 5, 9)
