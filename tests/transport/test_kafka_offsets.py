"""What may be committed of a partition, whatever the order in which work ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amends.transport.kafka_offsets import Offsets

GAPS = st.lists(st.integers(min_value=1, max_value=5), max_size=40)  # compacted away, or marks of transactions


@given(start=st.integers(min_value=0, max_value=2**62), gaps=GAPS, data=st.data())
def test_a_commit_never_passes_what_is_not_done_never_goes_back_and_reaches_the_end(
    start: int, gaps: list[int], data: st.DataObject
) -> None:
    offsets, coming, open_ = Offsets(), [start + sum(gaps[:n]) for n in range(len(gaps) + 1)], list[int]()
    before = start

    while coming or open_:
        if coming and (not open_ or data.draw(st.booleans())):
            offsets.delivered(coming[0])
            open_.append(coming.pop(0))
        else:
            offsets.done(open_.pop(data.draw(st.integers(0, len(open_) - 1))))
        at = offsets.committable
        assert at is not None
        assert at >= before
        assert all(one >= at for one in open_)
        assert offsets.distance == (0 if not open_ else offsets.next - min(open_) if offsets.next else 0)
        before = at

    assert offsets.committable == offsets.next == start + sum(gaps) + 1


@given(st.lists(st.integers(min_value=0, max_value=30)))
def test_what_was_not_delivered_or_is_done_already_changes_nothing(done: list[int]) -> None:
    offsets, fresh = Offsets(), set(range(10, 20))
    for offset in sorted(fresh):
        offsets.delivered(offset)

    for offset in done:
        assert offsets.done(offset) == (offset in fresh)
        fresh.discard(offset)

    assert offsets.committable == min(fresh, default=20)


def test_nothing_is_committed_before_the_first_delivery() -> None:
    assert Offsets().committable is None
    assert Offsets().distance == 0


def test_an_offset_of_another_log_is_told_apart_and_refused() -> None:
    offsets = Offsets()
    offsets.delivered(500)

    assert offsets.fits(501)
    assert not offsets.fits(0)
    with pytest.raises(ValueError, match="after 501"):
        offsets.delivered(0)
