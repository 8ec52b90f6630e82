"""Commands, replies and notices: what is read is what was written, and what cannot be is refused by name."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amends.decide.events import ACTION, UNDO, Phase
from amends.decide.wire import (
    AFTER_SECONDS_MAX,
    ATTEMPTS_MAX,
    REASON_CHARACTERS,
    ROUNDS_MAX,
    SAGAS_PER_NOTICE,
    Command,
    Ended,
    Kind,
    Reply,
    Word,
    command_message,
    command_of,
    ended_message,
    ended_of,
    reply_message,
    reply_of,
)
from amends.errors import MessageRefused
from amends.message import Message, from_headers, headers

SAGA = bytes(range(16))
AT = 1_772_359_200.25
COMMAND = Command("inventory.reserve", "shop", SAGA, "o-1", "reserve", ACTION, b"{}", "token", "shop.replies", AT)
REPLY = Reply("shop", SAGA, "o-1", "reserve", ACTION, Word.SUCCEEDED, "token", b'{"id":1}')
OF_ACTIONS = [Word.SUCCEEDED, Word.REJECTED, Word.FAILED, Word.FENCED, Word.EARLIER_OPEN, Word.EXPIRED]
OF_UNDOS = [Word.COMPENSATED, Word.VOID, Word.MISSING, Word.FAILED, Word.EXPIRED]
FITTING = [(ACTION, word) for word in OF_ACTIONS] + [(UNDO, word) for word in OF_UNDOS]

texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40)
reasons = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
sagas = st.binary(min_size=16, max_size=16)
steps = st.sampled_from(["reserve", "trip/hotels[3]/book", "_a-b.c", "x" * 2200])
traces = st.sampled_from([{}, {"traceparent": "00-0a-0b-01"}, {"traceparent": "00-0a-0b-00", "tracestate": "a=1"}])
rounds = st.integers(1, ROUNDS_MAX)
commands = st.builds(
    Command,
    type=texts,
    namespace=texts,
    saga=sagas,
    key=texts,
    step=steps,
    phase=st.just(ACTION),
    data=st.binary(max_size=20),
    token=texts,
    reply_to=st.sampled_from(["shop.replies", "a.b-c_1.replies"]),
    sent_at=st.just(AT),
    round=rounds,
    attempt=st.integers(1, ATTEMPTS_MAX),
    closed=st.integers(0, ROUNDS_MAX),
    known=st.just(False),
    trace=traces,
)
undos = st.builds(lambda command, known: command._replace(phase=UNDO, known=known), commands, st.booleans())
replies = st.builds(
    lambda reply, fitting: reply._replace(phase=fitting[0], word=fitting[1]),
    st.builds(
        Reply,
        namespace=texts,
        saga=sagas,
        key=texts,
        step=steps,
        phase=st.just(ACTION),
        word=st.just(Word.SUCCEEDED),
        token=texts,
        data=st.binary(min_size=1, max_size=20),
        reason=reasons,
        round=rounds,
        attempt=st.integers(0, ATTEMPTS_MAX),
        after=st.none() | st.integers(0, 10**9).map(lambda milliseconds: milliseconds / 1000),
        park=st.booleans(),
        final=st.booleans(),
    ),
    st.sampled_from(FITTING),
)


def carried(message: Message, prefix: str = "ce-") -> Message:
    """A message after its journey."""
    return from_headers(headers(message, prefix), message.data, prefix)


def changed(message: Message, **attributes: str | None) -> Message:
    """The message with other attributes; None is without it."""
    merged = {**message.attributes, **attributes}
    return message._replace(attributes={name: value for name, value in merged.items() if value is not None})


def a_command(**attributes: str | None) -> Message:
    """The message of a command, with other attributes."""
    return changed(command_message(COMMAND, "1", "shop"), **attributes)


def a_reply(reply: Reply = REPLY, /, **attributes: str | None) -> Message:
    """The message of a reply, with other attributes."""
    return changed(reply_message(reply, "inventory.reserve", "1", "inventory", AT, {}), **attributes)


@given(command=commands | undos, prefix=st.sampled_from(["ce-", "ce_", "cloudEvents_"]))
def test_a_command_arrives_as_it_was_sent(command: Command, prefix: str) -> None:
    assert command_of(carried(command_message(command, "1", "shop"), prefix)) == command


@given(reply=replies, prefix=st.sampled_from(["ce-", "ce_", "cloudEvents_"]))
def test_a_reply_arrives_as_it_was_sent(reply: Reply, prefix: str) -> None:
    back = reply_of(carried(reply_message(reply, "a.b", "1", "inventory", AT, {}), prefix))

    succeeded = reply.word is Word.SUCCEEDED
    assert back == reply._replace(data=reply.data if succeeded else b"null", reason="" if succeeded else reply.reason)


@given(ended=st.builds(Ended, namespace=texts, sagas=st.lists(sagas, max_size=5).map(tuple)))
def test_a_notice_arrives_as_it_was_sent(ended: Ended) -> None:
    assert ended_of(carried(ended_message(ended, "1", "shop", AT))) == ended


def test_messages_of_one_saga_have_one_key_and_its_id_as_their_subject() -> None:
    command, reply = a_command(), a_reply()

    assert command.key == reply.key == SAGA.hex()
    assert command.subject == reply.subject == "o-1"
    assert (command.type, command.time) == ("inventory.reserve", AT)


def test_only_an_undo_says_what_is_known_of_the_action() -> None:
    undo = command_message(COMMAND._replace(phase=UNDO, known=True), "1", "shop")

    assert undo.attributes["amendsknown"] == "succeeded"
    assert "amendsknown" not in a_command().attributes


def test_a_trace_goes_with_a_command_and_with_its_reply() -> None:
    trace = {"traceparent": "00-0a-0b-01", "tracestate": "a=1"}
    command = command_message(COMMAND._replace(trace=trace), "1", "shop")

    assert command_of(command).trace == trace
    assert reply_message(REPLY, "a.b", "1", "i", AT, trace).attributes.items() >= trace.items()


def test_what_may_be_left_out_has_its_least_value() -> None:
    command = command_of(a_command(amendsround=None, amendsattempt=None, amendsclosed=None))
    reply = reply_of(a_reply(amendsround=None, amendsattempt=None))

    assert (command.round, command.attempt, command.closed, command.known) == (1, 1, 0, False)
    assert (reply.round, reply.attempt, reply.after, reply.park, reply.final) == (1, 0, None, False, False)


def test_attributes_that_nobody_knows_are_left_alone() -> None:
    assert command_of(a_command(amendsnew="x", other="y")) == COMMAND
    assert reply_of(a_reply(amendsnew="x", other="y")) == REPLY


@pytest.mark.parametrize("kind", [None, "", "reply", "ended", "event", "ACTION"])
def test_what_is_no_command_is_refused(kind: str | None) -> None:
    with pytest.raises(MessageRefused, match=r"amendskind is .*: no command"):
        command_of(a_command(amendskind=kind))


@pytest.mark.parametrize("kind", [None, "", "action", "undo", "ended", "event"])
def test_what_is_no_reply_is_refused(kind: str | None) -> None:
    with pytest.raises(MessageRefused, match=r"amendskind is .*: no reply"):
        reply_of(a_reply(amendskind=kind))


@pytest.mark.parametrize("kind", [None, "action", "reply"])
def test_what_is_no_notice_is_refused(kind: str | None) -> None:
    with pytest.raises(MessageRefused, match=r"amendskind is .*: no notice"):
        ended_of(changed(ended_message(Ended("shop", (SAGA,)), "1", "shop", AT), amendskind=kind))


def test_a_command_that_does_not_say_when_it_was_sent_is_refused() -> None:
    with pytest.raises(MessageRefused, match="it lacks the attribute time"):
        command_of(a_command()._replace(time=0.0))


@pytest.mark.parametrize(
    "name", ["amendsnamespace", "amendssaga", "amendskey", "amendsstep", "amendstoken", "amendsreplyto"]
)
@pytest.mark.parametrize("value", [None, ""])
def test_a_command_that_lacks_something_is_refused_by_its_name(name: str, value: str | None) -> None:
    with pytest.raises(MessageRefused, match=f"it lacks the attribute {name}"):
        command_of(a_command(**{name: value}))


@pytest.mark.parametrize("name", ["amendsnamespace", "amendssaga", "amendskey", "amendsstep", "amendstoken"])
@pytest.mark.parametrize("value", [None, ""])
def test_a_reply_that_lacks_something_is_refused_by_its_name(name: str, value: str | None) -> None:
    with pytest.raises(MessageRefused, match=f"it lacks the attribute {name}"):
        reply_of(a_reply(**{name: value}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("amendssaga", SAGA.hex().upper() + "A"),
        ("amendssaga", SAGA.hex()[:-1]),
        ("amendssaga", "g" * 32),
        ("amendssaga", SAGA.hex() + "\n"),
        ("amendsstep", "3rd"),
        ("amendsstep", "a b"),
        ("amendsstep", "a" * 4001),
        ("amendsstep", "réserve"),
        ("amendsreplyto", "payment.commands"),
        ("amendsreplyto", ".replies"),
        ("amendsreplyto", "shop..replies"),
        ("amendsreplyto", "shop.replies.>"),
        ("amendsreplyto", "*.replies"),
        ("amendsreplyto", "a" * 213 + ".replies"),
        ("amendsround", "0"),
        ("amendsround", "-1"),
        ("amendsround", "1.5"),
        ("amendsround", "01"),
        ("amendsround", "\u0661"),
        ("amendsround", ""),
        ("amendsround", str(ROUNDS_MAX + 1)),
        ("amendsround", "9" * 5000),
        ("amendsattempt", "0"),
        ("amendsattempt", str(ATTEMPTS_MAX + 1)),
        ("amendsclosed", "x"),
        ("amendsclosed", str(ROUNDS_MAX + 1)),
        ("amendsknown", "maybe"),
        ("amendsknown", ""),
    ],
)
def test_a_command_with_something_that_cannot_be_is_refused_by_its_name(name: str, value: str) -> None:
    with pytest.raises(MessageRefused, match=f"^{name} is "):
        command_of(a_command(**{name: value}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("amendssaga", "0"),
        ("amendsstep", "/"),
        ("amendsround", "0"),
        ("amendsattempt", "-1"),
        ("amendsafter", "-1"),
        ("amendsafter", "soon"),
        ("amendsafter", "1e9"),
        ("amendsafter", "inf"),
        ("amendsafter", "999999999"),
        ("amendspark", "yes"),
        ("amendsfinal", "True"),
    ],
)
def test_a_reply_with_something_that_cannot_be_is_refused_by_its_name(name: str, value: str) -> None:
    with pytest.raises(MessageRefused, match=f"^{name} is "):
        reply_of(a_reply(**{name: value}))


@pytest.mark.parametrize("phase", [*Phase, "", "do"])
@pytest.mark.parametrize("word", [*Word, "", "done"])
def test_a_reply_tells_an_outcome_that_its_phase_can_have_or_is_refused(phase: str, word: str) -> None:
    reply = a_reply(amendsphase=phase, amendsoutcome=word)
    fits = (phase, word) in FITTING

    if fits:
        assert (reply_of(reply).phase, reply_of(reply).word) == (phase, word)
    else:
        with pytest.raises(MessageRefused, match="no such outcome"):
            reply_of(reply)


def test_a_reply_without_phase_or_outcome_is_refused() -> None:
    for name in ("amendsphase", "amendsoutcome"):
        with pytest.raises(MessageRefused, match="no such outcome"):
            reply_of(a_reply(**{name: None}))


def test_a_result_of_nothing_is_null() -> None:
    assert reply_of(a_reply()._replace(data=b"")).data == b"null"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", ""),
        (b"null", ""),
        (b"[1]", ""),
        (b"{}", ""),
        (b'{"reason": 7}', ""),
        (b'{"reason": "sold out", "more": 1}', "sold out"),
        (b"not json", ""),
        (b"\xff", ""),
        (b"[" * 100_000, ""),
        (b'{"reason": "a\\u0000b\\ud800c"}', "a\ufffdb\ufffdc"),
        (json.dumps({"reason": "é" * 5000}).encode(), "é" * REASON_CHARACTERS),
    ],
)
def test_the_words_of_a_participant_are_read_kept_short_and_can_be_stored(data: bytes, reason: str) -> None:
    rejected = a_reply(REPLY._replace(word=Word.REJECTED))

    assert reply_of(rejected._replace(data=data)).reason == reason


@pytest.mark.parametrize(("after", "meant"), [(-5.0, 0.0), (1e-9, 0.0), (0.0625, 0.062), (1e300, AFTER_SECONDS_MAX)])
def test_a_delay_is_written_so_that_it_can_be_read(after: float, meant: float) -> None:
    assert reply_of(a_reply(REPLY._replace(word=Word.FAILED, after=after))).after == meant


def test_a_long_reason_is_cut_by_whoever_writes_it() -> None:
    told = a_reply(REPLY._replace(word=Word.FAILED, reason="x" * 9000))

    assert json.loads(told.data) == {"reason": "x" * REASON_CHARACTERS}


@pytest.mark.parametrize(
    "sagas",
    [None, 7, "00", {"0": 1}, [7], [None], ["00" * 15], ["00" * 17], ["  " + "00" * 15], ["FF" * 16], [["00" * 16]]],
)
def test_a_notice_of_something_else_than_sagas_is_refused(sagas: object) -> None:
    message = ended_message(Ended("shop", ()), "1", "shop", AT)._replace(data=json.dumps({"sagas": sagas}).encode())

    with pytest.raises(MessageRefused, match="its data "):
        ended_of(message)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"7", b"\xff", b"[" * 100_000])
def test_a_notice_without_a_list_is_refused(data: bytes) -> None:
    with pytest.raises(MessageRefused, match="its data is no list of sagas"):
        ended_of(ended_message(Ended("shop", ()), "1", "shop", AT)._replace(data=data))


def test_a_notice_has_so_many_sagas_and_not_one_more() -> None:
    many = ended_message(Ended("shop", (SAGA,) * SAGAS_PER_NOTICE), "1", "shop", AT)
    more = ended_message(Ended("shop", (SAGA,) * (SAGAS_PER_NOTICE + 1)), "1", "shop", AT)

    assert len(ended_of(many).sagas) == SAGAS_PER_NOTICE
    with pytest.raises(MessageRefused, match="its data names too many sagas"):
        ended_of(more)


def test_a_notice_without_its_namespace_is_refused() -> None:
    with pytest.raises(MessageRefused, match="it lacks the attribute amendsnamespace"):
        ended_of(changed(ended_message(Ended("shop", (SAGA,)), "1", "shop", AT), amendsnamespace=None))


ATTRIBUTES = ["amendskind", "amendsphase", "amendsoutcome", "amendsround", "amendsafter", "amendsknown", "amendssaga"]
OTHERS = st.dictionaries(st.sampled_from(ATTRIBUTES), st.text(max_size=8) | st.sampled_from([*Kind, *Word, "1", "-0"]))


@given(attributes=OTHERS, data=st.binary(max_size=12))
def test_whatever_comes_is_read_or_refused_and_nothing_else_happens(attributes: Mapping[str, str], data: bytes) -> None:
    for message, read in ((a_command(), command_of), (a_reply(), reply_of)):
        try:
            read(changed(message, **attributes)._replace(data=data))
        except MessageRefused as error:
            assert error.args  # noqa: PT017  # any refusal has its words
