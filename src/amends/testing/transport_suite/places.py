"""Rules about opening, closing, and what must be there: URLs, passwords, destinations.

Guarantees: each rule is one test.
Must not: ask how a destination is made.
"""

from __future__ import annotations

import pytest

from amends.errors import TransportRefused
from amends.testing.transport_suite.rig import Rig, rule, text_of
from amends.transport.base import Send


class PlaceRules:
    """The way in, and what is behind it."""

    @rule
    async def test_a_transport_and_its_listeners_may_be_closed_twice(self, rig: Rig) -> None:
        transport, fresh = await rig.transport(), rig.closed()
        inbox = await rig.listen(transport)

        await inbox.listening.stop()
        await inbox.listening.stop()
        await transport.close()
        await transport.close()
        await inbox.listening.stop()
        await fresh.close()

        assert transport.away

    @rule
    async def test_a_stopped_listener_gets_nothing_more_and_its_transport_goes_on(self, rig: Rig) -> None:
        transport = await rig.transport()
        stopped = await rig.listen(transport)
        await stopped.listening.stop()

        again = await rig.listen(transport)
        await rig.send(transport, "told")

        assert text_of((await again.acked(1))[0]) == "told"
        assert not stopped.all

    @rule
    async def test_what_was_delivered_may_be_acked_after_its_listener_stopped(self, rig: Rig) -> None:
        transport = await rig.transport()
        inbox = await rig.listen(transport)
        await rig.send(transport, "told")
        delivery = await inbox.next()

        await inbox.listening.stop()
        await delivery.ack()

        again = await rig.listen(transport)
        await rig.send(transport, "last")
        assert (await again.acked_until("last"))[-1] == "last"

    @rule
    async def test_an_open_transport_is_not_away(self, rig: Rig) -> None:
        transport = await rig.transport()
        await rig.send(transport, "told")

        assert transport.away == ""
        assert transport.prefix == rig.prefix

    @rule
    async def test_the_prefix_is_amends_unless_the_url_says_otherwise(self, rig: Rig) -> None:
        assert rig.broker.connect(rig.broker.url).prefix == "amends"

    @rule
    async def test_options_that_nobody_knows_are_refused_by_name(self, rig: Rig) -> None:
        for name, value in {"prefetch": "7", "verify": "no", "publish_seconds": "soon", "create": "maybe"}.items():
            with pytest.raises(TransportRefused, match=name):
                await rig.transport(**{name: value})

    @rule
    async def test_a_prefix_that_is_none_is_refused(self, rig: Rig) -> None:
        with pytest.raises(TransportRefused, match="prefix"):
            await rig.transport(prefix="a b")

    @rule
    async def test_a_wrong_password_is_refused_and_not_shown(self, rig: Rig) -> None:
        url = rig.broker.wrong_login
        rig.needs(url, "nobody logs in here")

        with pytest.raises(TransportRefused) as refused:
            await rig.transport(url=url or "")

        assert "wrong-secret" not in str(refused.value)
        assert "://" in str(refused.value)

    @rule
    async def test_missing_destinations_are_made(self, rig: Rig) -> None:
        transport = await rig.transport()

        await transport.prepare([rig.queue, rig.topic])
        await transport.prepare([rig.queue, rig.topic])

        strict = await rig.transport(create="no")
        await strict.prepare([rig.queue, rig.topic])
        inbox = await rig.listen(strict)
        await rig.send(strict, "told")
        assert text_of((await inbox.acked(1))[0]) == "told"

    @rule
    async def test_where_none_may_be_made_the_missing_one_is_named(self, rig: Rig) -> None:
        rig.needs(rig.broker.creates, "destinations are always there")
        transport = await rig.transport(create="no")

        with pytest.raises(TransportRefused, match=rig.queue.name):
            await transport.prepare([rig.queue])
        with pytest.raises(TransportRefused, match=rig.topic.name):
            await transport.prepare([rig.topic])
        with pytest.raises(TransportRefused, match=rig.queue.name):
            await rig.listen(transport)
        with pytest.raises(TransportRefused, match=rig.topic.name):
            await rig.listen(transport, rig.topic)

    @rule
    async def test_what_is_sent_to_a_missing_destination_is_refused_and_nothing_else(self, rig: Rig) -> None:
        rig.needs(rig.broker.creates, "destinations are always there")
        await (await rig.transport()).prepare([rig.queue])
        transport = await rig.transport(create="no")
        missing = [rig.queue._replace(name="nobody.commands"), rig.topic._replace(name="nobody.events")]
        inbox = await rig.listen(transport)

        told = await transport.publish([Send(to, rig.message("told")) for to in (*missing, rig.queue)])

        assert [type(error) for error in told] == [TransportRefused, TransportRefused, type(None)]
        assert "nobody.commands" in str(told[0])
        assert "nobody.events" in str(told[1])
        assert text_of((await inbox.acked(1))[0]) == "told"
