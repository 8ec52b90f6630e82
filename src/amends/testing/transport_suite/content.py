"""Rules about what a message is: it arrives as it was sent, and what is none is told apart.

Guarantees: each rule is one test.
Must not: look at how a broker writes headers.
"""

from __future__ import annotations

from amends.errors import TransportRefused
from amends.message import ATTRIBUTE_BYTES_MAX, Message
from amends.testing.transport_suite.rig import Rig, rule, text_of
from amends.transport.base import Send
from amends.transport.names import DEAD_REASON, dead_of

_STRANGE = {
    "unicode": "Zoë Ørsted 你好 🛒",
    "quotes": "\"quoted\" 'single' \\ back",
    "percent": "100 % %41 %zz %",
    "spaces": "  two before, two behind  ",
    "colons": "ce-amendssaga: other; a=b, c",
    "onlyspace": " ",
    "empty": "",
    "long": "v" * ATTRIBUTE_BYTES_MAX,
}


async def _through(rig: Rig, *messages: Message) -> list[Message]:
    """What arrives of messages, in the order of their ids."""
    transport = await rig.transport()
    inbox = await rig.listen(transport)
    await rig.sent(transport, messages)
    came = await inbox.acked(len(messages))
    assert [delivery.flaw for delivery in came] == [""] * len(messages)
    return sorted(delivery.message for delivery in came if delivery.message is not None)


class ContentRules:
    """Headers and bodies."""

    @rule
    async def test_a_message_arrives_as_it_was_sent(self, rig: Rig) -> None:
        sent = rig.message("text", subject="order-42", key="saga-1", attributes={"amendsstep": "trip/hotels[3]/book"})

        assert await _through(rig, sent) == [sent]

    @rule
    async def test_one_without_subject_key_and_attributes_does_too(self, rig: Rig) -> None:
        sent = rig.message("", time=0.0)

        assert await _through(rig, sent) == [sent]

    @rule
    async def test_strange_values_of_attributes_arrive_as_they_were(self, rig: Rig) -> None:
        sent = rig.message(attributes=_STRANGE)

        came = await _through(rig, sent)

        assert dict(came[0].attributes) == _STRANGE

    @rule
    async def test_strange_subjects_keys_and_sources_arrive_as_they_were(self, rig: Rig) -> None:
        words = [value for value in _STRANGE.values() if value]
        sent = [rig.message(subject=word, key=word)._replace(source=word[:200], type=word[:200]) for word in words]

        assert await _through(rig, *sent) == sent

    @rule
    async def test_many_attributes_arrive(self, rig: Rig) -> None:
        sent = rig.message(attributes={f"amends{number}": f"value {number}" for number in range(55)})

        assert await _through(rig, sent) == [sent]

    @rule
    async def test_attributes_that_are_all_as_long_as_may_be_arrive_or_are_refused(self, rig: Rig) -> None:
        transport = await rig.transport()
        inbox = await rig.listen(transport)
        long = rig.message("long", attributes={f"amends{number}": "v" * ATTRIBUTE_BYTES_MAX for number in range(55)})

        told = await transport.publish([Send(rig.queue, m) for m in (rig.message("a"), long, rig.message("b"))])

        assert (told[0], told[2]) == (None, None)
        assert told[1] is None or isinstance(told[1], TransportRefused)
        assert {"a", "b"} <= set(await inbox.all_of(["a", "b", *(["long"] if told[1] is None else [])]))

    @rule
    async def test_a_body_is_any_bytes(self, rig: Rig) -> None:
        sent = rig.message(data=bytes(range(256)) * 3 + b"\r\n\r\n\x00")

        assert await _through(rig, sent) == [sent]

    @rule
    async def test_a_body_of_a_megabyte_arrives(self, rig: Rig) -> None:
        sent = rig.message(data=bytes(range(250)) * 4000)

        assert await _through(rig, sent) == [sent]

    @rule
    async def test_what_is_no_message_comes_with_a_flaw_and_holds_nothing_up(self, rig: Rig) -> None:
        garbage = rig.broker.garbage
        rig.needs(garbage, "nothing foreign gets into these queues")
        assert garbage is not None
        transport = await rig.transport()
        await transport.prepare([rig.queue])
        await garbage(rig.prefix, rig.queue)
        await rig.send(transport, "behind it")

        inbox = await rig.listen(transport, in_flight=10)

        foreign, ours = sorted(await inbox.some(2), key=lambda delivery: delivery.message is not None)
        assert foreign.message is None
        assert foreign.flaw
        assert text_of(ours) == "behind it"
        await foreign.ack()
        await ours.ack()

    @rule
    async def test_what_is_no_message_can_be_buried(self, rig: Rig) -> None:
        garbage = rig.broker.garbage
        rig.needs(garbage, "nothing foreign gets into these queues")
        assert garbage is not None
        transport = await rig.transport()
        await transport.prepare([rig.queue, dead_of(rig.queue)])
        await garbage(rig.prefix, rig.queue)
        inbox = await rig.listen(transport)

        await (await inbox.next()).bury("not ours")

        grave = await rig.listen(transport, dead_of(rig.queue))
        dead = await grave.next()
        assert dead.message is None
        await dead.ack()
        await rig.send(transport, "last")
        assert await inbox.acked_until("last") == ["last"]

    @rule
    async def test_what_is_buried_says_why_beside_all_that_it_said(self, rig: Rig) -> None:
        transport = await rig.transport()
        inbox = await rig.listen(transport)
        sent = rig.message("poison", subject="order-42", key="saga-1", attributes={"amendskey": "Zoë"})
        await rig.sent(transport, [sent])

        await (await inbox.next()).bury("no handler for\nit, “über”")

        grave = await rig.listen(transport, dead_of(rig.queue))
        came = (await grave.acked(1))[0].message
        assert came is not None
        assert came._replace(attributes={}) == sent._replace(attributes={})
        assert came.attributes["amendskey"] == "Zoë"
        assert came.attributes[DEAD_REASON] == "no handler for it, “über”"
