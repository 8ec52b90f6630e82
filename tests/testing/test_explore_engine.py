"""What explore runs is what the engine does: random sagas, the same faults in both, and how they stand in the end."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Callable

import pytest
from twin_engine import KNOWN, twin

from amends.testing.explore_faults import spelled

LARGE = os.environ.get("AMENDS_EXPLORE") == "large"
FIRST = int(time.time()) * 1_000 if LARGE else 0
SEEDS = 40_000 if LARGE else 200


def test_a_run_ends_as_the_engine_does_with_the_same_faults(
    caplog: pytest.LogCaptureFixture, record_property: Callable[[str, object], None]
) -> None:
    record_property("runs in both", SEEDS)
    caplog.set_level(logging.CRITICAL)  # workers that die complain
    statuses, kinds, differing = Counter[str](), Counter[str](), list[str]()

    for seed in range(FIRST, FIRST + SEEDS):
        one = twin(seed)
        statuses[one.status] += 1
        kinds.update(fault.kind for fault in one.faults)
        if one.explored != one.engine or one.explored["fair"] is False:
            differing.append(f"seed {seed}, {spelled(one.faults)}:\n  {one.explored}\n  {one.engine}")

    assert differing == []
    assert min(statuses["completed"], statuses["compensated"]) > SEEDS / 5
    assert set(kinds) == set(KNOWN)  # each was met


@pytest.mark.parametrize("seed", [1795776680886, 1795779384906])
def test_a_run_that_once_ended_otherwise_than_in_the_engine(seed: int) -> None:
    one = twin(seed)

    assert one.explored == one.engine
