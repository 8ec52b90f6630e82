"""F60: no text from outside becomes SQL: the source is read for it, and whatever takes a text is given hostile ones.

Statements stand in `.sql` files, or are constants; what varies is a parameter.
"""

from __future__ import annotations

import ast
import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from security_scene import Job, Nodes, counts_of, done, jobs, nodes_of, on, rows_of, settled, source
from shop_floor import Floor

from amends.errors import DefinitionError, Refused, UnknownSaga, ValueRefused
from amends.operate.database import upgrade
from amends.operate.operations import Operations, operations
from amends.operate.services import keeping_at, republish_since, sizes_of
from amends.operate.values import Search
from amends.run.database import is_postgres, sqlite_path
from amends.run.orchestrator import Orchestrator
from amends.run.transactions_sqlite import SqliteTransactions

VERBS = (
    "SELECT|INSERT|UPDATE|DELETE|CREATE|DROP|ALTER|PRAGMA|BEGIN|SET|SAVEPOINT|ROLLBACK|RELEASE|GRANT|VACUUM|LISTEN|"
    "NOTIFY|WITH|COMMIT|ATTACH|COPY|LOCK|TRUNCATE|MERGE|REPLACE|EXPLAIN|ORDER BY|WHERE|VALUES|LIMIT|AND|OR"
)
STATEMENT = re.compile(rf"^\s*\(?(?:{VERBS})\s")

# path:what is put together -> why no text from outside can be in it
CONSTANTS = {
    "store/postgres_line.py:f\"SET LOCAL {setting} = '{value}'\"": "names and values of `postgres_place.SETTINGS`",
    "store/postgres_line.py:f'BEGIN ISOLATION LEVEL READ COMMITTED; {settings}'": "the settings above, joined",
    "store/sqlite_file.py:f'PRAGMA journal_size_limit = {JOURNAL_BYTES_KEPT}'": "a pragma takes no parameters",
    "store/sqlite_file.py:f'PRAGMA busy_timeout = {GLANCE_MILLISECONDS}'": "a pragma takes no parameters",
}
# What runs a statement that it was given: path:argument -> where that comes from
GIVEN = {
    "alembic.py:_plain(statement)": "a statement of a migration",
    "run/outbox_rows.py:_statement(name, given.dialect)": "a statement by its name",
    "run/transactions_postgres.py:effects.SAVEPOINT": "a constant",
    "store/effects_asyncpg.py:connection.get_reset_query()": "asyncpg's",
    "store/effects_asyncpg.py:'; '.join(texts)": "statements of `effects_postgres.py`",
    "store/effects_psycopg.py:'; '.join(texts)": "statements of `effects_postgres.py`",
    "store/effects_sqlalchemy.py:named(text, ':{}')": "a statement by its name, with numbered parameters",
    "store/effects_sqlalchemy.py:'; '.join((*texts, 'COMMIT'))": "statements of `effects_postgres.py`",
    "store/effects_sqlalchemy.py:'; '.join(texts)": "statements of `effects_postgres.py`",
    "store/given_django.py:with_percent(statement)": "a statement by its name, with the driver's sign for a parameter",
    "store/given_drivers.py:with_percent(statement)": "a statement by its name, with the driver's sign for a parameter",
    "store/given_sqlalchemy.py:statement.replace(PARAMETER, ':given')": "the same",
    "store/postgres.py:wanted.statement": "one of three names",
    "store/postgres_line.py:self._begin": "the constant above",
    **{f"store/sqlite_file.py:{text.partition(':')[2]}": CONSTANTS[text] for text in CONSTANTS if "PRAGMA" in text},
}
RUNS = ("execute", "executemany", "executescript", "fetch", "fetchrow", "fetchval", "text")


def sources() -> Iterator[tuple[str, Nodes]]:
    """What runs in somebody's process; `testing` and the demo are not for data from outside."""
    return ((name, nodes) for name, nodes in source().items() if not name.startswith(("testing/", "operate/demo/")))


def beginning(node: ast.expr) -> str:
    """What a text that is put together begins with, where that is a constant."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return beginning(node.values[0]) if node.values else ""
    return beginning(node.left) if isinstance(node, ast.BinOp) else ""


def put_together(nodes: Nodes) -> Iterator[str]:
    """Every text that begins as a statement and has something in it that varies."""
    for node in nodes:
        made: ast.expr | None = None
        if isinstance(node, ast.JoinedStr):
            made = node if any(isinstance(part, ast.FormattedValue) for part in node.values) else None
        elif isinstance(node, ast.BinOp):
            made = node if isinstance(node.op, (ast.Add, ast.Mod)) else None
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            made = node.func.value if node.func.attr in ("format", "join", "replace", "format_map") else None
        if made is not None and STATEMENT.match(beginning(made)):
            yield ast.unparse(node)


def test_no_statement_is_put_together_from_what_varies() -> None:
    found = {f"{name}:{text}" for name, nodes in sources() for text in put_together(nodes)}

    assert found == CONSTANTS.keys()


def test_whatever_is_run_is_a_constant_or_has_a_name() -> None:
    """A plain name is checked where it gets its value: by the test above, since that is a text or a statement."""
    found = set()
    for name, nodes in sources():
        for node in nodes:
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in RUNS:
                first = node.args[0] if node.args else ast.Constant("")
                if not isinstance(first, (ast.Constant, ast.Name, ast.Starred, ast.Subscript)):
                    found.add(f"{name}:{ast.unparse(first)}")

    assert found == GIVEN.keys()


@pytest.mark.parametrize(
    "code",
    [
        'f"SELECT * FROM saga WHERE key = {key}"',
        '"DELETE FROM saga WHERE key = " + key',
        '"SELECT %s" % key',
        '"SELECT {}".format(key)',
        '"SELECT ?".replace("?", key)',
        'f" AND key = {key}"',
    ],
)
def test_a_statement_that_is_put_together_is_found(code: str) -> None:
    assert list(put_together(nodes_of(code)))


# With hostile texts

HOSTILE = [
    *(
        "'",
        "''",
        '"',
        "`",
        "\\",
        "\\'",
        ";",
        "--",
        "/*",
        "%",
        "%%",
        "_",
        "%s",
        "$1",
        "?",
        "?1",
        ":given",
        "{}",
        "%(x)s",
    ),
    *("' OR '1'='1", "'; DROP TABLE amends_saga; --", "'; DELETE FROM amends.saga; --", "') OR 1=1 --", "1; SELECT 1"),
    *("' UNION SELECT secret FROM amends.token_key --", "parked' --", "pa%", "park_d", "PARKED", "$$;$$", "E'\\x27'"),
    *(
        "\N{FULLWIDTH APOSTROPHE} OR 1=1",
        "\N{MODIFIER LETTER APOSTROPHE}",
        "\u202e",
        "x" * 190,
        "pg_sleep(9)",
        "\N{SNOWMAN}",
    ),
]
BY: dict[str, Any] = {"actor": "o'brien; --", "reason": "'); DROP TABLE amends_saga; --"}


def asks_of(text: str) -> list[Callable[[Operations], Awaitable[Any]]]:
    """Everything that takes a text, with this one for an id, a step, a name or a value."""
    value = json.dumps(text).encode()
    return [
        lambda found: found.find(before=text),
        lambda found: found.find(sagas=[text]),
        lambda found: found.search(Search(versions=(text,))),
        lambda found: found.search(Search(key="p"), before=text),
        lambda found: found.groups(Search(statuses=(text,))),
        lambda found: found.show(text),
        lambda found: found.history(text),
        lambda found: found.flow(text),
        lambda found: found.plan(text),
        lambda found: found.cancel(text, **BY),
        lambda found: found.signal(text, text, value, actor=text, message=text),
        lambda found: found.signal("waits", text, value, actor=text),
        lambda found: found.retry("parked", text, **BY),
        lambda found: found.skip(text, text, **BY),
        lambda found: found.resolve("parked", text, result=value, **BY),
    ]


def searches_of(text: str) -> list[Search]:
    """Every filter, with this for its value: alone, among open sagas and among all."""
    return [
        Search(steps=(text,)),
        Search(fingerprints=(text,)),
        Search(fingerprints=(text, text), steps=(text,), statuses=("completed", "parked"), key=text),
        Search(key=text),
        Search(key=text, stuck=True),
        Search(assigned=text),
        Search(assigned=text, statuses=("completed",)),
        Search(input=((text, "True"),)),
        Search(input=(("note", text),), statuses=("parked",)),
    ]


def test_hostile_texts_find_nothing_and_change_nothing_but_what_they_say(database: str) -> None:
    done(settled(database, "default"))
    before = counts_of(database)
    mails = next(name for name in before if name.endswith("mail"))

    async def main() -> None:
        async with on(database) as orchestrator, operations(orchestrator, answer_seconds=30) as found:
            for text in HOSTILE:
                for ask in asks_of(text):
                    with pytest.raises((UnknownSaga, Refused, ValueRefused)):
                        await ask(found)
                with pytest.raises(ValueRefused):
                    await found.find(statuses=[text])
                for wanted in searches_of(text):
                    assert (await found.search(wanted)).sagas == (), wanted
                    assert wanted.input or await found.groups(wanted) == (), wanted
            assert {line.id for line in (await found.find()).sagas} == {"ended", "other", "parked", "waits"}
            assert {line.id for line in (await found.find(statuses=["parked"])).sagas} == {"parked"}

    done(main())
    after = counts_of(database)
    grown = {name.rpartition("." if "." in name else "amends_")[2] for name in before if after[name] != before[name]}
    assert grown <= {"mail", "journal", "worker"}, "each refusal is in a history"
    assert before[mails] < after[mails] <= before[mails] + 3 * len(HOSTILE)


async def a_millisecond_later() -> None:
    """Wait until the clock shows another one."""
    began = time.time_ns() // 1_000_000
    while time.time_ns() // 1_000_000 == began:
        await asyncio.sleep(0)


def test_an_id_of_any_text_is_found_by_just_that_text(database: str) -> None:
    async def main() -> None:
        ids = [text for text in HOSTILE if text.isprintable()]
        async with on(database) as orchestrator, operations(orchestrator, answer_seconds=30) as found:
            for text in ids:
                await orchestrator.run(jobs, Job(note=text), id=text)
                await a_millisecond_later()  # of one millisecond neither is the newer
            for text in ids:
                view = await found.show(text)
                assert (view.line.id, json.loads(view.input)["note"]) == (text, text)
            listed = [line.id for line in (await found.find(limit=100)).sagas]
            assert listed == list(reversed(ids))
            middle = ids[len(ids) // 2]
            older = [line.id for line in (await found.find(before=middle, limit=100)).sagas]
            assert older == list(reversed(ids[: ids.index(middle)])), "as a plain filter of the list gives"

    done(main())


@pytest.mark.parametrize("text", [text for text in HOSTILE if not text.isidentifier()])
def test_a_namespace_of_hostile_letters_is_refused_before_anything_is_opened(text: str) -> None:
    with pytest.raises(DefinitionError):
        on("sqlite:///nowhere/at-all.db", text)


def test_a_service_of_any_name_has_an_outbox_of_its_own_and_no_other(database: str) -> None:
    async def ready() -> None:
        if is_postgres(database):
            await upgrade(Orchestrator(database, sagas=[jobs], effects=database, migrate=True).config)
            return
        inbox = SqliteTransactions(sqlite_path(database), time.time)
        await inbox.open()
        await inbox.close()

    async def main() -> None:
        for text in HOSTILE:
            keeping = keeping_at(database, text)
            assert (await sizes_of(keeping)).unpublished == 0
            assert await republish_since(keeping_at(database, text), 3600.0) == 0

    done(ready())
    before = rows_of(database)
    done(main())
    assert rows_of(database) == before


# From the command line

COMMANDS: list[list[str]] = [
    ["list", "--saga={}"],
    ["list", "--before={}"],
    ["list", "--status={}"],
    ["list", "--limit={}"],
    ["list", "--step={}", "--error={}", "--assigned={}"],
    ["list", "--key={}", "--group"],
    ["list", "--version={}"],
    ["list", "--input={}={}"],
    ["list", "--older-than={}"],
    ["show", "--", "{}"],
    ["stuck", "--trouble={}"],
    ["stuck", "--limit={}"],
    ["prune", "--older-than={}"],
    ["prune", "--older-than=0s", "--limit={}"],
    ["cancel", "--reason={}", "--actor={}", "--", "{}"],
    ["retry", "--reason={}", "--", "{}", "{}"],
    ["signal", "--", "{}", "{}", "1"],
    ["outbox", "status", "--service={}"],
    ["outbox", "republish", "--service=x", "--since={}"],
    ["list", "--namespace={}"],
]
TEXTS = ["'; DROP TABLE amends_saga; --", "' OR 1=1 --", "%", "\\", "\N{SNOWMAN}\x1b[2J"]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command).replace("{}", "x"))
def test_a_hostile_argument_ends_with_an_exit_code_and_changes_nothing(floor: Floor, command: list[str]) -> None:
    url = f"sqlite:///{floor.directory}/orders.db"
    floor.ok("run", "shop:alone", '{"sku": "tea"}', "--id=one", f"--database={url}")
    before = rows_of(url)

    for text in TEXTS:
        words = [word.replace("{}", text) for word in command]
        at = words.index("--") if "--" in words else len(words)
        result = floor.amends(*words[:at], f"--database={url}", *words[at:])
        known = result.code == 0 and "tea" not in result.out and "one" not in result.out.split()  # nothing is there
        assert known or result.code in (2, 3, 5, 6, 7, 8), (text, result)
        assert "Traceback" not in result.err
        assert "\x1b[2J" not in result.out + result.err

    assert rows_of(url) == before


@pytest.fixture
def floor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Floor]:
    """A user's project in an empty directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AMENDS_DATABASE", raising=False)
    made = Floor(tmp_path, capsys)
    yield made
    made.close()
