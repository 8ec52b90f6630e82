"""Runs the parts of a soak within its time: those of one core side by side, those of all cores one after the other.

Guarantees: what has no time left is ended in order, and nothing is left behind; whatever a part does, the others run.
Must not: decide what is right; `soak_said.py` reads that.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from soak_parts import HERE, SCRATCH, Job, Part, Turn, there
from soak_said import Ended, Found

ROOT = Path(__file__).parents[2]
LOOK_SECONDS = 0.2
Clock = Callable[[], float]
STOP_SECONDS = 60.0  # what is asked to end has that long to close what it opened
EXTRA = 1 / 6  # of the hours: what runs then is let run on, and nothing is begun


@dataclass(frozen=True)
class Result:
    """What came of one job. records: the directory that it has left, where something is wrong."""

    part: Part
    job: Job
    ended: Ended
    found: Found
    log: Path
    records: Path | None = None


class Shares:
    """How much of what time is left each part gets, by the minutes of the table: what one leaves is shared out anew."""

    def __init__(
        self, parts: Iterable[Part], until: float, lanes: int, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._todo = list(parts)
        self._until, self._lanes, self._now = until, lanes, now
        self._running: dict[str, float] = {}
        self._lock = threading.Lock()

    def _weight(self, part: Part) -> float:
        return part.minutes * (self._lanes if part.all_cores else 1)

    def begin(self, part: Part) -> float:
        """The instant until which a part may go on."""
        with self._lock:
            now = self._now()
            taken = sum(max(end - now, 0.0) for end in self._running.values())
            left = max((self._until - now) * self._lanes - taken, 0.0)
            share = left * self._weight(part) / sum(map(self._weight, self._todo))
            self._todo.remove(part)
            end = min(now + share / (self._lanes if part.all_cores else 1), self._until)
            self._running[part.name] = end
            return end

    def end(self, part: Part) -> None:
        """It is over, perhaps before its time."""
        with self._lock:
            del self._running[part.name]


@dataclass
class Soak:
    """One soak. place: for what its commands leave. tell: is told each result, one at a time. deadline: the instant at
    which everything is ended."""

    place: Path
    lanes: int
    deadline: float
    seed: int
    tell: Callable[[Result], None]
    say: Callable[[str], None]
    stopping: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _jobs: int = 0

    def round(self, parts: Sequence[Part], until: float) -> None:
        """Every part once, or as often as its time allows."""
        shares = Shares([part for part in parts if there(part, ROOT)], until, self.lanes)
        with ThreadPoolExecutor(self.lanes) as pool:
            try:
                for part in parts:
                    if part.all_cores:
                        pool.submit(self._part, part, shares).result()
                for running in [pool.submit(self._part, part, shares) for part in parts if not part.all_cores]:
                    running.result()
            except BaseException:  # an interrupt: the main thread does nothing but wait here
                self.stopping.set()
                raise

    def _part(self, part: Part, shares: Shares) -> None:
        if not there(part, ROOT):
            self.say(f"{part.name}: not there yet, there is no {part.needs}")
            return
        end = shares.begin(part)
        done: list[tuple[float, float]] = []
        again = False
        while not self.stopping.is_set() and time.monotonic() < self.deadline:
            seed, number = self._fresh()
            job = part.next(Turn(end - time.monotonic(), seed, tuple(done), again))
            if job is None:
                break
            self.say(f"{part.name}: {job.what}")
            result = self._run(part, job, number)
            with self._lock:
                self.tell(result)
            done.append((job.size, result.ended.seconds))
            if result.found.violations or (result.found.invalid and again):
                break  # it would be the same again
            again = bool(result.found.invalid)
        shares.end(part)
        if not done and not self.stopping.is_set():
            self.say(f"{part.name}: there is too little time for it")

    def _fresh(self) -> tuple[int, int]:
        """A seed that nobody else gets, with a million behind it, and the number of the next job."""
        with self._lock:
            self._jobs += 1
            return self.seed + self._jobs * 1_000_000, self._jobs

    def _run(self, part: Part, job: Job, number: int) -> Result:
        """One command, to its end or until there is no time left."""
        name = "".join(letter if letter.isalnum() else "-" for letter in part.name.replace(",", ""))
        here = self.place / f"{number:03}-{name}"
        began = time.monotonic()
        scratch = Path(tempfile.mkdtemp(prefix="amends-soak-"))
        words = [word.replace(HERE, str(here)).replace(SCRATCH, str(scratch)) for word in job.command]
        environment = {**os.environ, "AMENDS_REQUIRE_SERVICES": "1", **job.environment}
        log = here.with_suffix(".out")
        with log.open("wb") as out, here.with_suffix(".err").open("wb") as err:
            child = subprocess.Popen(
                words,
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
            code = self._wait(child, min(began + job.limit, self.deadline))
        xml = here.with_suffix(".xml")
        ended = Ended(
            code,
            log.read_text(errors="replace"),
            here.with_suffix(".err").read_text(errors="replace"),
            xml.read_text(errors="replace") if xml.exists() else "",
            time.monotonic() - began,
        )
        found = self._read(job, ended)
        kept = bool(found.violations or found.invalid) and not self.stopping.is_set() and any(scratch.iterdir())
        if not kept:
            shutil.rmtree(scratch, ignore_errors=True)
        return Result(part, job, ended, found, log, scratch if kept else None)

    def _read(self, job: Job, ended: Ended) -> Found:
        if self.stopping.is_set():
            return Found(invalid=["it was interrupted"])
        if ended.code is None and time.monotonic() >= self.deadline:
            return Found(invalid=["it was ended, as there was no time left"])
        try:
            return job.read(ended)
        except Exception as error:  # noqa: BLE001  # what cannot be read proves nothing, and is wrong
            return Found(violations=[f"what it said cannot be read: {error!r}\n{ended.story}"])

    def _wait(self, child: subprocess.Popen[bytes], until: float) -> int | None:
        """Its exit code; None where it had to be ended."""
        while not self.stopping.is_set() and time.monotonic() < until:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = child.wait(LOOK_SECONDS)
                _end_group(child)
                return code
        child.send_signal(signal.SIGINT if "pytest" in child.args else signal.SIGTERM)  # type: ignore[operator]  # a list
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(STOP_SECONDS)
        _end_group(child)
        child.wait()
        return None


def _end_group(child: subprocess.Popen[bytes]) -> None:
    """Whatever it has left behind goes with it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
