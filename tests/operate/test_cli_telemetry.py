"""What a worker shows of itself: `/metrics` for whoever may read it, logs as JSON, traces where the extra is there."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.request import urlopen

import click
import pytest
from prometheus_client.parser import text_string_to_metric_families
from shop_floor import PATIENCE_SECONDS, Floor

from amends.observe.events import About, SagaStarted
from amends.observe.metrics import Metrics
from amends.operate.cli import telemetry
from amends.operate.cli.telemetry import Scraped, Watched, place_of


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("9464", ("127.0.0.1", 9464)),
        (":9464", ("127.0.0.1", 9464)),
        ("0.0.0.0:80", ("0.0.0.0", 80)),  # noqa: S104  # a place to read, not to bind
        ("[::1]:9464", ("::1", 9464)),
        ("metrics.internal:1", ("metrics.internal", 1)),
    ],
)
def test_a_place_is_on_this_machine_unless_a_host_is_named(text: str, place: tuple[str, int]) -> None:
    assert place_of(text) == place


@pytest.mark.parametrize(
    "text", ["", "here", "127.0.0.1", "127.0.0.1:", "1:x", "1:70000", "1:-5", "1:\N{SUPERSCRIPT TWO}"]
)
def test_what_is_no_place_is_said(text: str) -> None:
    with pytest.raises(click.UsageError, match="a port is expected, or host:port"):
        place_of(text)


@asynccontextmanager
async def scraped(token: str = "") -> AsyncIterator[int]:
    """A place to read one saga's start; gives its port."""
    metrics = Metrics()
    metrics(SagaStarted(About("default", "trip", "one", bytes(16)), 1.0))
    place = Scraped(metrics, "127.0.0.1", 0, token)
    url = await place.open()
    try:
        yield int(url.rpartition(":")[2].partition("/")[0])
    finally:
        await place.close()


WORD = "secret"


async def answer(port: int, *lines: str, end: bytes = b"\r\n\r\n") -> str:
    """What is answered to a request, as it stands."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    found = b""
    try:
        with suppress(ConnectionResetError):  # whoever is let go has perhaps not been read to the end
            writer.write("\r\n".join(lines).encode() + end)
            async with asyncio.timeout(PATIENCE_SECONDS):
                found = await reader.read()
    finally:
        writer.close()
        with suppress(ConnectionResetError):
            await writer.wait_closed()
    return found.decode()


def asked(*lines: str, token: str = "", end: bytes = b"\r\n\r\n") -> str:
    """The same, of a place of its own."""

    async def main() -> str:
        async with scraped(token) as port:
            return await answer(port, *lines, end=end)

    return asyncio.run(main())


def test_prometheus_reads_the_metrics() -> None:
    found = asked("GET /metrics HTTP/1.1", "Host: localhost")
    head, _, body = found.partition("\r\n\r\n")

    assert head.startswith("HTTP/1.1 200 OK")
    assert "content-type: text/plain; version=0.0.4" in head
    assert f"content-length: {len(body.encode())}" in head
    assert 'amends_sagas_started_total{saga="trip"} 1' in body


def test_openmetrics_is_given_to_whoever_asks_for_it() -> None:
    found = asked("GET /metrics HTTP/1.1", "Accept: application/openmetrics-text;version=1.0.0")

    assert "content-type: application/openmetrics-text" in found
    assert found.endswith("# EOF\n")


@pytest.mark.parametrize(
    ("line", "status"),
    [("GET / HTTP/1.1", 404), ("GET /metricsx HTTP/1.1", 404), ("POST /metrics HTTP/1.1", 405), ("nonsense", 404)],
)
def test_nothing_else_is_there(line: str, status: int) -> None:
    assert asked(line).startswith(f"HTTP/1.1 {status} ")


@pytest.mark.parametrize(
    "given", ["", "Authorization: Bearer wrong", "Authorization: secret", "Authorization: Basic x"]
)
def test_with_a_token_nobody_reads_without_it(given: str) -> None:
    found = asked("GET /metrics HTTP/1.1", *([given] if given else []), token=WORD)

    assert found.startswith("HTTP/1.1 401 ")
    assert "amends_sagas" not in found


def test_with_a_token_who_has_it_reads() -> None:
    assert asked("GET /metrics HTTP/1.1", "AUTHORIZATION:  Bearer secret", token=WORD).startswith("HTTP/1.1 200 ")


def test_a_request_without_end_is_let_go() -> None:
    assert asked("GET /metrics HTTP/1.1", "X: " + "x" * 200_000, end=b"") == ""


def test_who_says_nothing_is_let_go_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "READ_SECONDS", 0.05)

    assert asked("GET /metrics HTTP/1.1", end=b"") == ""


def test_too_many_at_once_are_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "CLIENTS_MAX", 1)

    async def main() -> tuple[str, str]:
        async with scraped() as port:
            _, waiting = await asyncio.open_connection("127.0.0.1", port)
            waiting.write(b"GET /met")
            await waiting.drain()
            await asyncio.sleep(0.05)
            second = await answer(port, "GET /metrics HTTP/1.1")
            waiting.close()
            await waiting.wait_closed()
            await asyncio.sleep(0.05)
            return second, await answer(port, "GET /metrics HTTP/1.1")

    second, third = asyncio.run(main())
    assert second == ""
    assert third.startswith("HTTP/1.1 200 ")


def test_a_place_that_is_taken_is_said() -> None:
    async def main() -> None:
        async with scraped() as port:
            with pytest.raises(click.UsageError, match=f"metrics cannot be served at 127.0.0.1:{port}"):
                await Scraped(Metrics(), "127.0.0.1", port).open()

    asyncio.run(main())


def test_without_being_asked_nobody_observes() -> None:
    assert Watched(None, log_json=False, trace=False).observers == ()


def test_traces_without_the_extra_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "amends.otel", None)

    with pytest.raises(click.UsageError, match=re.escape('pip install "amends[otel]"')):
        Watched(None, log_json=False, trace=True)


def test_a_worker_serves_its_metrics_and_logs_json(floor: Floor) -> None:
    process = floor.process("worker", "shop:orchestrator", "--metrics=0", "--log-json")
    said: list[str] = []
    assert process.stderr is not None
    while not (said and "runs place-order, trip" in said[-1]):
        said.append(json.loads(process.stderr.readline())["message"])
    [url] = [text.removeprefix("metrics are at ") for text in said if text.startswith("metrics are at ")]
    assert floor.order("order-1").code == 0

    with urlopen(url, timeout=PATIENCE_SECONDS) as found:  # noqa: S310  # this machine's own
        families = {family.name: family for family in text_string_to_metric_families(found.read().decode())}
    process.send_signal(signal.SIGTERM)
    end = floor.ended(process)

    [ended] = families["amends_sagas_ended"].samples
    assert ended.labels == {"saga": "place-order", "end": "completed"}
    assert all(json.loads(line)["level"] for line in end.err.splitlines())
    assert end.code == 0
