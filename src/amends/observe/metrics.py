"""Metrics: what happens, counted.

`Metrics()` is an observer; `families()` gives all numbers, which `prometheus.py` writes down. One may observe several
orchestrators and participants of a process at once, also on several loops.

Guarantees: documented names, in `METRICS`; labels are the names of sagas, steps, services and messages, never an id
nor a payload; items of a `for_each` are counted together, as `hotels[]/book`.
Must not: know a library for metrics.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from threading import Lock
from typing import Any

from amends.observe import events as o
from amends.observe.events import Event
from amends.observe.registry import LONG_SECONDS, MANY, SECONDS, Family, Histogram, Number, Spec

METRICS: tuple[Spec, ...] = (
    Spec("amends_sagas_started_total", "counter", "Sagas that a worker has begun.", ("saga",)),
    Spec("amends_sagas_ended_total", "counter", "Sagas that have ended: completed or compensated.", ("saga", "end")),
    Spec("amends_saga_seconds", "histogram", "From a saga's start to its end.", ("saga", "end"), LONG_SECONDS),
    Spec("amends_sagas_turned_back_total", "counter", "Sagas that went back, by the cause.", ("saga", "cause")),
    Spec("amends_sagas_parked_total", "counter", "Sagas that parked: a person is needed.", ("saga",)),
    Spec("amends_sagas_resumed_total", "counter", "Parked sagas that went on.", ("saga",)),
    Spec("amends_sagas_adopted_total", "counter", "Sagas taken over from a worker that was gone.", ("saga",)),
    Spec(
        "amends_step_attempts_total",
        "counter",
        "Attempts that are over: succeeded, void, rejected, failed (nothing stayed) or unresolved.",
        ("saga", "step", "phase", "outcome"),
    ),
    Spec("amends_step_seconds", "histogram", "How long attempts took.", ("saga", "step", "phase"), SECONDS),
    Spec("amends_step_retries_total", "counter", "Attempts that were put off.", ("saga", "step", "phase")),
    Spec("amends_steps_stuck_total", "counter", "Steps that need a person.", ("saga", "step", "phase")),
    Spec("amends_attempts_in_flight", "gauge", "Local attempts in flight in this process.", ("saga", "phase")),
    Spec("amends_commands_sent_total", "counter", "Commands sent to services.", ("saga", "command", "phase")),
    Spec("amends_late_answers_total", "counter", "Answers that came after their step had moved on.", ("saga",)),
    Spec("amends_signals_total", "counter", "Signals that have arrived.", ("saga", "signal")),
    Spec("amends_acts_total", "counter", "Acts of people that had their effect.", ("saga", "verb")),
    Spec("amends_asks_refused_total", "counter", "What was asked of sagas too late.", ("saga", "verb")),
    Spec("amends_worker_registrations_total", "counter", "Registrations of workers of this process."),
    Spec("amends_worker_retirements_total", "counter", "Times that others took over what a worker here had."),
    Spec("amends_lease_renewals_total", "counter", "Renewals of leases."),
    Spec("amends_sagas_held", "gauge", "Sagas in a worker's memory.", ("worker",)),
    Spec("amends_commit_writes", "histogram", "Decisions in one commit.", (), MANY),
    Spec("amends_commit_seconds", "histogram", "How long commits took.", (), SECONDS),
    Spec("amends_commit_failures_total", "counter", "Times that the store could not be written."),
    Spec(
        "amends_commands_handled_total",
        "counter",
        "Commands that a service has answered, by the reply.",
        ("service", "command", "phase", "outcome"),
    ),
    Spec(
        "amends_commands_repeated_total",
        "counter",
        "Of those, the ones that the inbox answered without calling the handler.",
        ("service", "command", "phase", "verdict"),
    ),
    Spec(
        "amends_handler_seconds",
        "histogram",
        "From the delivery of a command to its outcome.",
        ("service", "command", "phase"),
        SECONDS,
    ),
    Spec("amends_commands_in_flight", "gauge", "Commands that a service has in hand.", ("service",)),
    Spec(
        "amends_events_handled_total",
        "counter",
        "Tries to handle an event: succeeded, repeated (it had been before), rejected or failed.",
        ("service", "event", "outcome"),
    ),
    Spec("amends_event_seconds", "histogram", "How long tries to handle events took.", ("service", "event"), SECONDS),
    Spec("amends_hops_total", "counter", "Batons passed on.", ("service", "saga", "to")),
    Spec("amends_events_published_total", "counter", "Messages of the outbox confirmed.", ("service", "event")),
    Spec("amends_event_lag_seconds", "histogram", "From an event's commit to its confirm.", ("service",), SECONDS),
    Spec("amends_messages_buried_total", "counter", "Messages put aside as unreadable.", ("service",)),
)
# What there is of a saga with 0 once one was started here.
FROM_THE_START = (
    "amends_sagas_parked_total",
    "amends_sagas_resumed_total",
    "amends_sagas_adopted_total",
    "amends_late_answers_total",
)


class Metrics:
    """Counts. An observer."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._numbers: dict[str, Number] = {spec.name: Number(spec) for spec in METRICS if spec.kind != "histogram"}
        self._histograms = {spec.name: Histogram(spec) for spec in METRICS if spec.kind == "histogram"}
        self._ways: Mapping[type[Event], Callable[[Any], None]] = {
            o.SagaStarted: self._started,
            o.SagaEnded: self._ended,
            o.SagaTurnedBack: self._turned,
            o.SagaParked: self._parked,
            o.SagaResumed: self._resumed,
            o.SagaAdopted: self._adopted,
            o.AttemptBegan: self._began,
            o.AttemptEnded: self._over,
            o.CommandSent: self._sent,
            o.RetryScheduled: self._retried,
            o.StepStuck: self._stuck,
            o.SignalTaken: self._signalled,
            o.ActTaken: self._acted,
            o.AskRefused: self._refused,
            o.AnswerLate: self._late,
            o.WorkerRegistered: self._registered,
            o.WorkerLooked: self._looked,
            o.LeaseRenewed: self._renewed,
            o.WorkerRetired: self._retired,
            o.WorkerLeft: self._left,
            o.BatchWritten: self._written,
            o.WriteFailed: self._unwritten,
            o.HandlerBegan: self._taken,
            o.HandlerEnded: self._handled,
            o.EventEnded: self._heard,
            o.HopSent: self._hopped,
            o.EventPublished: self._published,
            o.MessageBuried: self._buried,
        }

    def __call__(self, event: Event) -> None:
        """Count what happened."""
        way = self._ways.get(type(event))
        if way is not None:
            with self._lock:
                way(event)

    def families(self) -> list[Family]:
        """All numbers, as they are now."""
        with self._lock:
            numbers = [number.family() for number in self._numbers.values()]
            return numbers + [histogram.family() for histogram in self._histograms.values()]

    def value(self, name: str, *labels: str) -> float:
        """One number: of a histogram how many there were. For tests of one's own."""
        with self._lock:
            if name in self._histograms:
                return self._histograms[name].count(*labels)
            return self._numbers[name].value(*labels)

    def _count(self, name: str, *labels: str, by: float = 1.0) -> None:
        self._numbers[name].add(labels, by)

    def _observe(self, name: str, value: float, *labels: str) -> None:
        self._histograms[name].observe(labels, value)

    # Sagas

    def _started(self, event: o.SagaStarted) -> None:
        saga = event.about.saga
        if not self._numbers["amends_sagas_started_total"].value(saga):
            self._meet(saga)
        self._count("amends_sagas_started_total", saga)

    def _meet(self, saga: str) -> None:
        """Have what is alerted on be there before it happens: of what appears with 1, Prometheus sees no increase."""
        for name in FROM_THE_START:
            self._count(name, saga, by=0.0)

    def _ended(self, event: o.SagaEnded) -> None:
        labels = event.about.saga, event.end
        self._count("amends_sagas_ended_total", *labels)
        self._observe("amends_saga_seconds", event.seconds, *labels)

    def _turned(self, event: o.SagaTurnedBack) -> None:
        self._count("amends_sagas_turned_back_total", event.about.saga, event.cause)

    def _parked(self, event: o.SagaParked) -> None:
        self._count("amends_sagas_parked_total", event.about.saga)

    def _resumed(self, event: o.SagaResumed) -> None:
        self._count("amends_sagas_resumed_total", event.about.saga)

    def _adopted(self, event: o.SagaAdopted) -> None:
        self._count("amends_sagas_adopted_total", event.about.saga)

    # Steps

    def _began(self, event: o.AttemptBegan) -> None:
        self._count("amends_attempts_in_flight", event.about.saga, event.phase)

    def _over(self, event: o.AttemptEnded) -> None:
        saga, phase, step = event.about.saga, event.phase, _place(event.step)
        self._count("amends_step_attempts_total", saga, step, phase, event.outcome)
        if event.seconds is not None:
            self._observe("amends_step_seconds", event.seconds, saga, step, phase)
        if not event.command and not event.lost:
            self._count("amends_attempts_in_flight", saga, phase, by=-1.0)

    def _sent(self, event: o.CommandSent) -> None:
        self._count("amends_commands_sent_total", event.about.saga, event.command, event.phase)

    def _retried(self, event: o.RetryScheduled) -> None:
        self._count("amends_step_retries_total", event.about.saga, _place(event.step), event.phase)

    def _stuck(self, event: o.StepStuck) -> None:
        self._count("amends_steps_stuck_total", event.about.saga, _place(event.step), event.phase)

    def _late(self, event: o.AnswerLate) -> None:
        self._count("amends_late_answers_total", event.about.saga)

    # People

    def _signalled(self, event: o.SignalTaken) -> None:
        self._count("amends_signals_total", event.about.saga, _place(event.signal))

    def _acted(self, event: o.ActTaken) -> None:
        self._count("amends_acts_total", event.about.saga, event.verb)

    def _refused(self, event: o.AskRefused) -> None:
        self._count("amends_asks_refused_total", event.about.saga, event.verb)

    # Workers

    def _registered(self, event: o.WorkerRegistered) -> None:
        self._count("amends_worker_registrations_total")

    def _looked(self, event: o.WorkerLooked) -> None:
        self._numbers["amends_sagas_held"].set((str(event.worker),), event.sagas)

    def _renewed(self, event: o.LeaseRenewed) -> None:
        self._count("amends_lease_renewals_total")

    def _retired(self, event: o.WorkerRetired) -> None:
        self._count("amends_worker_retirements_total")
        self._numbers["amends_sagas_held"].drop((str(event.worker),))

    def _left(self, event: o.WorkerLeft) -> None:
        self._numbers["amends_sagas_held"].drop((str(event.worker),))

    def _written(self, event: o.BatchWritten) -> None:
        self._observe("amends_commit_writes", event.writes)
        self._observe("amends_commit_seconds", event.seconds)

    def _unwritten(self, event: o.WriteFailed) -> None:
        self._count("amends_commit_failures_total")

    # Services

    def _taken(self, event: o.HandlerBegan) -> None:
        self._count("amends_commands_in_flight", event.service)

    def _handled(self, event: o.HandlerEnded) -> None:
        labels = event.service, event.command, event.phase
        self._count("amends_commands_in_flight", event.service, by=-1.0)
        self._count("amends_commands_handled_total", *labels, event.outcome)
        self._observe("amends_handler_seconds", event.seconds, *labels)
        if event.repeated:
            self._count("amends_commands_repeated_total", *labels, event.repeated)

    def _heard(self, event: o.EventEnded) -> None:
        outcome = "repeated" if event.repeated else event.outcome
        self._count("amends_events_handled_total", event.service, event.event, outcome)
        self._observe("amends_event_seconds", event.seconds, event.service, event.event)

    def _hopped(self, event: o.HopSent) -> None:
        self._count("amends_hops_total", event.service, event.about.saga, event.to)

    def _published(self, event: o.EventPublished) -> None:
        self._count("amends_events_published_total", event.service, event.event)
        self._observe("amends_event_lag_seconds", event.lag_seconds, event.service)

    def _buried(self, event: o.MessageBuried) -> None:
        self._count("amends_messages_buried_total", event.service)


@lru_cache(maxsize=4096)  # the same few addresses come again and again
def _place(address: str) -> str:
    """A step's address, without the numbers of items."""
    return re.sub(r"\[\d+\]", "[]", address)
