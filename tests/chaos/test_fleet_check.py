"""The money checker finds what is wrong: each rule is broken by hand, and must be reported by its name.

Must not: need a server.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from chaos_books import Books, Entry
from chaos_check import amounts, effects_and_ends, lists_of_the_parked, what_clients_were_told, who_exists
from fleet_check import (
    JournalRow,
    Peace,
    conservation,
    fences,
    one_end,
    one_key_a_step,
    order_of_steps,
    whose_input,
    words,
    zombies_that_serve,
)
from fleet_report import SEEN_IN_EACH, invalid
from fleet_scene import Zombie
from ledger import Effect

from amends.decide import events as e
from amends.operate.values import SagaView
from amends.run.journal import encode

SOURCE = Path(__file__).parents[2] / "src" / "amends"


def _saga(status: str, *, saga: str = "decide", cents: int = 5, **more: Any) -> SagaView:
    line = SimpleNamespace(status=status, saga=saga, worker=more.pop("worker", None), reason="")
    given = {"line": line, "closed": (), "unsettled": (), "history": (), "input": json.dumps({"cents": cents}).encode()}
    return cast(SagaView, SimpleNamespace(**given | more))


def _entries(*told: tuple[str, str], saga: str = "a") -> list[Entry]:
    """Lines of the ledger, from (op, step)."""
    return [
        Entry(number, op, f"{op}-{step}", f"do-{step}", saga, step, 5 if op == "do" else -5)
        for number, (op, step) in enumerate(told, 1)
    ]


def _ledger(entries: Sequence[Entry], *, customer: int, unbalanced: Sequence[int] = ()) -> Books:
    return cast(Books, SimpleNamespace(account=lambda name: customer, unbalanced=lambda: list(unbalanced)))


def _journal(*told: tuple[int, Sequence[e.Event]]) -> list[JournalRow]:
    """Rows of one saga, from (worker, events)."""
    return [
        JournalRow(b"\x01" * 16, seq, encode(1.0, worker, events).decode()) for seq, (worker, events) in enumerate(told)
    ]


def test_a_sound_saga_is_reported_by_nobody() -> None:
    entries = _entries(("do", "reserve"), ("do", "settle"), ("do", "ship"))
    effects = [Effect(entry.key, "a", entry.step, 5, None) for entry in entries]
    sagas = {"a": _saga("completed")}

    assert list(one_end(sagas)) == []
    assert list(effects_and_ends(effects, sagas)) == []
    assert list(one_key_a_step(entries, sagas)) == []
    assert list(order_of_steps(entries, sagas)) == []
    assert list(amounts(effects, sagas)) == []
    assert list(conservation(_ledger(entries, customer=-15), entries, sagas)) == []


def test_a_saga_that_has_not_ended_or_is_owned_in_the_end_is_found() -> None:
    found = list(one_end({"a": _saga("running"), "b": _saga("completed", worker=3)}))

    assert [line[:4] for line in found] == ["S1 a", "S1 b"]


def test_an_effect_under_two_keys_is_found() -> None:
    entries = [*_entries(("do", "reserve")), Entry(2, "do", "other", "other", "a", "reserve", 5)]

    assert "2 keys" in next(one_key_a_step(entries, {"a": _saga("completed")}))


def test_a_completed_saga_with_an_effect_that_does_not_stand_is_found() -> None:
    effects = [
        Effect("k1", "a", "reserve", 5, None),
        Effect("k2", "a", "settle", 5, "undo"),
        Effect("k3", "a", "ship", 5, None),
    ]

    assert "it is completed" in next(effects_and_ends(effects, {"a": _saga("completed")}))


def test_a_compensated_saga_with_an_effect_that_stands_is_found_by_effects_and_by_money() -> None:
    entries = _entries(("do", "reserve"))
    effects = [Effect("k1", "a", "reserve", 5, None)]
    sagas = {"a": _saga("compensated")}

    assert "these effects stand" in next(effects_and_ends(effects, sagas))
    assert "are not back" in next(conservation(_ledger(entries, customer=-5), entries, sagas))


def test_money_for_a_saga_that_does_not_exist_is_found() -> None:
    entries = _entries(("do", "reserve"))

    assert "it does not exist" in next(conservation(_ledger(entries, customer=-5), entries, {}))


def test_books_that_do_not_balance_are_found_at_their_position() -> None:
    ledger = _ledger([], customer=0, unbalanced=[7])

    assert list(conservation(ledger, [], {})) == ["S11 the ledger does not balance at position 7"]


def test_an_effect_without_the_one_before_it_is_found() -> None:
    entries = _entries(("do", "ship"), ("do", "reserve"))

    found = list(order_of_steps(entries, {"a": _saga("completed")}))

    assert any("settle, which stands before it, did not" in line for line in found)


def test_an_effect_before_the_one_before_it_is_found() -> None:
    entries = _entries(("do", "settle"), ("do", "reserve"))

    assert "settle happened before reserve" in next(order_of_steps(entries, {"a": _saga("completed")}))


def test_an_undo_before_the_undo_of_what_stands_behind_it_is_found() -> None:
    entries = _entries(("do", "reserve"), ("do", "charge"), ("undo", "reserve"), ("undo", "charge"))

    found = list(order_of_steps(entries, {"a": _saga("compensated", saga="nap")}))

    assert found == ["S9 a: reserve was undone before charge"]


def test_an_undo_in_a_completed_saga_is_found() -> None:
    entries = _entries(("do", "reserve"), ("do", "charge"), ("undo", "charge"))

    assert "were undone" in next(order_of_steps(entries, {"a": _saga("completed", saga="nap")}))


def test_a_row_of_a_worker_after_the_saga_was_taken_over_from_it_is_found() -> None:
    started, adopted = e.Started(b"{}"), e.Adopted(1, 1, 0)

    assert list(fences(_journal((1, [started]), (2, [adopted]), (2, [])))) == []
    assert "worker 1 wrote row 2" in next(fences(_journal((1, [started]), (2, [adopted]), (1, []))))


def test_a_gap_in_a_journal_is_found() -> None:
    rows = _journal((1, [e.Started(b"{}")]), (1, []), (1, []))

    assert "row 2 follows row 0" in next(fences([rows[0], rows[2]]))


def test_a_start_that_was_acknowledged_and_ran_with_another_input_is_found() -> None:
    told = [{"what": "started", "id": "rival-1", "cents": 7}]

    assert "S12" in next(whose_input(told, {"rival-1": _saga("completed", cents=8)}))


def test_a_start_that_was_acknowledged_and_is_gone_is_found_and_one_that_nobody_committed_too() -> None:
    told = [{"what": "started", "id": "a"}, {"what": "rolled-back", "id": "b"}]

    found = list(who_exists(told, {"c"}, {"b": _saga("completed")}))

    assert [line.partition(":")[0] for line in found] == ["a", "c", "b", "b"]


def test_an_end_that_clients_saw_and_that_is_another_now_is_found() -> None:
    told = [{"what": "outcome", "id": "a", "status": "completed"}]

    assert "clients saw it end as" in next(what_clients_were_told(told, {"a": _saga("compensated")}))


def test_a_parked_saga_with_an_effect_that_its_list_leaves_out_is_found() -> None:
    view = _saga("parked", state=SimpleNamespace(passed=False, steps={}), plan=None)

    found = list(lists_of_the_parked([Effect("k1", "a", "reserve", 5, None)], {"a": view}))

    assert found == ["a: parked, and these effects stand unlisted: ['reserve']"]


def test_a_worker_that_woke_up_and_serves_nobody_while_sagas_begin_is_found(tmp_path: Path) -> None:
    def calls(pid: int, *of: tuple[str, int]) -> None:
        said = [{"op": "do", "saga": saga, "step": "x", "key": "k", "pid": pid, "at": at} for saga, at in of]
        (tmp_path / f"calls-{pid}.jsonl").write_text("".join(json.dumps(call) + "\n" for call in said))

    def serving() -> tuple[int, int]:
        served, troubles = zombies_that_serve(tmp_path, [Zombie(7, 2.0, 10.0)], {7: 60.0})
        return served, len(troubles)

    calls(7, ("old", 1))
    calls(8, ("another", 30))
    assert serving() == (0, 1)

    calls(7, ("old", 1), ("new", 30))
    assert serving() == (1, 0)

    calls(7, ("old", 1))
    calls(8, ("another", 12))  # and none after it
    assert serving() == (0, 0)


def test_rest_is_counted_from_the_last_death_and_no_more_may_die_than_poison_kills() -> None:
    deaths = [101.0 + second for second in range(8)]
    still = Peace(100.0, poisons=1, workers=1)
    lively = Peace(100.0, poisons=1, workers=1, deaths=deaths[:7])  # five by poison, one that was dead, one cut short
    broken = Peace(100.0, poisons=1, workers=1, deaths=deaths)

    assert [peace.lasts(110.0) for peace in (still, lively, broken)] == [10.0, 3.0, 2.0]
    assert [peace.broken for peace in (still, lively, broken)] == [False, False, True]
    assert not list(lively.troubles(21.0, bound_seconds=21.0))
    assert "only 22.0 s after the last fault" in next(still.troubles(22.0, bound_seconds=21.0))
    assert "8 workers died in peace" in next(broken.troubles(2.0, bound_seconds=21.0))


def test_words_that_nobody_should_have_to_read_are_found(tmp_path: Path) -> None:
    (tmp_path / "stderr-w1.txt").write_text("all is well\nTask exception was never retrieved\n")

    assert "never retrieved" in next(words(tmp_path))


@pytest.mark.parametrize("missing", ["completed", "compensated", "fault", "overlap", *SEEN_IN_EACH])
def test_a_run_in_which_something_never_happened_is_invalid(missing: str) -> None:
    faults = {"one": {"times": 3, "sagas": 30}, "two": {"times": 3, "sagas": 0 if missing == "overlap" else 30}}
    if missing == "fault":
        del faults["two"]
    seen = {what: int(what != missing) for what in SEEN_IN_EACH}
    report = {
        "seconds": 60.0,
        "sagas": {status: 50 * (status != missing) for status in ("completed", "compensated")},
        "faults": faults,
        "seen": {**seen, "killed in the middle of the first migration": 1},
    }

    assert len(list(invalid(report, 2))) == 1


def test_the_wall_clock_is_read_only_where_the_chaos_can_shift_it() -> None:
    """`tests/chaos/clock` replaces `time.time` and `time.time_ns`; whoever asked otherwise would escape it."""
    others = re.compile(
        r"datetime\.now|utcnow|fromtimestamp\(time|CLOCK_REALTIME|time\.(localtime|gmtime|ctime)\(\)|uuid1\("
    )
    asked = {
        path.relative_to(SOURCE)
        for folder in ("decide", "define", "store", "run")
        for path in (SOURCE / folder).rglob("*.py")
        if others.search(path.read_text())
    }

    assert asked == set()
