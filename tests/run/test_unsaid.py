"""Secrets in what an exception says: taken out, in whatever way they were written."""

from __future__ import annotations

import json
from dataclasses import dataclass
from urllib.parse import quote, quote_plus

import pytest

from amends import Saga, Secret, wait_for
from amends.decide import messages as m
from amends.decide.decide import decide
from amends.decide.events import Phase
from amends.define.values import describe
from amends.run.unsaid import Known, in_payloads, in_state, unsaid, unsaid_by

VALUES = ["4111 1111", "a'b\"c", "p@ss/w+rd=", "käse\n42", "c2VjcmV0IGtleQ=="]


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize(
    "written", [str, repr, json.dumps, lambda text: json.dumps(text, ensure_ascii=False), quote, quote_plus]
)
def test_a_secret_is_taken_out_however_it_is_written(value: str, written: object) -> None:
    said = unsaid(f"it failed with {written(value)}!", [value])  # type: ignore[operator]

    assert said.replace("'", "").replace('"', "") == "it failed with ***!"


def test_bytes_that_are_kept_as_base64_are_known_as_they_are_printed() -> None:
    assert unsaid(f"no: {b'secret key'!r}", ["c2VjcmV0IGtleQ=="]) == "no: b'***'"
    assert unsaid(f"no: {b'secret key'.hex()}", ["c2VjcmV0IGtleQ=="]) == "no: ***"


def test_a_short_one_goes_where_it_is_a_word() -> None:
    assert unsaid("cvv 123 of order-1234, 12 left", ["123", 12]) == "cvv *** of order-1234, *** left"


def test_without_secrets_the_text_is_what_it_was() -> None:
    assert unsaid("as it is", []) == unsaid("as it is", [""]) == "as it is"


def test_the_longest_goes_first() -> None:
    assert unsaid("4111222233334444", ["41112222", "4111222233334444"]) == "***"


@pytest.mark.parametrize("cut", range(1990, 2004))
def test_the_beginning_of_a_secret_that_was_cut_off_is_not_left(cut: int) -> None:
    error = ValueError("x" * cut + " " + "canary-canary" + "y" * 100)

    assert "canar" not in unsaid(describe(error), ["canary-canary"])


def test_reasons_of_failures_and_rejections_are_looked_through_and_nothing_else() -> None:
    failure = m.Failure("pay", Phase.ACTION, "no canary", resolved=True)
    done = m.Done("pay", Phase.ACTION, b'"canary"')

    assert unsaid_by(failure, ["canary"]) == failure._replace(reason="no ***")
    assert unsaid_by(m.No("pay", Phase.ACTION, "canary"), ["canary"]).reason == "***"  # type: ignore[union-attr]
    assert unsaid_by(done, ["canary"]) is done


def test_values_are_read_from_payloads_and_what_is_none_has_none() -> None:
    known = [Known(b'{"pin":"4711","n":1}', ("/pin",)), Known(b'{"n":1}', ("/pin",)), Known(b"{", ("/pin",))]

    assert in_payloads([*known, Known(None, ("",)), Known(b'["a"]', ())]) == ["4711"]


@dataclass(frozen=True)
class Word:
    """What is waited for."""

    code: Secret[str]


def test_of_a_saga_all_that_it_was_given_so_far_is_known() -> None:
    plan = Saga("patient", wait_for("word", Word), input=Word).plan
    state = decide(plan, None, m.Start(b'{"code":"first"}'), 1.0).state.copy()
    state.kept = {"word": b'{"code":"second"}'}
    state.given = {"pay": b'{"order":{"card":"third"}}'}

    assert in_state(plan, state) == ["first", "second", "third"]
    assert in_state(Saga("plain", wait_for("word", str), input=str).plan, state) == []
