"""The page on security says what is true: each rule of it has a test that is there, and each figure is the code's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from amends.store.base import TOKEN_KEYS_KEPT
from amends.transport.open import _ADAPTERS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operating" / "security.md").read_text()
RULES = [line.split("|")[1:4] for line in PAGE.splitlines() if re.match(r"\| [FX]\d", line)]


def test_every_failure_of_security_has_its_line() -> None:
    named = {word for rule in RULES for word in re.findall(r"[FX]\d+", rule[0])}

    assert {f"F{number}" for number in range(59, 71)} | {f"X{number}" for number in range(1, 19)} == named


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule[0].strip())
def test_the_test_that_holds_a_rule_is_there(rule: list[str]) -> None:
    places = re.findall(r"`(tests/[^`]+)`", rule[2])

    assert all((ROOT / place).exists() for place in places)
    assert places or rule[1].strip().startswith("("), "or the rule is of what does not exist yet"


def test_every_test_of_security_holds_a_rule() -> None:
    held = {place for rule in RULES for place in re.findall(r"`tests/security/([^`]+)`", rule[2])}
    there = {path.name for path in Path(__file__).parent.glob("test_*.py")} - {Path(__file__).name}

    assert there == held


def test_the_schemes_with_tls_and_the_number_of_keys_are_those_of_the_code() -> None:
    named = set(re.findall(r"`(\w+)://`", PAGE.partition("check the broker's certificate")[0]))

    assert named == {scheme for scheme in _ADAPTERS if scheme not in ("local", "kafka", "amqp", "nats", "redis")}
    assert TOKEN_KEYS_KEPT == 5
    assert "the five newest keys" in PAGE
