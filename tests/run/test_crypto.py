"""Keys: how they are read, what they seal, and that they show nothing of themselves."""

from __future__ import annotations

import subprocess
import sys
from base64 import b64encode
from pathlib import Path

import pytest

from amends import Orchestrator, Participant, Saga, Service, pivot, wait_for
from amends.crypto import Keys, new_key
from amends.decide import events as e
from amends.decide import messages as m
from amends.decide.wire import Reply, Word
from amends.define.program import Program
from amends.errors import DefinitionError, KeyMissing, StoreDamaged
from amends.run import journal
from amends.run.mailbox import Wish, act_mail, flaw_of, letter_of, message_of_wish, reply_body
from amends.run.sealed_mail import opened, sealed
from amends.run.sealing import MARK, Seal, Seals, key_of, opened_payload, opened_rows

ONE, TWO = b"1" * 32, b"2" * 32
TEXT_ONE, TEXT_TWO = b64encode(ONE).decode(), b64encode(TWO).decode()


def seal(keys: Keys, saga: str = "saga-1") -> Seal:
    """Of one saga."""
    return Seal(keys, "saga", "default", saga)


def test_what_is_sealed_opens_and_does_not_show_what_it_was() -> None:
    made = seal(Keys({"a": ONE})).sealed(b'{"card":"4111"}', "started ")

    assert b"4111" not in made
    assert key_of(made) == "a"
    assert seal(Keys({"a": ONE})).opened(made, "started ") == b'{"card":"4111"}'


def test_the_same_payload_is_sealed_in_another_way_each_time() -> None:
    assert seal(Keys({"a": ONE})).sealed(b"1", "x") != seal(Keys({"a": ONE})).sealed(b"1", "x")


@pytest.mark.parametrize("what", ["saga", "place", "changed", "cut", "another key", "no base64"])
def test_what_was_moved_or_changed_does_not_open(what: str) -> None:
    keys = Keys({"a": ONE})
    made = seal(keys).sealed(b'{"card":"4111"}', "succeeded pay")
    place, saga = "succeeded pay", "saga-1"
    if what == "saga":
        saga = "saga-2"
    elif what == "place":
        place = "succeeded ship"
    elif what == "changed":
        made = made[:-6] + (b"AAAA" if made[-6:-2] != b"AAAA" else b"BBBB") + made[-2:]
    elif what == "cut":
        made = MARK + b'a:AAAA"'
    elif what == "no base64":
        made = MARK + b'a:~~~"'
    else:
        keys = Keys({"a": TWO})

    with pytest.raises(StoreDamaged, match="does not open"):
        seal(keys, saga).opened(made, place)


def test_a_new_key_seals_and_the_old_one_still_opens() -> None:
    old = seal(Keys({"old": ONE})).sealed(b"1", "x")
    both = Keys({"new": TWO, "old": ONE})

    assert seal(both).opened(old, "x") == b"1"
    assert key_of(seal(both).sealed(b"1", "x")) == "new"


def test_a_key_that_is_not_here_is_named() -> None:
    made = seal(Keys({"2026-05": ONE})).sealed(b"1", "x")

    with pytest.raises(KeyMissing, match="2026-05"):
        seal(Keys({"a": TWO})).opened(made, "x")
    with pytest.raises(KeyMissing, match="2026-05"):
        opened_payload(made, None, "x")


def test_what_is_not_sealed_is_read_as_it_is_and_nothing_is_sealed_twice() -> None:
    keys = Keys({"a": ONE})
    once = seal(keys).sealed(b"1", "x")

    assert seal(keys).opened(b'"sealed:a:x"', "x") == b'"sealed:a:x"'
    assert seal(keys).sealed(once, "x") is once


def test_every_payload_of_a_row_is_sealed_and_all_else_stands_as_it_was() -> None:
    events: list[e.Event] = [
        e.Started(b'{"n":1}', 12.0),
        e.Listed("each", (b"1", b"2")),
        e.Built("ask", b'{"c":1}'),
        e.Succeeded("pay", b'"done"'),
        e.Kept("signed", b"true"),
        e.Closed("pay", e.ACTION, "by hand", b"7"),
        e.Closed("pay", e.UNDO, "by hand"),
        e.Late("pay", e.ACTION, "succeeded", b"8"),
        e.Given("pay", b'{"a":1}'),
        e.Failed("pay", e.ACTION, "no", resolved=True, due=3.0),
    ]
    row = journal.encode(1.0, 2, seal(Keys({"a": ONE})).events(events))

    assert row.count(MARK) == 9
    assert [type(event) for event in journal.decode(row).events] == [type(event) for event in events]
    assert journal.decode(opened_rows([row], seal(Keys({"a": ONE})))[0]).events == tuple(events)
    with pytest.raises(KeyMissing):
        opened_rows([row], None)


SAY = Service("say").command("say", str, reply=str)


@SAY.request(name="say")
def say(text: str) -> str:
    """Whatever there is to be said."""
    return text


LOUD = Saga("loud", wait_for("word", str), pivot(say), input=int, output=say)
FORGED = rb'"\u0073ealed:a:QUJD"'


@pytest.mark.parametrize("forged", [FORGED, b"\n " + FORGED])
@pytest.mark.parametrize(("verb", "address"), [("resolve", "say"), ("signal", "word")])
@pytest.mark.parametrize("program", [LOUD.program, None])
def test_what_a_person_gives_that_would_be_taken_for_sealed_is_refused(
    verb: str, address: str, forged: bytes, program: Program | None
) -> None:
    """Typed it is a text like any other; kept as it stands nobody could read it."""
    wish = Wish(verb, address, "ada", "why", forged)

    made = message_of_wish("mail-1", wish, program, 1000)

    assert isinstance(made, (m.Operate, m.Signal))
    assert "begins as what is sealed" in made.flaw
    assert "begins as what is sealed" in flaw_of(forged, 1000)
    assert flaw_of(b'"sealed:a:QUJD"', 1000) == ""


def test_a_reply_that_would_be_taken_for_sealed_is_left_out() -> None:
    reply = Reply("default", b"1" * 16, "one", "say", e.ACTION, Word.SUCCEEDED, "", FORGED)

    letter = letter_of(reply_body(reply, 1000))

    assert bytes(letter.value) == b"null"
    assert "begins as what is sealed" in letter.reason


def test_each_payload_of_a_mail_is_sealed_whatever_stands_in_another() -> None:
    """The mark is one of a payload only where that begins with it."""
    seals = Seals(Keys({"a": ONE}), "default")
    mail = act_mail("one", "m1", Wish("retry", "say", "ada", "why", b'{"x":' + FORGED + b"}", b'{"text":"open"}'))

    once = sealed(mail, seals)

    assert b"open" not in once.body
    assert once.body.count(MARK) == 2
    assert sealed(once, seals) == once
    assert opened("act", once.body, seals, "one") == mail.body


# Where keys come from


def test_keys_come_from_the_environment_the_first_one_seals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMENDS_KEYS", f"new={TEXT_TWO},old={TEXT_ONE}")

    assert Keys.from_env().names == ("new", "old")
    assert Keys.from_env().current == "new"


def test_keys_come_from_a_file_with_remarks(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# of 2026\n2026-11={TEXT_TWO}  # now\n\n2026-05={TEXT_ONE}\n")

    assert Keys.from_file(file).names == ("2026-11", "2026-05")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# none",
        "a",
        "a=",
        "a=xyz",
        f"a={b64encode(b'short').decode()}",
        f"a={TEXT_ONE}\na={TEXT_TWO}",
        f"a b={TEXT_ONE}",
    ],
)
def test_keys_that_are_none_are_refused_and_not_shown(tmp_path: Path, text: str) -> None:
    file = tmp_path / "keys"
    file.write_text(text)

    with pytest.raises(DefinitionError) as refused:
        Keys.from_file(file)

    assert not any(key in str(refused.value) for key in (TEXT_ONE, TEXT_TWO, "xyz"))


def test_what_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AMENDS_KEYS", raising=False)

    with pytest.raises(DefinitionError, match="AMENDS_KEYS"):
        Keys.from_env()
    with pytest.raises(DefinitionError, match="FileNotFoundError"):
        Keys.from_file(tmp_path / "none")
    with pytest.raises(DefinitionError, match="at least one"):
        Keys({})
    with pytest.raises(DefinitionError, match="32 bytes"):
        Keys({"a": b"short"})


def test_keys_show_their_names_and_nothing_else() -> None:
    assert repr(Keys({"new": TWO, "old": ONE})) == "Keys(new, old)"


def test_what_is_no_keys_is_refused_when_it_is_given() -> None:
    for make in (
        lambda: Orchestrator("sqlite:///x.db", sagas=[], keys=b"1"),  # type: ignore[arg-type]
        lambda: Participant(Service("shop"), keys=b"1"),  # type: ignore[arg-type]
    ):
        with pytest.raises(DefinitionError, match=r"amends\.crypto\.Keys is expected"):
            make()


def test_the_module_prints_a_new_key() -> None:
    printed = subprocess.run([sys.executable, "-m", "amends.crypto"], capture_output=True, text=True, check=True).stdout

    assert Keys.from_text(f"a={printed.strip()}", "it").names == ("a",)
    assert len(new_key()) == 32
