"""Members as plain attributes: quick, and still an enumeration in every respect."""

from __future__ import annotations

import copy
import pickle
from enum import StrEnum

import pytest

from amends.decide.members import direct
from amends.decide.state import Action


@direct
class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


def test_a_direct_member_is_a_plain_attribute_of_its_class() -> None:
    assert vars(Colour)["RED"] is Colour.RED
    assert vars(Action)["RUNNING"] is Action.RUNNING


def test_a_direct_enumeration_is_still_one() -> None:
    assert list(Colour) == [Colour.RED, Colour.BLUE]
    assert Colour("red") is Colour["RED"] is Colour.RED
    assert (Colour.RED.name, Colour.RED.value, repr(Colour.RED)) == ("RED", "red", "<Colour.RED: 'red'>")
    assert pickle.loads(pickle.dumps(Action.RUNNING)) is copy.deepcopy(Action.RUNNING) is Action.RUNNING  # noqa: S301


def test_a_direct_member_can_still_not_be_replaced() -> None:
    with pytest.raises(AttributeError):
        Colour.RED = Colour.BLUE  # type: ignore[misc]
