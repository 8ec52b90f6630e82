"""The rules of ownership, proved over all interleavings before a line of the orchestrator."""

from __future__ import annotations

import pytest
from lease_model import GUARDS, LIVES, NEXT, OWN, RETIRE, TAKE, explore


def test_with_all_guards_no_interleaving_goes_wrong_and_every_saga_can_end() -> None:
    worlds, path = explore()

    assert path == []
    assert worlds > 50_000, "the model has lost most of its states; it proves nothing any more"


@pytest.mark.parametrize(
    ("removed", "ends_with"),
    [
        ({LIVES}, "wrote after it was retired"),
        ({OWN}, "took its own row for somebody else's"),
        ({TAKE}, "told something else than what happened"),
        ({RETIRE, NEXT}, "decided upon a history that is not the saga's"),
    ],
    ids=["fence", "operation id", "mailbox in the commit", "sequence and retirement"],
)
def test_without_a_guard_the_model_finds_the_history_that_goes_wrong(removed: set[str], ends_with: str) -> None:
    _, path = explore(GUARDS - removed)

    assert path, f"nothing goes wrong without {removed}, so the model does not need it"
    assert path[-1].endswith(ends_with), "\n".join(path)


@pytest.mark.parametrize("removed", [RETIRE, NEXT])
def test_sequence_and_retirement_each_hold_alone(removed: str) -> None:
    """Two guards for one danger, on purpose: a mistake in one of them loses nothing."""
    _, path = explore(GUARDS - {removed})

    assert path == []
