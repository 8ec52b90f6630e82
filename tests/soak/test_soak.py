"""The soak itself, with small commands: its time, its reading, and that nothing wrong is taken for good."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from itertools import count
from pathlib import Path

import pytest
from soak_machine import NEEDED
from soak_parts import PARTS, Job, Part, Turn, growing, lasting, of_the_suite, whole
from soak_report import BEGINS, ENDS, Report, into_page
from soak_run import EXTRA, ROOT, Result, Shares, Soak
from soak_said import Chaos, Ended, Found, file_chaos, fleet_chaos, fuzzer, services_chaos, simulation, suite

from servers import need

HOUR = 3600.0
LONG = 60.0  # nothing here takes as long


def read_nothing(ended: Ended) -> Found:
    """Well where it ended well."""
    return Found(Counter({"words": len(ended.out.split())})) if ended.code == 0 else Found(violations=["it broke"])


def part(name: str, code: str, *, all_cores: bool = False, limit: float = LONG, reads: Found | None = None) -> Part:
    """One that runs some Python once."""

    def next_(turn: Turn) -> Job | None:
        if turn.done:
            return None
        read = read_nothing if reads is None else lambda _: reads
        return Job("a try", (sys.executable, "-c", code), read, limit=limit)

    return Part(name, 1, next_, all_cores=all_cores)


def soak(place: Path, results: list[Result], seconds: float = LONG) -> Soak:
    """One that keeps its results in a list."""
    return Soak(place, 2, time.monotonic() + seconds, 1000, results.append, lambda _: None)


def told(*results: Result, parts: tuple[Part, ...] = (), state: str = "") -> Report:
    """A report on results."""
    own = tuple(dict.fromkeys(result.part for result in results))
    return Report(1, 7, ["- a machine"], parts or own, results=list(results), state=state)


def result(found: Found, name: str = "chaos somewhere") -> Result:
    """One that was read already."""
    return Result(part_named(name), Job("a try", ("python", "x.py"), read_nothing), Ended(0), found, Path("log"))


@cache
def part_named(name: str) -> Part:
    """A part that is only talked about."""
    return Part(name, 1, lambda _: None)


# Time


def an_hour_of_two_cores() -> Iterator[tuple[Part, int, float]]:
    """Each part, how many jobs it had, and when it was over, if what is fixed takes what the table says."""
    clock, lanes = [0.0], [0.0, 0.0]
    before: dict[int, Part] = {}
    shares = Shares(PARTS, HOUR, 2, lambda: clock[0])
    for one in PARTS:
        lane = lanes.index(max(lanes) if one.all_cores else min(lanes))
        clock[0] = lanes[lane]
        if lane in before:
            shares.end(before[lane])
        before[lane] = one
        end = shares.begin(one)
        done: list[tuple[float, float]] = []
        while job := one.next(Turn(end - clock[0], 1, done=tuple(done))):
            took = one.minutes * 60 if not done else end - clock[0]
            clock[0] += took
            done.append((job.size, took))
        lanes = [clock[0], clock[0]] if one.all_cores else [clock[0] if n == lane else lanes[n] for n in (0, 1)]
        yield one, len(done), clock[0]


def test_in_an_hour_every_part_runs() -> None:
    ran = {one.name: jobs for one, jobs, _ in an_hour_of_two_cores()}

    assert min(ran.values()) >= 1, ran


def test_an_hour_is_over_after_about_an_hour() -> None:
    assert max(end for _, _, end in an_hour_of_two_cores()) <= HOUR * (1 + EXTRA)


def test_what_one_part_leaves_is_shared_out_anew() -> None:
    now = [0.0]
    first, second, third = (Part(name, 1, lambda _: None, all_cores=True) for name in "abc")
    shares = Shares([first, second, third], 90.0, 2, lambda: now[0])

    assert shares.begin(first) == 30.0
    now[0] = 10.0
    shares.end(first)
    assert shares.begin(second) == 50.0


def test_parts_of_one_core_have_the_time_of_two_side_by_side() -> None:
    first, second, third = (Part(name, 1, lambda _: None) for name in "abc")
    shares = Shares([first, second, third], 90.0, 2, lambda: 0.0)

    assert [shares.begin(one) for one in (first, second, third)] == [60.0, 60.0, 60.0]


def test_a_part_of_a_fixed_size_is_not_begun_where_there_is_no_time_for_it() -> None:
    next_ = whole("a model", 8, read_nothing, "model")

    assert next_(Turn(8 * 60, 1)) is not None
    assert next_(Turn(60, 1)) is None
    assert next_(Turn(8 * 60, 1, done=((1, 10),))) is None


def test_a_part_that_grows_does_as_much_as_fits_by_what_it_has_taken() -> None:
    next_ = growing(2_000, lambda size, seed: Job(f"{seed}", (), read_nothing, size=size))

    first = next_(Turn(1000, 5))
    second = next_(Turn(900, 6, done=((2_000, 100),)))
    assert first is not None
    assert first.size == 2_000
    assert second is not None
    assert second.size == 0.95 * 18_000
    assert next_(Turn(10, 7, done=((2_000, 100),))) is None


def test_chaos_that_proved_nothing_is_run_again_with_other_dice() -> None:
    next_ = lasting(50, 300, 45, lambda seconds, seed: Job(f"{seed}", (), read_nothing, size=seconds))

    first, again = next_(Turn(105, 5)), next_(Turn(1, 6, done=((60, 105),), again=True))
    assert first is not None
    assert first.size == 60
    assert again is not None
    assert (again.what, again.size) == ("6", 50)
    assert next_(Turn(1, 6, done=((60, 105),))) is None


# Running


def test_every_part_runs_and_what_one_of_them_breaks_stops_no_other(tmp_path: Path) -> None:
    results: list[Result] = []
    parts = [
        part("all", "print('one two')", all_cores=True),
        part("bad", "raise SystemExit(3)"),
        part("good", "print(1)"),
    ]

    soak(tmp_path, results).round(parts, time.monotonic() + LONG)

    assert {one.part.name: (one.found.counts["words"], one.found.violations) for one in results} == {
        "all": (2, []),
        "bad": (0, ["it broke"]),
        "good": (1, []),
    }


def test_what_hangs_is_ended(tmp_path: Path) -> None:
    results: list[Result] = []

    soak(tmp_path, results).round([part("hangs", "import time; time.sleep(600)", limit=1.0)], time.monotonic() + LONG)

    assert results[0].ended.code is None
    assert results[0].found.violations == ["it broke"]
    assert results[0].ended.seconds < LONG


def test_what_a_command_leaves_behind_is_ended_with_it(tmp_path: Path) -> None:
    results: list[Result] = []
    code = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], stdout=subprocess.DEVNULL)\n"
        "print(child.pid)"
    )

    soak(tmp_path, results).round([part("leaves", code)], time.monotonic() + LONG)

    left = int(results[0].ended.out)
    until = time.monotonic() + LONG
    while (state := Path(f"/proc/{left}/stat")).exists() and ") Z" not in state.read_text():
        assert time.monotonic() < until, "it is still there"
        time.sleep(0.05)


def test_at_the_last_moment_everything_is_ended_and_said_to_prove_nothing(tmp_path: Path) -> None:
    results: list[Result] = []

    soak(tmp_path, results, seconds=1.0).round([part("long", "import time; time.sleep(600)")], time.monotonic() + 1)

    assert results[0].found.invalid == ["it was ended, as there was no time left"]


def test_an_interrupt_ends_what_runs_and_keeps_what_was_done(tmp_path: Path) -> None:
    results: list[Result] = []
    one = soak(tmp_path, results)
    stop = threading.Timer(1.0, one.stopping.set)
    stop.start()

    one.round([part("short", "print(1)", all_cores=True), part("long", "import time; time.sleep(600)")], LONG)

    stop.join()
    assert [said.part.name for said in results] == ["short", "long"]
    assert results[1].found.invalid == ["it was interrupted"]


def test_no_two_jobs_get_the_same_seed(tmp_path: Path) -> None:
    seen: list[int] = []
    numbers = count()

    def next_(turn: Turn) -> Job | None:
        seen.append(turn.seed)
        return Job("a try", (sys.executable, "-c", ""), read_nothing) if next(numbers) < 3 else None

    soak(tmp_path, []).round([Part("three", 1, next_)], time.monotonic() + LONG)

    assert len(seen) == len(set(seen)) == 4


def test_what_tests_record_reaches_the_report(tmp_path: Path) -> None:
    results: list[Result] = []
    tests = tmp_path / "test_some.py"
    tests.write_text("def test_of_worlds(record_property):\n    record_property('worlds', 15624)\n")
    one = of_the_suite("some", 0.1, str(tests), f"--config-file={ROOT / 'pyproject.toml'}")

    soak(tmp_path, results).round([one], time.monotonic() + LONG)

    assert results[0].found == Found(Counter({"tests": 1, "worlds": 15_624}))


def command(*words: str) -> subprocess.CompletedProcess[str]:
    """The soak's own command."""
    program = str(Path(__file__).with_name("soak.py"))
    return subprocess.run([sys.executable, program, *words], capture_output=True, text=True, check=False, timeout=LONG)


def test_a_part_that_does_not_exist_is_told_with_those_that_do() -> None:
    done = command("--only=nonsense")

    assert done.returncode == 64
    assert "simulation" in done.stderr


def test_the_command_prints_its_report_and_keeps_it_and_says_by_its_exit_code_whether_it_is_valid(
    tmp_path: Path,
) -> None:
    for find in NEEDED:
        need(find)

    done = command("--hours=0.001", "--only=model of the barrier", f"--place={tmp_path}")

    assert done.returncode == 2, done.stderr
    assert "INVALID: model of the barrier: there was too little time for it" in done.stdout
    assert done.stdout.strip().endswith("**0 violations; the report is INVALID.**")
    assert "too little time" in (tmp_path / "report.md").read_text()


# Reading

HELD = """\
deaths                            1,234
finally completed                   300
finally parked                        2
2,000 seeds held, 25 seeds a second
"""
FLEET = {
    "seconds": 60,
    "workers": 9,
    "clients": 3,
    "faults": {"kill": {"times": 2, "sagas": 30}, "stop": {"times": 1, "sagas": 12}},
    "sagas": {"completed": 70, "compensated": 30},
    "seen": {"calls that reached the participant": 500, "effects": 300, "effects taken back": 60},
    "messages": {"commands delivered": 40, "replies delivered": 2, "duplicated": 7},
    "lives": 12,
    "calls": 500,
    "effects": 360,
    "troubles": [],
    "invalid": [],
}
ON_A_FILE = {"seconds": 60, "met": {"kill": 12}, "missed": {"kill": 1}, "workers": 5, "clients": 2, "troubles": []}


def test_seeds_that_held_are_counted() -> None:
    found = simulation(Ended(0, HELD))

    assert found == Found(Counter({"seeds": 2000, "deaths of workers": 1234, "sagas": 302}))


def test_a_seed_that_failed_is_a_violation_and_too_little_is_invalid() -> None:
    failed = simulation(Ended(1, "seed 7 FAILED: two effects of a\n"))
    little = simulation(Ended(2, HELD + "INVALID, too little happened: deaths: 1, and 9 are wanted\n"))

    assert failed.violations == ["seed 7 FAILED: two effects of a"]
    assert little.invalid == ["INVALID, too little happened: deaths: 1, and 9 are wanted"]


def junit(*cases: str) -> str:
    """The file of pytest."""
    return f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>"


WELL = '<testcase name="one"><properties><property name="worlds" value="15624"/></properties></testcase>'


def test_tests_are_counted_with_what_they_record() -> None:
    assert suite(Ended(0, xml=junit(WELL, WELL))).counts == Counter({"tests": 2, "worlds": 31248})


def test_a_test_that_fails_is_a_violation_and_one_that_is_skipped_proves_nothing() -> None:
    found = suite(
        Ended(
            1,
            xml=junit(
                '<testcase name="bad"><failure message="two effects"/></testcase>',
                '<testcase name="gone"><skipped message="no server"/></testcase>',
            ),
        )
    )

    assert found.violations == ["bad: two effects"]
    assert "gone was skipped" in found.invalid


@pytest.mark.parametrize("read", [fleet_chaos, services_chaos])
def test_chaos_is_counted_and_what_it_says_is_kept(read: Callable[[Ended], Found]) -> None:
    well = read(Ended(0, json.dumps(FLEET)))
    wrong = read(Ended(1, json.dumps({**FLEET, "troubles": ["S2 two effects"]})))
    little = read(Ended(2, json.dumps({**FLEET, "invalid": ["nobody died"]})))

    assert well.chaos is not None
    assert (well.chaos.faults.total(), well.chaos.met, well.chaos.calls, well.chaos.effects) == (3, 42, 500, 360)
    assert well.chaos.lives == 12
    assert wrong.violations == ["S2 two effects"]
    assert little.invalid == ["nobody died"]


def test_chaos_on_a_file_that_met_hardly_anything_proves_nothing() -> None:
    well = file_chaos(Ended(0, json.dumps({**ON_A_FILE, "statuses": {"completed": 60, "compensated": 9}})))
    little = file_chaos(Ended(0, json.dumps({**ON_A_FILE, "met": {}, "statuses": {"completed": 60}})))

    assert well.invalid == []
    assert any("met sagas" in why for why in little.invalid)
    assert any("compensated" in why for why in little.invalid)


@pytest.mark.parametrize("read", [simulation, suite, fuzzer, fleet_chaos, services_chaos, file_chaos])
@pytest.mark.parametrize("ended", [Ended(0), Ended(None, "some"), Ended(139, "boom"), Ended(1, "Traceback")])
def test_a_command_that_says_nothing_that_is_understood_is_never_taken_for_good(
    read: Callable[[Ended], Found], ended: Ended
) -> None:
    assert read(ended).violations


def test_chaos_that_ended_badly_without_a_reason_is_wrong() -> None:
    assert fleet_chaos(Ended(1, json.dumps(FLEET))).violations


# The report


def test_a_report_without_violations_whose_parts_all_proved_something_is_valid() -> None:
    report = told(result(Found(chaos=Chaos(60, 9, Counter({"kill": 2}), 42, Counter({"completed": 7})))))

    assert report.code == 0
    assert "**0 violations; the report is valid.**" in report.text()
    assert "| chaos somewhere | 1 | 60 | 9 | 2 | 1 | 42 | 7 |" in report.text()


def test_a_violation_is_told_with_what_repeats_it() -> None:
    report = told(result(Found(violations=["S2 two effects"])))

    assert report.code == 1
    assert "S2 two effects" in report.text()
    assert "`python x.py`" in report.text()


def test_a_part_that_had_no_time_makes_the_report_invalid() -> None:
    report = told(result(Found()), parts=(part_named("chaos somewhere"), part_named("the model")))

    assert report.code == 2
    assert "INVALID: the model: there was too little time for it" in report.text()


def test_what_proved_nothing_is_forgiven_to_chaos_only_and_only_if_other_dice_did_better() -> None:
    little, well = Found(invalid=["nobody died"], chaos=Chaos()), Found(chaos=Chaos())

    assert told(result(little)).code == 2
    assert told(result(little), result(little)).code == 2
    assert told(result(little), result(well)).code == 0
    assert told(result(Found(invalid=["skipped"])), result(Found())).code == 2


def test_what_is_not_over_is_not_valid() -> None:
    assert told(result(Found()), state="it is not over yet").code == 2


def test_a_page_gets_the_report_in_its_place(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n\n{BEGINS}\nold\n{ENDS}\n\nafter\n")

    into_page("new\n", page)

    assert page.read_text() == f"before\n\n{BEGINS}\n\nnew\n\n{ENDS}\n\nafter\n"


def test_every_part_is_of_files_that_are_there_or_says_which_it_waits_for() -> None:
    for one in PARTS:
        job = one.next(Turn(3600, 1))
        assert job is not None
        named = [word for word in job.command[1:] if word.startswith("tests/")]
        assert all((ROOT / name).exists() for name in named) or one.needs in named
