"""The checker of choreographed sagas finds what it is for: each rule is broken by hand, once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from services_homes import HomeLine, HomeView, Watched, check_homes, check_watched
from services_report import SEEN_IN_EACH, invalid

ROWS = (b"[1]", b"[2]", b"[3]")
ENDED_AT, LONG_AGO = 100.0, 1.0


def home(status: str = "completed", rows: tuple[bytes, ...] = ROWS, why: str = "", at: float = ENDED_AT) -> HomeView:
    """What the home of a saga knows."""
    state: Any = SimpleNamespace(parked=why)
    return HomeView(HomeLine(status, "buy"), b"{}", (), state, rows, at)


def of_homes(sagas: dict[str, HomeView], placed: tuple[str, ...], *rolled_back: str) -> list[str]:
    told = [{"what": "rolled back", "id": name} for name in rolled_back]
    return list(check_homes(sagas, told, dict.fromkeys(placed, 7)))


def of_watcher(watched: dict[str, Watched], sagas: dict[str, HomeView], since: float = ENDED_AT) -> list[str]:
    return list(check_watched(watched, sagas, since))


def test_what_is_well_is_well() -> None:
    seen = Watched("completed", ROWS)

    assert of_homes({"one": home(), "two": home("parked", why="no lorry")}, ("one", "two"), "three") == []
    assert of_watcher({"one": seen}, {"one": home()}, LONG_AGO) == []
    assert of_watcher({"one": Watched("running", ROWS[:1])}, {"one": home()}) == []
    assert of_watcher({"one": Watched("running", ROWS)}, {"one": home("open (running)", ROWS[:1])}) == []
    assert of_watcher({}, {"one": home()}) == []


@pytest.mark.parametrize(
    ("sentence", "found"),
    [
        ("H1 one: its order was placed, and it does not exist", of_homes({}, ("one",))),
        ("H1 one: it exists, and its order was not placed", of_homes({"one": home()}, ())),
        ("H1 one: the transaction that started it was rolled back", of_homes({"one": home()}, ("one",), "one")),
        ("H2 one: it is parked, and nobody says why", of_homes({"one": home("parked")}, ("one",))),
        ("W1 one: the watcher has it, and its home has not", of_watcher({"one": Watched("running", ROWS)}, {})),
        (
            "W1 one: the watcher has (b'[1]', b'[9]')",
            of_watcher({"one": Watched("x", (ROWS[0], b"[9]"))}, {"one": home()}),
        ),
        (
            "W1 one: it is completed, and the watcher has more",
            of_watcher({"one": Watched("running", (*ROWS, b"[4]"))}, {"one": home()}),
        ),
        (
            "W1 one: the watcher has it compensated, and its home completed",
            of_watcher({"one": Watched("compensated", ROWS)}, {"one": home()}),
        ),
        ("W2 one: it ended after everything, and the watcher has never", of_watcher({}, {"one": home()}, LONG_AGO)),
        (
            "W2 one: it is completed, and the watcher has it running",
            of_watcher({"one": Watched("running", ROWS[:2])}, {"one": home()}, LONG_AGO),
        ),
    ],
)
def test_a_rule_that_is_broken_is_named(sentence: str, found: list[str]) -> None:
    assert any(told.startswith(sentence) for told in found), found


def report(**messages: int) -> dict[str, Any]:
    """A run that was eventful, with these changes."""
    from services_faults import FAULTS

    faults = {fault.__name__: {"times": 1, "sagas": 9} for fault in FAULTS["choreographed"]}
    seen = dict.fromkeys(SEEN_IN_EACH["choreographed"], 1) | {"commands delivered": 999}
    given = seen | {"died at tx.after, a baton in hand": 1} | messages
    ends = {"completed": 50, "compensated": 30}
    made = {"style": "choreographed", "seconds": 60.0, "sagas": ends, "faults": faults}
    return {**made, "messages": {name: count for name, count in given.items() if count}, "effects": 200, "calls": 300}


@pytest.mark.parametrize("missing", ["died at tx.after, a baton in hand", *SEEN_IN_EACH["choreographed"]])
def test_a_run_that_proves_nothing_is_called_so(missing: str) -> None:
    assert list(invalid(report())) == []
    assert list(invalid(report(**{missing: 0})))
