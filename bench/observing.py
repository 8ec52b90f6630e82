"""What observing costs: `python -m bench.observing`.

The order saga, 20 at once, on a fresh SQLite file each round, in a process of its own: with nobody who observes, with
metrics, with logs' context, with traces of one saga in ten and of all. The ways take turns, so that what else the
machine does meets all of them. `--before DIR` adds a checkout from before there was anything to observe.

Guarantees: each round counts only after a second of warming up; the processor's time is the process's own, so it says
something also on a machine that is not quiet.
Must not: export spans anywhere: they are batched as they would be, and dropped.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from amends import Orchestrator
from bench.contender_amends import SAGAS
from bench.order import ORDER

ROOT = Path(__file__).parents[1]
AT_ONCE = 20
WARM_SECONDS = 1.0
BEFORE = "before"


def traced(ratio: float) -> list[Any]:
    """Traces whose spans are batched and dropped."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    from amends.otel import Tracing

    class Dropped(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Dropped(), max_queue_size=100_000))
    return [Tracing(ratio=ratio, provider=provider)]


def counted() -> list[Any]:
    """Metrics."""
    from amends.observe.metrics import Metrics

    return [Metrics()]


def in_context() -> list[Any]:
    """What logs as JSON want."""
    from amends.observe.logs import InContext

    return [InContext()]


WAYS: dict[str, Callable[[], list[Any]]] = {
    "off": list,
    "metrics": counted,
    "logs": in_context,
    "traces of one in ten": lambda: traced(0.1),
    "traces of all": lambda: traced(1.0),
}


async def round_of(path: Path, given: dict[str, Any], seconds: float) -> tuple[float, float]:
    """Sagas a second, and the processor's milliseconds for one."""
    saga, done = SAGAS["happy"], 0
    until = time.perf_counter() + WARM_SECONDS + seconds
    async with Orchestrator(f"sqlite:///{path}", sagas=[saga], **given) as orchestrator:

        async def one_after_the_other() -> None:
            nonlocal done
            while time.perf_counter() < until:
                await orchestrator.run(saga, ORDER)
                done += 1

        tasks = [asyncio.create_task(one_after_the_other()) for _ in range(AT_ONCE)]
        await asyncio.sleep(WARM_SECONDS)
        before, at, used = done, time.perf_counter(), time.process_time()
        await asyncio.gather(*tasks)
        count = max(done - before, 1)
        return count / (time.perf_counter() - at), (time.process_time() - used) / count * 1000


def one(way: str, seconds: float) -> None:
    """A round, in this process."""
    with tempfile.TemporaryDirectory() as directory:
        given = {} if way in (BEFORE, "off") else {"observers": WAYS[way]()}
        print(json.dumps(asyncio.run(round_of(Path(directory) / "sagas.db", given, seconds))))


def measured(way: str, seconds: float, before: str) -> tuple[float, float]:
    """A round, in a process of its own."""
    source = Path(before) / "src" if way == BEFORE else ROOT / "src"
    command = [sys.executable, "-m", "bench.observing", "--one", way, "--seconds", str(seconds)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(source), str(ROOT)])}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
    rate, cpu = json.loads(done.stdout)
    return float(rate), float(cpu)


def main() -> None:
    """All ways, in turns."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--before", default="")
    parser.add_argument("--one", default="")
    options = parser.parse_args()
    if options.one:
        one(options.one, options.seconds)
        return
    ways = [*([BEFORE] if options.before else []), *WAYS]
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for index in range(options.rounds):
        for way in ways if index % 2 == 0 else reversed(ways):
            found[way].append(measured(way, options.seconds, options.before))
    print(f"{'':24}{'sagas/s':>10}{'of off':>8}{'CPU ms':>9}{'of off':>8}")
    for way in ways:
        rates = [rate / off for (rate, _), (off, _) in zip(found[way], found["off"], strict=True)]
        costs = [cpu / off for (_, cpu), (_, off) in zip(found[way], found["off"], strict=True)]
        rate, cpu = (statistics.median(numbers) for numbers in zip(*found[way], strict=True))
        print(f"{way:24}{rate:10.0f}{statistics.median(rates):8.2f}{cpu:9.3f}{statistics.median(costs):8.2f}")


if __name__ == "__main__":
    main()
