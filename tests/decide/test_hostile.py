"""What somebody else wrote is refused by the error that says so, and by no other."""

from __future__ import annotations

import pytest

from amends.decide import events as e
from amends.decide.baton import mark_of
from amends.decide.evolve import replay
from amends.decide.plan import from_json
from amends.errors import ImpossibleTransition, MessageRefused
from amends.message import Message

MARK = {
    "amendskind": "mark",
    "amendssaga": "0f" * 16,
    "amendskey": "order-1",
    "amendsplan": "place-order",
    "amendsfingerprint": "0f" * 16,
    "amendshome": "orders",
    "amendsmark": "0f" * 16,
    "amendsverb": "resolve",
}


def test_a_history_without_events_tells_of_no_saga() -> None:
    with pytest.raises(ImpossibleTransition, match="without events"):
        replay([])
    with pytest.raises(ImpossibleTransition, match="begins with Started"):
        replay([e.Completed()])


@pytest.mark.parametrize("text", ["[" * 10_000, "5", "null", '{"root":5}', '{"root":null}', "[]", '"x"', '{"root":[]}'])
def test_a_text_that_is_no_plan_is_refused(text: str) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        from_json(text)


@pytest.mark.parametrize("field", ["actor", "reason", "address", "result"])
@pytest.mark.parametrize("odd", ["\\u0000", "\\ud800", "x\\udfff"])
def test_a_mark_that_no_database_keeps_is_refused(field: str, odd: str) -> None:
    data = f'{{"{field}":"{odd}"}}'.encode()

    with pytest.raises(MessageRefused, match="no database keeps"):
        mark_of(Message("1", "amends.mark", "/x", data, 1.0, attributes=MARK))
