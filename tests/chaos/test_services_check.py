"""The money checker of services finds what it is for: each rule is broken by hand, once."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from services_books import Entry
from services_check import PATH, Evidence, check, our_lines
from services_homes import Open
from services_report import SEEN_IN_EACH, invalid

from amends.run.participant_work import POISON

CENTS = 7


def saga(status: str, mood: str = "good", **changes: Any) -> Any:
    """What is known of a saga."""
    line = SimpleNamespace(status=status, saga="buy", worker=changes.pop("worker", None))
    steps = {step: SimpleNamespace(action=SimpleNamespace(status="succeeded")) for step in changes.pop("done", ())}
    why = changes.pop("why", "")
    unsettled = tuple(Open(step, why) for step in changes.pop("listed", ()))
    state = SimpleNamespace(steps=steps, passed=changes.pop("passed", False))
    text = json.dumps({"cents": CENTS, "mood": mood}).encode()
    return SimpleNamespace(line=line, input=text, unsettled=unsettled, state=state)


def book(*story: str, saga: str = "one") -> list[Entry]:
    """A ledger: `reserve` does it, `-reserve` takes it back."""
    found = []
    for number, word in enumerate(story):
        op, step = ("undo", word[1:]) if word.startswith("-") else ("do", word)
        cents = -CENTS if op == "undo" else CENTS
        found.append(Entry(number, op, f"{op} {saga} {step} {number}", saga, step, cents, float(number)))
    return found


def evidence(view: Any, ledger: list[Entry], *told: dict[str, Any], **rest: Any) -> Evidence:
    calls = [{"op": entry.op, "saga": entry.saga, "step": entry.step, "pid": 1, "at": 0.0} for entry in ledger]
    given = {"may_park": ("one",), **rest}
    return Evidence({"one": view} if view else {}, {"all": ledger}, given.pop("calls", calls), told, **given)


WELL = evidence(saga("completed"), book(*PATH), {"what": "asked", "id": "one"})
BACK = book("reserve", "charge", "-charge", "-reserve")
BROKEN: dict[str, Evidence] = {
    "S1 one: it is running": evidence(saga("running"), []),
    "S1 one: it is parked": evidence(saga("parked", listed=()), [], may_park=()),
    "S1 one: it is completed, and worker 3 owns it": evidence(saga("completed", worker=3), book(*PATH)),
    "S2 one: the ledger says of charge ['do', 'do']": evidence(saga("completed"), book(*PATH, "charge")),
    "S2 one: the ledger says of reserve ['undo']": evidence(saga("compensated"), book("-reserve")),
    "S2 one: the ledger says of reserve ['do', 'undo', 'undo']": evidence(
        saga("compensated"), book("reserve", "-reserve", "-reserve")
    ),
    "S2 one: reserve took 7 cents and gave back 6": evidence(
        saga("compensated"), [book("reserve")[0], book("", "-reserve")[1]._replace(cents=-6)]
    ),
    "S2 one: an effect of reserve and another have one key": evidence(
        saga("compensated"), [entry._replace(key="same") for entry in book("reserve", "-reserve")]
    ),
    "S3 one: it does not exist": evidence(None, book("reserve")),
    "S3 one: it is completed, and what stands is": evidence(saga("completed"), book(*PATH[:3])),
    "S3 one: it is compensated, and these effects stand": evidence(saga("compensated"), book("reserve")),
    "S4 one: charge was rejected, and has an effect": evidence(saga("compensated", "declined"), BACK),
    "S4 one: charge was rejected, and it is completed": evidence(saga("completed", "declined"), book(*PATH)),
    "S5 one: it is parked, and these effects stand unlisted": evidence(saga("parked", listed=()), book("reserve")),
    "S9 one: charge happened, and reserve": evidence(saga("completed"), book("charge", "reserve", "book", "ship")),
    "S9 one: reserve was undone before charge": evidence(
        saga("compensated"), book("reserve", "charge", "-reserve", "-charge")
    ),
    "S11 one: it is completed, 4 times 7 cents were due": evidence(
        saga("completed"), [*book(*PATH[:3]), book(*PATH)[3]._replace(cents=8)]
    ),
    "S11 one: it is compensated, and 7 cents are not back": evidence(saga("compensated"), book("reserve")),
    "S16 one: do of reserve is in the ledger, and no handler": evidence(saga("completed"), book(*PATH), calls=()),
    "S12 one: its start was acknowledged, and it does not exist": evidence(
        None, [], {"what": "started", "id": "one", "cents": CENTS}
    ),
    "S12 one: it was started with 8 cents": evidence(
        saga("completed"), book(*PATH), {"what": "started", "id": "one", "cents": 8}
    ),
    "S12 one: it exists, and nobody asked for it": evidence(
        saga("completed"), book(*PATH), {"what": "asked", "id": "other"}
    ),
    "S13 one: its cancel was accepted, and it completed": evidence(
        saga("completed"), book(*PATH), {"what": "cancelled", "id": "one"}
    ),
    "S13 one: a client saw it compensated, and it is completed": evidence(
        saga("completed"), book(*PATH), {"what": "outcome", "id": "one", "status": "compensated"}
    ),
    "a client was told something ugly": evidence(
        saga("completed"), book(*PATH), {"what": "ugly", "id": "one", "text": "KeyError"}
    ),
}


@pytest.mark.parametrize(
    "good",
    [
        WELL,
        evidence(saga("compensated"), BACK),
        evidence(saga("compensated"), []),
        evidence(saga("parked", listed=("reserve",)), book("reserve")),
        evidence(saga("parked", listed=("ship",), done=PATH[:3], passed=True), book(*PATH[:3])),
    ],
)
def test_what_is_well_is_well(good: Evidence) -> None:
    assert check(good) == []


@pytest.mark.parametrize("sentence", BROKEN)
def test_a_rule_that_is_broken_is_named(sentence: str) -> None:
    found = check(BROKEN[sentence])

    assert any(told.startswith(sentence) for told in found), found


def killed(*seconds: float, step: str = "charge", why: str = f"charge: {POISON}") -> Evidence:
    """A saga that is parked: handlers were called for it, and their processes were killed so long after that."""
    calls = [{"op": "do", "saga": "one", "step": step, "pid": pid, "at": 10.0} for pid in range(len(seconds))]
    deaths = {pid: 10.0 + after for pid, after in enumerate(seconds)}
    view = saga("parked", listed=("charge",), why=why)
    return evidence(view, [], calls=calls, killed=deaths, may_park=())


def test_what_was_killed_in_the_middle_so_often_is_rightly_poison() -> None:
    assert check(killed(0.1, 1.9, 0.4)) == []


@pytest.mark.parametrize(
    "found",
    [
        killed(0.1, 1.9),
        killed(0.1, 1.9, 9.0),
        killed(0.1, 1.9, 0.4, step="book"),
        killed(0.1, 1.9, 0.4, why="no money"),
    ],
    ids=["too seldom", "long after", "at another step", "for another reason"],
)
def test_what_was_not_is_parked_without_need(found: Evidence) -> None:
    assert [told.partition(":")[0] for told in check(found)] == ["S1 one"]


def report(**changes: Any) -> dict[str, Any]:
    """A run that was eventful."""
    from services_faults import FAULTS

    style = changes.get("style", "orchestrated")
    faults = {fault.__name__: {"times": 1, "sagas": 9} for fault in FAULTS[style]}
    messages = dict.fromkeys((*SEEN_IN_EACH[style], "commands delivered"), 1) | {"commands delivered": 999}
    made = {
        "style": style,
        "seconds": 60.0,
        "sagas": {"completed": 50, "compensated": 30},
        "faults": faults,
        "messages": messages,
    }
    return {**made, "effects": 200, "calls": 300, **changes}


@pytest.mark.parametrize(
    "changes",
    [
        {"sagas": {"completed": 90, "compensated": 10}},
        {"sagas": {"completed": 10, "compensated": 90}},
        {"sagas": {"completed": 5, "compensated": 5}},
        {"faults": {}},
        {"faults": {**report()["faults"], "kill_a_service": {"times": 1, "sagas": 0}}},
        {"messages": {**report()["messages"], "forged": 0}},
        {"calls": 200},
    ],
)
def test_a_run_that_proves_nothing_is_called_so(changes: dict[str, Any]) -> None:
    assert list(invalid(report())) == []
    assert list(invalid(report(**changes)))


def test_what_drivers_say_of_themselves_is_left_out_and_what_we_say_is_not() -> None:
    said = [
        "2026-11-26 05:13:30,146 WARNING aiormq.connection: reader exited\n",
        "Traceback (most recent call last):\n",
        "2026-11-26 05:13:30,148 ERROR amends.worker: a bug in amends\n",
        "Traceback (most recent call last):\n",
    ]

    assert list(our_lines(said)) == said[2:]
