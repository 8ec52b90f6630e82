"""F68, X9: passwords of databases and brokers are in no error, no log and no output; payloads are in no log."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from security_scene import Job, done, on
from shop_floor import Floor

from amends import Context, Orchestrator, Participant, Reject, Retry, Saga, Service, pivot, step
from amends.errors import AmendsError
from amends.operate.operations import operations
from amends.transport import open as opening
from amends.transport.open import transport_for

MARK = "marker-4711"
PASSWORDS = [MARK, f"{MARK}/x", f"a@{MARK}", f"{MARK}#y", f"{MARK}?z", f"{MARK}:w", f"{MARK}%41", f"[{MARK}]"]
NOWHERE = "127.0.0.1:1"
Told = Callable[[], str]


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Told:
    """All that anybody logs at DEBUG, drivers and asyncio too, as text with tracebacks."""
    caplog.set_level(logging.DEBUG)
    shown = logging.Formatter("%(name)s %(levelname)s %(message)s")
    return lambda: "\n".join(f"{shown.format(record)} {record.args!r}" for record in caplog.records)


def everything(error: BaseException) -> str:
    """An error as an error tracker shows it: the chain, and what each says of itself."""
    return "".join(traceback.format_exception(error)) + repr(error)


# Databases


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("written", ["encoded", "as it is"])
def test_a_database_s_password_is_in_no_error_and_in_no_log(logged: Told, password: str, written: str) -> None:
    given = quote(password, safe="") if written == "encoded" else password
    url = f"postgresql://app:{given}@{NOWHERE}/orders"
    said: list[str] = []

    async def main() -> None:
        acts: list[Callable[[], Orchestrator]] = [
            lambda: on(url),
            lambda: Orchestrator(url, sagas=[]),
            lambda: Orchestrator(sagas=[], effects=url),
        ]
        for act in acts:
            try:
                orchestrator = act()
                said.append(repr(orchestrator) + repr(orchestrator.config))
                async with orchestrator.client():
                    pass
            except Exception as error:  # noqa: BLE001  # whatever it is, it is looked through
                said.append(everything(error))

    asyncio.run(main())

    assert len(said) >= 3
    assert MARK not in "\n".join(said)
    assert MARK not in logged()


VERBS = [
    ["list"],
    ["show", "order-1"],
    ["stuck"],
    ["doctor"],
    ["cancel", "order-1", "--reason=x", "--timeout=1"],
    ["prune", "--older-than=1d"],
    ["db", "version"],
    ["db", "upgrade"],
    ["outbox", "status", "--service=inventory"],
    ["start", "shop:place_order", '{"sku": "tea"}'],
]


@pytest.mark.parametrize("debug", [[], ["--json"]], ids=["words", "json"])
def test_a_password_on_the_command_line_is_printed_by_no_verb(floor: Floor, debug: list[str]) -> None:
    for password in PASSWORDS:
        for given in (quote(password, safe=""), password):
            for verb in VERBS if password == MARK else VERBS[:1]:
                url = f"postgresql://app:{given}@{NOWHERE}/orders"
                result = floor.amends(*verb, f"--database={url}", *debug)
                assert result.code != 0
                assert MARK not in result.out + result.err, (verb, given)


def test_a_database_of_the_environment_is_shown_without_its_password(
    floor: Floor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AMENDS_DATABASE", f"postgresql://app:{MARK}@{NOWHERE}/orders?password={MARK}")

    for verb in VERBS:
        result = floor.amends(*verb)
        assert MARK not in result.out + result.err, verb


def test_a_traceback_that_was_asked_for_has_no_password(floor: Floor) -> None:
    with pytest.raises(AmendsError) as raised:
        floor.amends("list", f"--database=postgresql://app:{MARK}@{NOWHERE}/orders", "--debug")

    assert MARK not in everything(raised.value)


# Brokers


@pytest.mark.parametrize("scheme", [name for name in opening._ADAPTERS if name != "local"])
@pytest.mark.parametrize("password", [MARK, quote(f"a/{MARK}@:#?", safe="")])
def test_a_broker_s_password_is_in_no_error_and_in_no_log(logged: Told, scheme: str, password: str) -> None:
    said: list[str] = []

    async def main() -> None:
        transport = transport_for(f"{scheme}://app:{password}@{NOWHERE}?connect_seconds=0.3&publish_seconds=0.3")
        said.append(repr(transport) + str(transport))
        try:
            async with asyncio.timeout(3):
                await transport.open()
        except Exception as error:  # noqa: BLE001  # whatever it is, it is looked through
            said.append(everything(error))
        finally:
            said.append(transport.away)
            await transport.close()

    asyncio.run(main())

    assert MARK not in "\n".join(said)
    assert MARK not in logged()


@pytest.mark.parametrize(
    "text", [f"kafka://app:{MARK}", f"redis://app:{MARK}@h:x", f"nats://h?token={MARK}&nonsense=1"]
)
def test_a_broker_s_url_that_makes_no_sense_is_refused_without_it(text: str) -> None:
    with pytest.raises(AmendsError) as refused:
        transport_for(text.replace("kafka://app:", "kafka:/app:"))

    assert MARK not in everything(refused.value)


# Payloads


def test_payloads_results_and_tokens_are_in_no_log(logged: Told, database: str) -> None:
    @step(retry=Retry(attempts=2, first_delay=0.01))
    async def fetch(job: Job, ctx: Context) -> str:
        if ctx.attempt == 1:
            raise ConnectionError("the far side is away")
        return f"result {job.note}"

    @fetch.compensation
    async def unfetch(result: str | None) -> None: ...

    @step
    async def refuse(job: Job) -> None:
        if job.far:
            raise Reject("no")

    @refuse.compensation
    async def unrefuse() -> None: ...

    saga = Saga("secret", fetch, refuse, input=Job, output=fetch)

    async def main() -> None:
        async with on(database, "default", saga) as orchestrator, operations(orchestrator) as found:
            await orchestrator.run(saga, Job(note=MARK), id="one")
            await orchestrator.run(saga, Job(far=True, note=MARK), id="two")
            assert MARK in repr((await found.show("one")).input), "whoever may read the sagas may read payloads"

    done(main())

    assert "an attempt of fetch failed" in logged(), "with what its exception said, at DEBUG"
    assert MARK not in logged()


stock = Service("stock")
reserve = stock.command("reserve", Job, reply=str)


@reserve.request
def ask(job: Job) -> Job:
    """For the stock."""
    return job


@pytest.mark.parametrize("fails", [False, True])
def test_commands_and_replies_are_in_no_log_and_neither_are_their_tokens(
    logged: Told, tmp_path: Path, fails: bool
) -> None:
    tokens: list[str] = []
    app = Participant(stock, database=f"sqlite:///{tmp_path}/stock.db")

    @app.handles(reserve)
    async def handle(command: Job, tx: Any = None) -> str:
        if fails:
            raise ValueError("it cannot be done")
        return f"reserved {command.note}"

    @app.compensates(reserve)
    async def release(command: Job, reserved: str) -> None: ...

    placed = Saga("placed", ask, pivot, input=Job)
    orchestrator = Orchestrator(f"sqlite:///{tmp_path}/sagas.db", sagas=[placed], services=[])

    async def main() -> None:
        async with app, orchestrator:
            await orchestrator.run(placed, Job(note=MARK), id="one")
            tokens.extend(key.secret.hex() for key in await orchestrator.session.store.token_keys())

    done(main())

    assert MARK not in logged()
    assert not any(token in logged() for token in tokens)


@pytest.fixture
def floor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Floor]:
    """A user's project in an empty directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AMENDS_DATABASE", raising=False)
    made = Floor(tmp_path, capsys)
    yield made
    made.close()
