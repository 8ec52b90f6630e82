"""What is marked as secret is shown on a saga's page to who may read payloads and asks for it, and the log says so."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import pytest
from page_shop import HTML, words_of
from web_scene import TOKENS, Job, access, client_of, jobs

from amends import Orchestrator, Saga, Secret, step
from amends.operate.web.app import web

CARD = "4111-1111"


@dataclass(frozen=True)
class Order:
    card: Secret[str]


@step(readonly=True)
async def look(order: Order) -> Order:
    return order


buy = Saga("buy", look, input=Order, output=look)


@asynccontextmanager
async def shown() -> AsyncGenerator[httpx.AsyncClient, None]:
    """A dashboard with one saga that has a secret, and one that has none."""
    async with Orchestrator("memory://", sagas=[buy, jobs]) as orchestrator:
        await orchestrator.run(buy, Order(CARD), id="buy-1")
        await orchestrator.run(jobs, Job(), id="job-1")
        async with client_of(web(orchestrator, access=access())) as client:
            client.headers.update(HTML)
            yield client


def asked(path: str, who: str) -> httpx.Response:
    """A page, as somebody sees it."""

    async def main() -> httpx.Response:
        async with shown() as client:
            return await client.get(path, headers={"authorization": f"Bearer {TOKENS[who]}"})

    return asyncio.run(main())


def test_who_may_read_payloads_is_led_to_what_is_masked(caplog: pytest.LogCaptureFixture) -> None:
    page = asked("/sagas/buy-1", "reader")

    assert 'href="/sagas/buy-1?reveal=1"' in page.text
    assert CARD not in page.text
    assert "data-live" in page.text
    assert "are revealed to" not in caplog.text


def test_what_was_asked_for_is_shown_once_and_the_log_says_to_whom(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "amends.operate"):
        page = asked("/sagas/buy-1?reveal=1", "reader")

    assert page.text.count(CARD) >= 3  # the input, the result, the history
    assert "What is marked as secret is shown" in words_of(page)
    assert "data-live" not in page.text, "nothing asks for it again by itself"
    assert caplog.text.count("payloads of the saga 'buy-1' are revealed to rea") == 1


def test_who_may_not_read_payloads_is_offered_nothing_and_shown_nothing(caplog: pytest.LogCaptureFixture) -> None:
    page, refused = asked("/sagas/buy-1", "viewer"), asked("/sagas/buy-1?reveal=1", "viewer")

    assert "reveal" not in page.text
    assert refused.status_code == 403
    assert "to reveal what is marked as secret takes the right to read payloads" in words_of(refused)
    assert CARD not in page.text + refused.text
    assert "are revealed to" not in caplog.text


def test_where_nothing_is_marked_nothing_is_to_be_revealed() -> None:
    assert "reveal" not in asked("/sagas/job-1", "reader").text
