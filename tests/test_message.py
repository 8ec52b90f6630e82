"""The envelope: what goes into headers comes out of them, and nothing else gets in."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amends.errors import MessageRefused
from amends.message import (
    ATTRIBUTE_BYTES_MAX,
    ATTRIBUTES_MAX,
    PERCENT_ENCODED,
    Message,
    check,
    from_headers,
    from_rfc3339,
    headers,
    rfc3339,
)

PREFIXES = [PERCENT_ENCODED, "ce_", "cloudEvents_", "cloudEvents:"]
OWN = {"specversion", "id", "type", "source", "time", "subject", "partitionkey", "datacontenttype"}
PLAIN = {"ce-specversion": "1.0", "ce-id": "1", "ce-type": "t", "ce-source": "s"}

texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=200)
names = st.from_regex(r"[a-z0-9]{1,40}", fullmatch=True).filter(lambda name: name not in OWN)
instants = st.integers(-62_000_000_000 * 10**6, 253_000_000_000 * 10**6).map(lambda micros: micros / 10**6)
messages = st.builds(
    Message,
    id=texts,
    type=texts,
    source=texts,
    data=st.binary(max_size=50),
    time=st.just(0.0) | instants,
    subject=st.just("") | texts,
    key=st.just("") | texts,
    attributes=st.dictionaries(names, st.just("") | texts, max_size=20),
)


def at(instant: float) -> datetime:
    """An instant as it is written: to the microsecond."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=instant)


@given(message=messages, prefix=st.sampled_from(PREFIXES))
def test_what_goes_into_headers_comes_out_of_them(message: Message, prefix: str) -> None:
    back = from_headers(headers(message, prefix), message.data, prefix)

    assert back._replace(time=0.0) == message._replace(time=0.0)
    assert at(back.time) == at(message.time)


@given(message=messages, prefix=st.sampled_from(PREFIXES))
def test_no_header_can_end_early_or_begin_another(message: Message, prefix: str) -> None:
    for name, value in headers(message, prefix).items():
        assert name.isascii()
        assert not set(name) & set(" \r\n")
        assert not set(value) & {chr(code) for code in [*range(0x20), *range(0x7F, 0xA0)]}
        assert prefix != PERCENT_ENCODED or all(0x21 <= ord(letter) <= 0x7E for letter in value)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_the_case_of_header_names_does_not_matter(prefix: str) -> None:
    message = Message("1", "a.b", "s", subject="x", attributes={"amendskind": "action"})
    shouted = {name.upper(): value for name, value in headers(message, prefix).items()}

    assert from_headers(shouted, b"", prefix) == message


def test_headers_of_other_names_and_the_content_type_are_left_alone() -> None:
    given = {**PLAIN, "Content-Type": "application/json", "x-ce-id": "2", "ce-datacontenttype": "application/json"}

    assert from_headers(given, b"{}") == Message("1", "t", "s", b"{}")


def test_a_value_is_percent_encoded_as_the_standard_says() -> None:
    """The example of the HTTP and NATS bindings; `ce_` takes UTF-8 as it is."""
    message = Message("1", "t", "s", subject="Euro € 😀", attributes={"a": '50% "off"'})

    assert headers(message)["ce-subject"] == "Euro%20%E2%82%AC%20%F0%9F%98%80"
    assert headers(message)["ce-a"] == "50%25%20%22off%22"
    assert headers(message, "ce_")["ce_subject"] == "Euro € 😀"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("Euro%20%e2%82%ac", "Euro €"),
        ("%61%62", "ab"),
        ('"a \\"b\\" c"', 'a "b" c'),
        ('"', '"'),
        ("100%", "100%"),
    ],
)
def test_what_other_senders_write_is_read(written: str, meant: str) -> None:
    assert from_headers({**PLAIN, "ce-subject": written}, b"").subject == meant


@pytest.mark.parametrize("written", ["%C0%A0", "%FF", "%ED%A0%80", "\ud800%20"])
def test_what_is_no_utf_8_is_refused(written: str) -> None:
    with pytest.raises(MessageRefused, match="the attribute subject is not percent-encoded UTF-8"):
        from_headers({**PLAIN, "ce-subject": written}, b"")


def test_a_percent_sign_means_itself_where_nothing_is_encoded() -> None:
    given = {name.replace("-", "_"): value for name, value in PLAIN.items()} | {"ce_subject": "%41"}

    assert from_headers(given, b"", "ce_").subject == "%41"


@pytest.mark.parametrize("version", [None, "", "0.3", "1.0.2", "2.0"])
def test_what_is_no_event_of_this_version_is_refused(version: str | None) -> None:
    given = {name: value for name, value in PLAIN.items() if name != "ce-specversion"}
    if version is not None:
        given["ce-specversion"] = version

    with pytest.raises(MessageRefused, match=r"it has no ce-specversion 1\.0"):
        from_headers(given, b"")


@pytest.mark.parametrize("name", ["id", "type", "source"])
@pytest.mark.parametrize("value", [None, ""])
def test_a_message_without_a_required_attribute_is_refused_by_its_name(name: str, value: str | None) -> None:
    given = dict(PLAIN)
    given.pop(f"ce-{name}")
    if value is not None:
        given[f"ce-{name}"] = value

    with pytest.raises(MessageRefused, match=f"it lacks the attribute {name}"):
        from_headers(given, b"")


@pytest.mark.parametrize("letter", ["\r", "\n", "\0", "\x1f", "\x7f", "\x85", "\x9f", "\ud800"])
@pytest.mark.parametrize("name", ["id", "subject", "amendskey"])
def test_a_value_with_a_control_character_is_refused(letter: str, name: str) -> None:
    given = {**PLAIN, f"ce-{name}": f"a{letter}b"}

    with pytest.raises(MessageRefused, match=f"the attribute {name} has characters"):
        from_headers(given, b"")


def test_a_control_character_is_refused_also_where_it_comes_percent_encoded() -> None:
    with pytest.raises(MessageRefused, match="the attribute subject has characters"):
        from_headers({**PLAIN, "ce-subject": "a%0D%0Ace-id:%202"}, b"")


@pytest.mark.parametrize("name", ["", "amends-key", "amends_key", "AmendsKey", "ä", "a" * 41, "a,b", "a\n"])
def test_a_name_of_other_letters_is_refused(name: str) -> None:
    with pytest.raises(MessageRefused, match="a name is lower-case letters and digits"):
        check({"fine": "x", name: "x"})


def test_a_value_that_is_no_text_is_refused() -> None:
    given: dict[str, str] = {"a": b"x"}  # type: ignore[dict-item]  # what a careless adapter may hand in

    with pytest.raises(MessageRefused, match="the attribute a has characters"):
        check(given)
    with pytest.raises(MessageRefused, match="the attribute id has characters"):
        from_headers({**PLAIN, "ce-id": 7}, b"")  # type: ignore[dict-item]


@pytest.mark.parametrize("value", ["x" * ATTRIBUTE_BYTES_MAX, "ü" * (ATTRIBUTE_BYTES_MAX // 2), "no\u00a0break"])
def test_a_value_of_the_greatest_length_passes_and_one_byte_more_does_not(value: str) -> None:
    check({"a": value})

    with pytest.raises(MessageRefused, match=r"the attribute a has 40\d\d bytes; 4096 are allowed"):
        check({"a": value + "x" * (ATTRIBUTE_BYTES_MAX + 1 - len(value.encode()))})


def test_so_many_attributes_pass_and_one_more_does_not() -> None:
    many = {f"a{number}": "x" for number in range(ATTRIBUTES_MAX)}
    check(many)

    with pytest.raises(MessageRefused, match="it has 65 attributes; 64 are allowed"):
        check({**many, "one": "more"})


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("1970-01-01T00:00:00Z", 0.0),
        ("2026-03-01T12:00:00.25+02:00", 1772359200.25),
        ("2026-03-01T10:00:00.250000999Z", 1772359200.25),
        ("2026-03-01T10:00:00.250Z", 1772359200.25),
        ("2026-03-01t10:00:00z", 1772359200.0),
    ],
)
def test_an_instant_is_read_in_any_zone_and_any_precision(text: str, instant: float) -> None:
    assert from_rfc3339(text) == instant


@pytest.mark.parametrize(
    "text", ["now", "2026-03-01T12:00:00", "2026-03-01", "12:00:00Z", "2026-13-01T00:00:00Z", "1772359200", "\u0661"]
)
def test_an_instant_without_a_zone_or_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(MessageRefused, match="is no RFC 3339 instant with a zone"):
        from_headers({**PLAIN, "ce-time": text}, b"")


@given(text=st.text(max_size=30))
def test_a_time_is_read_or_refused_and_nothing_else_happens(text: str) -> None:
    with suppress(MessageRefused):
        assert isinstance(from_rfc3339(text), float)


def test_an_instant_is_written_in_utc_to_the_microsecond() -> None:
    assert rfc3339(0.0) == "1970-01-01T00:00:00.000000Z"
    assert rfc3339(1772359200.25) == "2026-03-01T10:00:00.250000Z"


@given(
    names=st.dictionaries(st.sampled_from([f"CE-{name}" for name in sorted(OWN)]) | st.text(max_size=12), st.text()),
    data=st.binary(max_size=20),
)
def test_whatever_comes_is_a_message_or_is_refused(names: dict[str, str], data: bytes) -> None:
    try:
        message = from_headers(PLAIN | names, data)
    except MessageRefused:
        return
    check(message.attributes)
    assert message.data == data
