"""The bulk erasure, as its user would test it."""

from __future__ import annotations

from erasure import Archive, Erasure, Record, erase_all_or_nothing, erase_what_can_be

from amends import Compensated, Completed, Rejected
from amends.testing import NewSandbox

ANN = Erasure("ann")


def test_what_can_be_erased_is_and_the_rest_is_reported(amends: NewSandbox) -> None:
    archive = Archive()
    app = amends([erase_what_can_be], [archive])

    outcome = app.run(erase_what_can_be, ANN)

    assert isinstance(outcome, Completed)
    assert [place for place, result in enumerate(outcome.result) if isinstance(result, Rejected)] == [17]
    assert archive.kept == {Record("shop", 17)}


def test_all_or_nothing_restores_what_was_erased(amends: NewSandbox) -> None:
    archive = Archive()
    app = amends([erase_all_or_nothing], [archive])

    outcome = app.run(erase_all_or_nothing, ANN)

    assert isinstance(outcome, Compensated)
    assert outcome.step == "erase[17]"
    assert archive.kept == Archive().kept
    assert not archive.bin


def test_all_or_nothing_erases_all_where_nothing_stands_against_it(amends: NewSandbox) -> None:
    archive = Archive(on_hold=frozenset())
    app = amends([erase_all_or_nothing], [archive])

    outcome = app.run(erase_all_or_nothing, ANN)

    assert isinstance(outcome, Completed)
    assert len(outcome.result) == 40
    assert not archive.kept
