"""The fault proxy before a protocol that it does not read: what was lost, and what was done though nobody was told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as LineCut
from redis.retry import Retry

from services.proxy import Proxy

WAIT_SECONDS = 30.0


@pytest.fixture
def proxy(redis_url: str) -> Iterator[Proxy]:
    """A proxy before the Redis of the run."""
    with Proxy(redis_url) as proxy:
        yield proxy


@pytest.fixture
def through(proxy: Proxy, redis_url: str) -> Iterator[redis.Redis]:
    """A client that goes through it and tries nothing twice."""
    with redis.Redis.from_url(proxy.url(redis_url), retry=Retry(NoBackoff(), 0), decode_responses=True) as client:
        client.ping()
        yield client


@pytest.fixture
def direct(redis_url: str) -> Iterator[redis.Redis]:
    """A client that goes past it."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


def test_a_swallowed_answer_leaves_the_deed_done(
    proxy: Proxy, through: redis.Redis, direct: redis.Redis, broker_prefix: str
) -> None:
    trap = proxy.swallow_next(broker_prefix.encode())

    with pytest.raises(LineCut):
        through.set(broker_prefix, "done")

    assert trap.wait(WAIT_SECONDS)
    assert direct.get(broker_prefix) == "done"
    assert through.get(broker_prefix) == "done"


def test_a_lost_message_never_arrives(
    proxy: Proxy, through: redis.Redis, direct: redis.Redis, broker_prefix: str
) -> None:
    trap = proxy.lose_next(broker_prefix.encode())

    with pytest.raises(LineCut):
        through.set(broker_prefix, "done")

    assert trap.wait(WAIT_SECONDS)
    assert direct.get(broker_prefix) is None


def test_what_is_skipped_passes_unharmed(
    proxy: Proxy, through: redis.Redis, direct: redis.Redis, broker_prefix: str
) -> None:
    trap = proxy.lose_next(broker_prefix.encode(), skip=1)

    through.set(broker_prefix, "first")
    assert not trap.sprung
    with pytest.raises(LineCut):
        through.set(broker_prefix, "second")

    assert direct.get(broker_prefix) == "first"


def test_bytes_come_through_as_they_were_however_many(
    through: redis.Redis, direct: redis.Redis, broker_prefix: str
) -> None:
    long = "amends" * 200_000

    through.set(broker_prefix, long)

    assert direct.get(broker_prefix) == long
    assert through.get(broker_prefix) == long
