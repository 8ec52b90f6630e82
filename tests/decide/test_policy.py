"""Retry arithmetic: delays without a clock and without chance."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from amends.decide.policy import ACTION_POLICY, UNDO_POLICY, Policy

shares = st.floats(0.0, 1.0)
tries = st.one_of(st.integers(0, 40), st.integers(1000, 100_000))
seconds = st.floats(0.0, 1e7)
policies = st.builds(
    Policy,
    attempts=st.one_of(st.none(), st.integers(1, 50)),
    first_delay=seconds,
    factor=st.floats(1.0, 10.0),
    cap=seconds,
    jitter=shares,
)


@given(policies, tries, shares)
def test_a_delay_is_never_negative_and_never_above_its_cap(policy: Policy, made: int, share: float) -> None:
    assert 0.0 <= policy.delay(made, share) <= policy.cap


@given(policies, tries)
def test_delays_grow_up_to_the_cap_and_never_shrink(policy: Policy, made: int) -> None:
    assert policy.delay(made) <= policy.delay(made + 1)


@given(policies, tries, shares)
def test_jitter_takes_off_its_share_and_no_more(policy: Policy, made: int, share: float) -> None:
    full, less = policy.delay(made), policy.delay(made, share)

    assert full * (1.0 - policy.jitter) <= less <= full
    assert policy.delay(made, 0.0) == full


@given(policies, tries, shares)
def test_more_share_means_an_earlier_attempt(policy: Policy, made: int, share: float) -> None:
    assert policy.delay(made, 1.0) <= policy.delay(made, share) <= policy.delay(made, 0.0)


@given(policies, st.integers(0, 60))
def test_attempts_are_allowed_up_to_their_number(policy: Policy, made: int) -> None:
    assert policy.allows(made) == (policy.attempts is None or made < policy.attempts)


@given(policies, tries)
def test_a_factor_of_one_means_equal_delays(policy: Policy, made: int) -> None:
    even = Policy(policy.attempts, policy.first_delay, 1.0, policy.cap, policy.jitter)

    assert even.delay(made) == min(policy.first_delay, policy.cap)


def test_no_factor_makes_a_delay_out_of_none() -> None:
    assert Policy(None, first_delay=0.0).delay(5000) == 0.0
    assert Policy(None, first_delay=0.1).delay(5000) == 30.0


def test_delays_double_by_default() -> None:
    assert [Policy(first_delay=0.2, cap=1.0).delay(made) for made in (0, 1, 2, 3, 4)] == [0.2, 0.2, 0.4, 0.8, 1.0]


def test_compensations_try_longer_than_actions() -> None:
    assert UNDO_POLICY.attempts is not None
    assert ACTION_POLICY.attempts is not None

    def patience(policy: Policy, attempts: int) -> float:
        return sum(policy.delay(made) for made in range(1, attempts))

    assert patience(ACTION_POLICY, ACTION_POLICY.attempts) < 10.0
    assert patience(UNDO_POLICY, UNDO_POLICY.attempts) > 1800.0


def test_an_undo_is_tried_for_about_an_hour_and_a_half_by_default() -> None:
    delays = [UNDO_POLICY.delay(tries) for tries in range(1, UNDO_POLICY.attempts or 0)]

    assert 80 * 60 < sum(delays) < 100 * 60
