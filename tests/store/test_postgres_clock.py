"""Only the server's clock counts, carried on by this machine's steady one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amends.store.postgres_clock import BEST_SECONDS, STEP_SECONDS, ServerClock


class Steady:
    """A steady clock that goes when it is told to."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def clock() -> tuple[ServerClock, Steady]:
    """A clock, and the steady one beneath it."""
    steady = Steady()
    return ServerClock(steady), steady


def test_before_the_server_was_asked_there_is_no_instant() -> None:
    with pytest.raises(RuntimeError):
        clock()[0].now()


def test_it_goes_on_from_what_the_server_said() -> None:
    server, steady = clock()
    server.heard(5_000.0)
    assert server.now() == 5_000.0
    steady.seconds += 7.5
    assert server.now() == 5_007.5


@given(st.lists(st.tuples(st.floats(0.0, 30.0), st.floats(0.0, STEP_SECONDS)), min_size=1, max_size=50))
def test_it_is_never_early_late_by_at_most_an_answers_time_and_never_steps_back(
    looks: list[tuple[float, float]],
) -> None:
    """Each look: some time passes, then an answer was on its way for a while. The server's clock is true."""
    server, steady = clock()
    last, ahead = 0.0, 777_000.0
    for passes, on_its_way in looks:
        steady.seconds += passes
        said = steady.seconds + ahead
        steady.seconds += on_its_way
        server.heard(said)
        now, true = server.now(), steady.seconds + ahead
        assert last <= now <= true + 1e-6
        assert now >= true - STEP_SECONDS - 1e-6
        last = now


def test_the_quickest_answer_counts_and_not_the_latest() -> None:
    server, steady = clock()
    server.heard(5_000.0)
    steady.seconds += 1.0
    server.heard(5_000.7)  # it was on its way for 0.3 s
    assert server.now() == 5_001.0


def test_two_clocks_that_do_not_go_equally_fast_do_not_drift_apart() -> None:
    server, steady = clock()
    server.heard(5_000.0)
    for _ in range(100):
        steady.seconds += BEST_SECONDS  # the server's goes slower by a thousandth
        server.heard(5_000.0 + (steady.seconds - 1000.0) * 0.999)
    true = 5_000.0 + (steady.seconds - 1000.0) * 0.999
    assert abs(server.now() - true) < 1.0


@pytest.mark.parametrize("step", [300.0, 3600.0])
def test_a_server_whose_clock_was_set_forward_is_followed_at_once(step: float) -> None:
    server, steady = clock()
    server.heard(5_000.0)
    steady.seconds += 1.0
    server.heard(5_001.0 + step)
    assert server.now() == 5_001.0 + step


def test_a_server_whose_clock_was_set_back_is_waited_for_and_then_followed() -> None:
    server, steady = clock()
    server.heard(5_000.0)
    assert server.now() == 5_000.0
    steady.seconds += 1.0
    server.heard(4_701.0)
    assert server.now() == 5_000.0, "it never steps back in one process"
    steady.seconds += 300.0
    assert server.now() == 5_001.0, "and is the server's again as soon as that has caught up"
