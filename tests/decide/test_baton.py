"""Batons and words: what is read is what was written, and what cannot be is refused by name."""

from __future__ import annotations

import pytest

from amends.decide.baton import (
    Answered,
    Baton,
    Mark,
    Progress,
    Saga,
    Stand,
    Told,
    answer_message,
    answer_of,
    baton_message,
    baton_of,
    mark_message,
    mark_of,
    progress_beside,
    progress_message,
    progress_of,
    word_message,
    word_of,
)
from amends.decide.events import ACTION, UNDO, Phase
from amends.errors import MessageRefused
from amends.message import Message, from_headers, headers

AT = 1_772_359_200.25
SAGA = Saga(bytes(range(16)), "order-1", "place-order", "0123456789abcdef" * 2, "orders")
BATON = Baton(SAGA, "payment.charge-card", "charge_card", ACTION, 1, b'[[1.5,0,[["started",{},null]]]]', AT)
MARK = Mark(SAGA, "0f" * 16, "resolve", "charge_card", "ada", "it is done, ticket 812", b'{"id":1}')
ANSWERED = Answered(SAGA, "0f" * 16, "too late", "it has passed its pivot", "payment", 7)
TOLD = Told(SAGA, Stand.PARKED, "payment", b"[]")


def bent(message: Message, **attributes: str | None) -> Message:
    """The message with other attributes."""
    given = {**message.attributes, **attributes}
    return message._replace(attributes={name: value for name, value in given.items() if value is not None})


@pytest.mark.parametrize("phase", [ACTION, UNDO])
def test_a_baton_reads_back_as_what_was_written(phase: Phase) -> None:
    baton = BATON._replace(phase=phase, round=3, marks=("0a" * 16, "0b" * 16), trace={"traceparent": "00-0a-0b-01"})

    message = baton_message(baton, "m1", "/amends/orders")

    assert baton_of(from_headers(headers(message), message.data)) == baton
    assert (message.subject, message.key) == ("order-1", SAGA.id.hex())


@pytest.mark.parametrize("stand", Stand)
def test_a_word_reads_back_as_what_was_written(stand: Stand) -> None:
    told = TOLD._replace(stand=stand)

    message = word_message(told, "m1", "/amends/payment", AT)

    assert word_of(from_headers(headers(message), message.data)) == told


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("amendskind", "action"),
        ("amendssaga", "12"),
        ("amendskey", None),
        ("amendsplan", "x" * 201),
        ("amendsfingerprint", "zz"),
        ("amendshome", "no/where"),
        ("amendsstep", "a b"),
        ("amendsphase", "sideways"),
        ("amendsround", "0"),
        ("amendsmarks", "a,b"),
    ],
)
def test_a_baton_that_cannot_be_is_refused_by_the_name_of_what_is_wrong(name: str, value: str | None) -> None:
    with pytest.raises(MessageRefused, match=name):
        baton_of(bent(baton_message(BATON, "m1", "/amends/orders"), **{name: value}))


def test_a_baton_without_its_time_is_refused() -> None:
    with pytest.raises(MessageRefused, match="attribute time"):
        baton_of(baton_message(BATON, "m1", "/amends/orders")._replace(time=0.0))


@pytest.mark.parametrize(("name", "value"), [("amendskind", "baton"), ("amendsstand", "tired"), ("amendsservice", "?")])
def test_a_word_that_cannot_be_is_refused_by_the_name_of_what_is_wrong(name: str, value: str) -> None:
    with pytest.raises(MessageRefused, match=name):
        word_of(bent(word_message(TOLD, "m1", "/amends/payment", AT), **{name: value}))


@pytest.mark.parametrize(
    "mark",
    [
        MARK,
        MARK._replace(verb="cancel", address="", result=None),
        MARK._replace(verb="retry", version=7, settled=True),
        MARK._replace(verb="assign", address="ada", result=None, version=12),
    ],
)
def test_a_mark_reads_back_as_what_was_written(mark: Mark) -> None:
    message = mark_message(mark, "m1", "/amends/orders", AT)

    assert mark_of(from_headers(headers(message), message.data)) == mark


def test_a_version_that_is_no_number_is_refused() -> None:
    message = mark_message(MARK._replace(version=7), "m1", "/amends/orders", AT)

    with pytest.raises(MessageRefused, match="its version is 'seven'"):
        mark_of(message._replace(data=message.data.replace(b'"7"', b'"seven"')))


def test_an_answer_reads_back_as_what_was_written() -> None:
    message = answer_message(ANSWERED, "m1", "/amends/payment", AT)

    assert answer_of(from_headers(headers(message), message.data)) == ANSWERED


@pytest.mark.parametrize("data", [b"[]", b"{", b'{"reason":1}', b"\xff"])
def test_what_a_mark_or_an_answer_says_is_an_object_of_texts(data: bytes) -> None:
    with pytest.raises(MessageRefused, match="object of texts"):
        mark_of(mark_message(MARK, "m1", "/amends/orders", AT)._replace(data=data))
    with pytest.raises(MessageRefused, match="object of texts"):
        answer_of(answer_message(ANSWERED, "m1", "/amends/orders", AT)._replace(data=data))


def test_an_answer_that_cannot_be_is_refused_by_name() -> None:
    with pytest.raises(MessageRefused, match="amendsanswer"):
        answer_of(bent(answer_message(ANSWERED, "m1", "/amends/payment", AT), amendsanswer="perhaps"))


def test_a_progress_reads_back_as_what_was_written() -> None:
    progress = Progress(SAGA, "payment", BATON.history)

    message = progress_message(progress, "m1", "/amends/payment", AT)

    assert progress_of(from_headers(headers(message), message.data)) == progress


@pytest.mark.parametrize(("name", "value"), [("amendskind", "word"), ("amendsservice", "?"), ("amendssaga", "12")])
def test_a_progress_that_cannot_be_is_refused_by_the_name_of_what_is_wrong(name: str, value: str) -> None:
    message = progress_message(Progress(SAGA, "payment", b"[]"), "m1", "/amends/payment", AT)

    with pytest.raises(MessageRefused, match=name):
        progress_of(bent(message, **{name: value}))


def test_a_baton_and_a_word_tell_whoever_watches_what_they_say_and_nothing_else_does() -> None:
    for message in (baton_message(BATON, "m1", "/amends/orders"), word_message(TOLD, "m1", "/amends/payment", AT)):
        beside = progress_beside(message, "payment")
        assert beside is not None
        assert beside.id == "m1.progress"
        assert progress_of(beside) == Progress(SAGA, "payment", message.data)
    assert progress_beside(mark_message(MARK, "m1", "/amends/orders", AT), "payment") is None
    assert progress_beside(Message("m1", "payment.charged", "/amends/payment"), "payment") is None
