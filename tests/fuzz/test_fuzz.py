"""The corpus, and a little that is fresh: whatever comes in is a value, or is refused by the error that says so.

The seed is the same each time. `make soak` has seeds that were never used, and ten minutes; see `fuzz.py`.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz_run import CORPUS, Broken, corpus, fuzz
from fuzz_targets import Target, targets

TARGETS = {target.name: target for target in targets()}
SLOW = "codec"  # there are many of these
SEED = 20_261_126


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_spoiled_is_a_value_or_is_refused(name: str) -> None:
    report = fuzz([TARGETS[name]], SEED, rounds=1 if name.startswith(SLOW) else 6)

    assert report.taken[name] > 0, "without a single one that is taken, nothing was tried"


def test_every_file_of_the_corpus_is_of_a_target() -> None:
    places = {path.name for path in CORPUS.iterdir()}

    assert places <= {name.replace(" ", "-") for name in TARGETS}
    assert all(path.stat().st_size < 20_000 for path in CORPUS.rglob("found-*")), "small ones are kept"


def careless(data: bytes) -> bool:
    """A decoder that nobody should write."""
    return not data.decode("latin-1").endswith("}}")


def test_a_decoder_that_breaks_is_found_and_what_broke_it_is_kept(tmp_path: Path) -> None:
    def check(data: bytes) -> bool:
        return 1 / careless(data) > 0

    with pytest.raises(Broken, match="careless: ZeroDivisionError") as broken:
        fuzz([Target("careless", [b'{"a":{"b":1}, "c":2}'], check)], 1, rounds=50, keep=tmp_path)

    (kept,) = (tmp_path / "careless").iterdir()
    assert not careless(kept.read_bytes())
    assert kept.name in str(broken.value)


def test_an_input_that_takes_long_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fuzz_run.CASE_SECONDS", 0.0)

    with pytest.raises(Broken, match="s of CPU"):
        fuzz([Target("slow", [b"{}"], careless)], 1, rounds=1)


def test_the_same_seed_tries_the_same() -> None:
    tried: list[list[bytes]] = [[], []]
    for seen in tried:

        def check(data: bytes, into: list[bytes] = seen) -> bool:
            into.append(data)
            return True

        fuzz([Target("seen", [b'{"a":[1,2,"x"]}'], check)], 7, rounds=2)

    assert tried[0] == tried[1]
    assert len(set(tried[0])) > 100


def test_the_corpus_has_what_was_found() -> None:
    assert corpus("baton")
    assert corpus("envelope")
