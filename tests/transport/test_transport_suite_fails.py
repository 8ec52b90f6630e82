"""The suite of transports can fail: a transport that breaks a promise does not pass the rule about it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from amends.testing.transport_suite import Broker, TransportSuite, rig
from amends.transport import local
from amends.transport.base import Send
from amends.transport.local import LocalTransport


class Forgetful(LocalTransport):
    """Confirms what it does not keep."""

    async def publish(self, sends: Sequence[Send]) -> list[Exception | None]:
        return [None] * len(sends)


class Unbounded(LocalTransport):
    """Lets everything be in flight."""

    async def listen(self, source: Any, group: str, receive: Any, *, in_flight: int) -> Any:
        return await super().listen(source, group, receive, in_flight=1000)


class Common(LocalTransport):
    """Knows no prefix."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.prefix = "amends"


class Sharing(LocalTransport):
    """Treats all groups of a topic as one."""

    async def listen(self, source: Any, group: str, receive: Any, *, in_flight: int) -> Any:
        return await super().listen(source, "all", receive, in_flight=in_flight)


class Shouting(LocalTransport):
    """Changes what it carries."""

    async def publish(self, sends: Sequence[Send]) -> list[Exception | None]:
        return await super().publish([Send(to, message._replace(subject="x")) for to, message in sends])


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        (Forgetful, "test_what_was_confirmed_before_anybody_listened_comes"),
        (Forgetful, "test_a_message_that_is_too_large_is_refused_and_the_rest_of_its_batch_comes"),
        (Unbounded, "test_nothing_more_comes_while_all_that_may_be_in_flight_is"),
        (Unbounded, "test_no_more_is_in_flight_than_was_asked_for"),
        (Common, "test_two_prefixes_see_nothing_of_each_other"),
        (Sharing, "test_every_group_of_a_topic_gets_every_message"),
        (Shouting, "test_a_message_arrives_as_it_was_sent"),
    ],
)
def test_a_transport_that_breaks_a_promise_fails_its_rule(
    kind: Callable[[str], LocalTransport], rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rig, "WAIT_SECONDS", 0.5)

    with pytest.raises((AssertionError, TimeoutError)):
        getattr(TransportSuite(), rule)(Broker("local://", connect=kind, survives=False, creates=False))


def _never(self: Any, *_: Any) -> Any:
    return asyncio.sleep(0)


@pytest.mark.parametrize(
    ("method", "rule"),
    [
        ("retry", "test_retry_has_it_come_again"),
        ("retry", "test_a_longer_retry_comes_not_before_about_its_time_either"),
        ("ack", "test_what_is_acked_does_not_come_again"),
        ("bury", "test_what_is_buried_lies_with_the_dead_letters_and_does_not_come_again"),
    ],
)
def test_a_delivery_that_does_nothing_fails_the_rule_about_its_end(
    method: str, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rig, "WAIT_SECONDS", 0.5)
    monkeypatch.setattr(local._LocalDelivery, method, _never)

    with pytest.raises((AssertionError, TimeoutError)):
        getattr(TransportSuite(), rule)(Broker("local://", survives=False, creates=False))
