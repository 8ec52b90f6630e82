"""What `amends` exports: small, sorted, documented, and all of it there."""

from __future__ import annotations

import amends


def test_the_public_names_are_sorted_and_few() -> None:
    assert sorted(amends.__all__) == list(amends.__all__)
    assert len(amends.__all__) <= 34


def test_every_public_name_exists_and_says_what_it_is() -> None:
    for name in amends.__all__:
        assert getattr(amends, name).__doc__ or name in ("pivot", "saga_input", "Resource"), name
