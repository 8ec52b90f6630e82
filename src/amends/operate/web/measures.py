"""`/metrics` of the dashboard: how all sagas fare, read from the database.

What a worker counts is told by the worker itself (`amends worker --metrics`); this is what no worker sees alone.

Guarantees: each database is asked at most once a second, whoever scrapes; one that is away is a gauge, not an error.
Must not: name a saga's id, a person or a payload.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response

from amends.errors import AmendsError
from amends.observe.prometheus import OPENMETRICS, TEXT, accepts_openmetrics, exposition
from amends.observe.registry import Family, Sample, Spec
from amends.operate.values import Overview, Trouble
from amends.operate.web.context import Web
from amends.operate.web.outboxes import Outbox, outboxes_of

KEPT_SECONDS = 1.0
ASKED_SECONDS = 5.0
GAUGES: tuple[Spec, ...] = (
    Spec("amends_store_up", "gauge", "1 if the sagas' database answers."),
    Spec("amends_sagas_open", "gauge", "Sagas that have not ended, by status.", ("status",)),
    Spec("amends_sagas_stuck", "gauge", "Open sagas that wait for somebody, as `amends stuck` has them.", ("trouble",)),
    Spec(
        "amends_failing_sagas", "gauge", "Open sagas in which the same went wrong, the most frequent.", ("saga", "step")
    ),
    Spec(
        "amends_outbox_lag_seconds",
        "gauge",
        "For how long the oldest event waits to be published, of each service whose home is shown.",
        ("service",),
    ),
    Spec("amends_outbox_waiting", "gauge", "Events that wait to be published, of each such service.", ("service",)),
    Spec("amends_timer_lag_seconds", "gauge", "For how long the saga that is overdue the longest has been due."),
    Spec("amends_timers_waiting", "gauge", "Sagas that were due and that no worker has taken yet."),
    Spec("amends_workers_alive", "gauge", "Workers whose lease runs."),
)
_SPECS = {spec.name: spec for spec in GAUGES}


class Measures:
    """The text that Prometheus reads, kept for a moment."""

    def __init__(self, web: Web) -> None:
        self._web = web
        self._kept: list[Family] = []
        self._until = 0.0
        self._asking = asyncio.Lock()

    async def answer(self, request: Request) -> Response:
        """All gauges, in whichever format is asked for."""
        openmetrics = accepts_openmetrics(request.headers.get("accept", ""))
        text = exposition(await self._families(), openmetrics=openmetrics)
        return Response(text, headers={"content-type": OPENMETRICS if openmetrics else TEXT})

    async def _families(self) -> list[Family]:
        async with self._asking:
            if time.monotonic() >= self._until:
                self._kept = await self._read()
                self._until = time.monotonic() + KEPT_SECONDS
        return self._kept

    async def _read(self) -> list[Family]:
        found, outboxes = await asyncio.gather(self._gauges(), outboxes_of(self._web.desks))
        return [*found, *published(outboxes)]

    async def _gauges(self) -> list[Family]:
        try:
            async with asyncio.timeout(ASKED_SECONDS):
                return gauges(await (await self._web.desks.one(None).desk()).overview())
        except (AmendsError, TimeoutError):
            return [_family("amends_store_up", 0)]


def gauges(overview: Overview) -> list[Family]:
    """How all sagas fare, as numbers."""
    spec = _SPECS["amends_sagas_open"]
    opened = Family(spec, tuple(Sample("", (("status", name),), n) for name, n in overview.counts.items()))
    failing: dict[tuple[str, str], int] = {}
    for group in overview.groups:
        place = group.saga, group.step
        failing[place] = failing.get(place, 0) + group.count
    samples = tuple(Sample("", (("saga", saga), ("step", step)), n) for (saga, step), n in failing.items())
    troubles = tuple(Sample("", (("trouble", str(one)),), overview.troubles.get(one, 0)) for one in Trouble)
    return [
        _family("amends_store_up", 1),
        opened,
        Family(_SPECS["amends_sagas_stuck"], troubles),
        Family(_SPECS["amends_failing_sagas"], samples),
        _family("amends_timer_lag_seconds", overview.timers.lag_seconds),
        _family("amends_timers_waiting", overview.timers.waiting),
        _family("amends_workers_alive", sum(worker.alive for worker in overview.workers)),
    ]


def published(outboxes: Sequence[Outbox]) -> list[Family]:
    """How far outboxes are behind, as numbers; none of one whose database does not answer."""
    known = [(("service", one.service), one.lag) for one in outboxes if one.lag is not None]
    lags = tuple(Sample("", (label,), lag.lag_seconds) for label, lag in known)
    waiting = tuple(Sample("", (label,), lag.waiting) for label, lag in known)
    return [Family(_SPECS["amends_outbox_lag_seconds"], lags), Family(_SPECS["amends_outbox_waiting"], waiting)]


def _family(name: str, value: float) -> Family:
    return Family(_SPECS[name], (Sample("", (), value),))
