"""Who of a group gets which partitions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from amends.transport.kafka_share import Claim, claim, fair, read_claim, share_out

NUMBERS = st.frozensets(st.integers(0, 11), max_size=12)
CLAIMS = st.builds(lambda g, owned, held: Claim(g, owned, owned & held), st.integers(0, 3), NUMBERS, NUMBERS)
GROUPS = st.dictionaries(st.sampled_from("abcdef"), CLAIMS, min_size=1)


@given(count=st.integers(0, 12), members=GROUPS)
def test_every_partition_is_given_to_one_member(count: int, members: dict[str, Claim]) -> None:
    given_ = share_out(range(count), members)

    assert given_.keys() == members.keys()
    assert sorted(number for numbers in given_.values() for number in numbers) == list(range(count))


@given(count=st.integers(0, 12), members=GROUPS)
def test_what_is_held_open_stays_unless_somebody_had_it_later(count: int, members: dict[str, Claim]) -> None:
    given_ = share_out(range(count), members)

    for name, told in members.items():
        later = {n for other in members.values() if other.generation >= told.generation for n in other.owned}
        others = {n for m, c in members.items() if m != name and c.generation >= told.generation for n in c.owned}
        assert later >= told.held
        assert {n for n in told.held - others if n < count} <= set(given_[name])


@given(count=st.integers(0, 12), members=GROUPS)
def test_those_who_hold_nothing_open_are_within_one_of_each_other(count: int, members: dict[str, Claim]) -> None:
    free = {name: told._replace(held=frozenset()) for name, told in members.items()}

    sizes = [len(numbers) for numbers in share_out(range(count), free).values()]

    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= fair(range(count), len(members))


def test_one_that_comes_takes_its_share_and_nothing_else_moves() -> None:
    before = {"a": Claim(4, frozenset({0, 1, 2}), frozenset()), "b": Claim(4, frozenset({3, 4, 5}), frozenset({3, 4}))}

    after = share_out(range(6), {**before, "c": Claim()})

    assert {3, 4} == set(after["b"])
    assert set(after["a"]) < {0, 1, 2}
    assert sorted(len(numbers) for numbers in after.values()) == [2, 2, 2]


@given(told=CLAIMS)
def test_a_claim_arrives_as_it_was(told: Claim) -> None:
    assert read_claim(claim(told)) == told


@given(st.binary())
def test_what_is_no_claim_claims_nothing_or_what_it_says(data: bytes) -> None:
    read_claim(data)
    assert read_claim(b"") == Claim()
    assert read_claim(b"1;0,1;1,9 and more") == Claim(1, frozenset({0, 1}), frozenset({1}))
