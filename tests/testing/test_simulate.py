"""The simulation holds, is repeatable, and catches every wrong engine that is put before it."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from amends.testing import simulate as front
from amends.testing.laws import SimulationFailed
from amends.testing.simulation import simulate
from mutants import MUTANTS

SEEDS_OF_A_MUTANT_MAX = 150


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The engine warns of every fault that it survives."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def run_until_caught() -> None:
    for seed in range(SEEDS_OF_A_MUTANT_MAX):
        simulate(seed)


@pytest.mark.parametrize("first", range(1_000_000, 1_000_100, 20))
def test_every_law_holds_for_a_slice_of_seeds(first: int) -> None:
    for seed in range(first, first + 20):
        simulate(seed)


def test_one_seed_is_one_run() -> None:
    assert simulate(42).counts == simulate(42).counts


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_wrong_engine_is_caught(
    mutant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mutant(monkeypatch)

    with pytest.raises(SimulationFailed) as caught:
        run_until_caught()

    assert "python -m amends.testing.simulate --seed" in str(caught.value)


def test_a_long_run_in_which_too_little_happened_is_invalid() -> None:
    eventful = Counter(front.REQUIRED)

    for _ in range(2):
        eventful += eventful

    assert front.missing(eventful, 4000) == []
    assert front.missing(eventful - Counter({"deaths": 1}), 4000) == ["deaths: 2399, and 2400 are wanted"]
    assert len(front.missing(Counter(), front.ENOUGH_SEEDS)) == len(front.REQUIRED)
    assert front.missing(Counter(), front.ENOUGH_SEEDS - 1) == []


def test_the_command_shares_seeds_out_and_says_what_happened(capsys: pytest.CaptureFixture[str]) -> None:
    assert front.main(["--seeds", "0:12", "--jobs", "2"]) == 0
    shared = capsys.readouterr().out.splitlines()
    assert front.main(["--seeds", "0:12"]) == 0
    alone = capsys.readouterr().out.splitlines()

    assert shared[:-1] == alone[:-1]
    assert shared[-1].startswith("12 seeds held")


def test_a_failure_prints_the_seed_and_the_command_that_repeats_it() -> None:
    program = (
        "import sys; from amends.decide import mail; from amends.testing.simulate import main\n"
        "mail.take_cancel = lambda draft, message: draft.accept(message.mail)\n"
        "sys.exit(main(['--seeds', '0:60']))"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 1
    assert "repeat it with: python -m amends.testing.simulate --seed" in done.stdout


@pytest.mark.parametrize("text", ["5", "5:", "9:3", "a:b", "3:3", "-1:4"])
def test_a_range_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SystemExit):
        front.main(["--seeds", text])
