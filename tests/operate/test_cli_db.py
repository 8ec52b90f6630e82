"""`amends db`: the schema told, checked and upgraded, on a file and on a server."""

from __future__ import annotations

import asyncio
import sqlite3

import asyncpg
import pytest
from shop_floor import TEA, Floor

NEW = "--database=sqlite:///new.db"


def execute(url: str, *statements: str) -> None:
    """Change a server's database behind the back of amends."""

    async def main() -> None:
        connection = await asyncpg.connect(url)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(main())


def test_the_schema_is_told_without_changing_anything(floor: Floor) -> None:
    new = floor.ok("db", "upgrade", NEW, "--json").data
    again = floor.ok("db", "upgrade", NEW, "--json").data
    missing = floor.amends("db", "version", "--database=sqlite:///missing.db")
    told = floor.ok("db", "version", NEW, "--json").data

    assert told == {
        "database": "sqlite:///new.db",
        "version": told["code"],
        "floor": 1,
        "code": told["code"],
        "fits": True,
    }
    assert (new["applied"], again["applied"]) == (told["code"], 0)
    assert missing.code == 7
    assert not (floor.directory / "missing.db").exists()


def test_the_key_of_reply_tokens_is_rotated(floor: Floor) -> None:
    floor.ok("db", "upgrade", NEW)

    first = floor.ok("db", "rotate-token-key", NEW, "--json").data
    second = floor.ok("db", "rotate-token-key", NEW, "--json").data

    assert (first["key"], second["key"]) == (2, 3)


def test_an_empty_server_is_told_as_that_and_upgraded_once(floor: Floor, postgres_url: str) -> None:
    database = f"--database={postgres_url}"

    before = floor.amends("db", "check", database)
    refused = [floor.amends(*verb, database) for verb in (("list",), ("doctor",))]
    first, second = floor.ok("db", "upgrade", database), floor.ok("db", "upgrade", database, "--json")
    after = floor.ok("db", "check", database)

    assert before.code == 7
    assert "no tables of amends" in before.out
    assert "run `amends db upgrade`" in before.out
    assert [result.code for result in refused] == [7, 11]
    assert all("run `amends db upgrade`" in result.err + result.out for result in refused)
    assert "5 migrations applied" in first.out
    assert (second.data["applied"], second.data["fits"]) == (0, True)
    assert "schema 5, usable from 1 on" in after.out


def test_a_schema_that_a_newer_release_has_closed_does_not_fit(floor: Floor, postgres_url: str) -> None:
    database = f"--database={postgres_url}"
    floor.ok("db", "upgrade", database)
    execute(postgres_url, "UPDATE amends.schema_version SET version = 1000, floor = 1000")

    checked, listed = floor.amends("db", "check", database), floor.amends("list", database)
    upgraded = floor.amends("db", "upgrade", database)

    assert (checked.code, listed.code, upgraded.code) == (7, 7, 7)
    assert "upgrade this process" in checked.out
    assert "upgrade this process" in upgraded.out
    assert "needs an amends that knows schema 1000 at least" in listed.err


def test_a_newer_schema_that_is_still_open_to_this_code_fits(floor: Floor) -> None:
    floor.ok("db", "upgrade", NEW)
    with sqlite3.connect(floor.directory / "new.db") as connection:
        connection.execute("UPDATE amends_schema SET version = 1000")
    connection.close()

    assert floor.ok("db", "check", NEW, "--json").data["version"] == 1000


def test_a_worker_on_a_server_without_the_schema_ends_and_names_the_command(floor: Floor, postgres_url: str) -> None:
    process = floor.process("worker", "shop:orchestrator", f"--database={postgres_url}")
    out, err = process.communicate(timeout=60)

    assert process.returncode == 7, out + err
    assert "this amends needs 5: run `amends db upgrade`" in err.splitlines()[-1]


def test_the_inbox_of_an_app_is_checked_and_upgraded_with_it(floor: Floor, postgres_url: str) -> None:
    with (floor.directory / "shop.py").open("a") as source:
        source.write(
            "\n\nimport asyncpg\n\n\n@step\nasync def book(order: Order, tx: asyncpg.Connection) -> None: ...\n\n\n"
            "@book.compensation\nasync def unbook(tx: asyncpg.Connection) -> None: ...\n\n\n"
            "booking = Saga('booking', book, input=Order)\n"
            f"ledger = Orchestrator('sqlite:///l.db', sagas=[booking], effects='{postgres_url}')\n"
        )
    floor.ok("db", "upgrade", "--database=sqlite:///l.db")

    before = floor.amends("db", "check", "--app=shop:ledger")
    upgraded = floor.ok("db", "upgrade", "--app=shop:ledger", "--json").data
    after = floor.ok("db", "check", "--app=shop:ledger")

    assert before.code == 7
    assert "no inbox for steps with a transaction" in before.err
    assert upgraded["applied"] >= 1
    assert after.code == 0


def test_every_verb_reads_a_server_as_it_reads_a_file(floor: Floor, postgres_url: str) -> None:
    database = f"--database={postgres_url}"
    floor.ok("db", "upgrade", database)

    started = floor.amends("run", "shop:place_order", TEA, "--id=order-1", database)

    assert started.code == 0, started
    assert floor.ok("show", "order-1", database, "--json").data["status"] == "completed"
    assert [saga["id"] for saga in floor.ok("list", database, "--json").data["sagas"]] == ["order-1"]
    assert floor.amends("doctor", database, "--json").data["worst"] == "warning"  # nobody works
    assert floor.ok("stuck", database).out.strip() == "Nothing waits for anybody."


def test_run_is_a_client_of_a_live_worker_that_knows_the_saga_and_else_works_itself(
    floor: Floor, postgres_url: str
) -> None:
    database = f"--database={postgres_url}"
    floor.ok("db", "upgrade", database)
    worker = floor.process("worker", "shop:orchestrator", database)
    floor.wait_for(lambda: floor.amends("doctor", database, "--json").data["worst"] == "ok")

    floor.ok("run", "shop:place_order", TEA, "--id=order-1", database)
    floor.ok("run", "shop:alone", TEA, "--id=alone-1", database)
    worker.terminate()
    worker.wait(60)
    floor.ok("run", "shop:place_order", TEA, "--id=order-2", database)

    by = {line["worker"] for line in floor.ok("show", "order-1", database, "--json").data["history"]}
    alone = {line["worker"] for line in floor.ok("show", "alone-1", database, "--json").data["history"]}
    assert by - {None} == {1}, "the worker that was there ran it"
    assert 1 not in alone
    assert floor.ok("show", "order-2", database, "--json").data["status"] == "completed"


def test_a_password_is_not_shown(floor: Floor) -> None:
    result = floor.amends("doctor", "--database=postgresql://app:secret@127.0.0.1:1/orders")

    assert result.code == 11
    assert "secret" not in result.out + result.err


@pytest.mark.parametrize("url", ["memory://", "mysql://db/orders"])
def test_what_is_no_place_for_sagas_is_refused(floor: Floor, url: str) -> None:
    assert floor.amends("start", "shop:place_order", TEA, f"--database={url}").code == 2
    assert floor.amends("list", f"--database={url}").code == 2
