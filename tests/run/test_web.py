"""FastAPI under four uvicorn processes beside one worker, on one SQLite file."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from little import Order, order_saga, shop
from processes import HERE, PATIENCE_SECONDS, process, wait_for

from amends import Completed

SAGAS = 24
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # one for all: making it is dear


@contextlib.contextmanager
def uvicorn(database: Path, workers: int) -> Iterator[str]:
    """The web application under several processes; its address."""
    end = socket.socket()
    end.bind(("127.0.0.1", 0))
    end.listen(128)
    path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "uvicorn", "little_web:app", "--fd", str(end.fileno()), "--workers", str(workers)]
    child = subprocess.Popen(
        [*command, "--log-level", "warning"],
        env={**os.environ, "LITTLE_DB": str(database), "PYTHONPATH": path},
        pass_fds=[end.fileno()],
        start_new_session=True,
    )
    try:
        yield f"http://127.0.0.1:{end.getsockname()[1]}"
        child.send_signal(signal.SIGTERM)
        assert child.wait(PATIENCE_SECONDS) is not None
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        end.close()


async def ask(address: str, method: str, path: str, **parameters: Any) -> Any:
    """One request on a connection of its own, so that all processes get some."""
    transport = httpx.AsyncHTTPTransport(verify=_NO_TLS)
    async with httpx.AsyncClient(transport=transport, base_url=address, timeout=PATIENCE_SECONDS) as client:
        answer = await client.request(method, path, params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def use(address: str) -> tuple[list[Any], list[Any]]:
    """Start, list, signal and await many sagas, each request in whichever process takes it."""
    keys = [f"n{number}" for number in range(SAGAS)]
    answers = await asyncio.gather(*(ask(address, "POST", f"/approved/{key}") for key in keys))
    again = await asyncio.gather(*(ask(address, "POST", f"/approved/{key}") for key in keys))
    listed = await ask(address, "GET", "/list")
    assert set(listed["statuses"]) == set(keys)
    waiting = [asyncio.create_task(ask(address, "GET", f"/outcome/{key}")) for key in keys]
    for number, key in enumerate(keys):
        answers.append(await ask(address, "POST", "/approve", saga_id=key, granted=number % 2 == 0))
    outcomes = await asyncio.gather(*waiting)
    return [*answers, *again, *outcomes], outcomes


def test_four_web_processes_start_list_signal_and_await_while_one_worker_works(tmp_path: Path) -> None:
    database = tmp_path / "sagas.db"

    command = ("-m", "amends", "worker", "little:orchestrator", "--log-level=warning")
    with process(*command, database=database) as works, uvicorn(database, workers=4) as address:
        wait_for(lambda: _is_up(address), "the web application answers")
        answers, outcomes = asyncio.run(use(address))
        assert works.terminate() == 0

    assert [answer["outcome"] for answer in outcomes] == ["Completed", "Compensated"] * (SAGAS // 2)
    assert len({answer["process"] for answer in answers}) == 4, "every process had a part in it"


def _is_up(address: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(f"{address}/list", timeout=PATIENCE_SECONDS).status_code == 200
    return False


def test_lifespan_works_in_the_web_process_itself(tmp_path: Path) -> None:
    orchestrator = shop(tmp_path / "sagas.db")
    app = FastAPI(lifespan=orchestrator.lifespan)

    @app.post("/")
    async def run() -> str:
        return str(await orchestrator.run(order_saga, Order(8), id="one"))

    async def once() -> Any:
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client,
        ):
            return (await client.post("/")).json()

    assert asyncio.run(once()) == str(Completed("shipped 8"))
    assert asyncio.run(once()) == str(Completed("shipped 8"))
