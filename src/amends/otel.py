"""Traces with OpenTelemetry: `Orchestrator(…, observers=[Tracing()])`, and likewise a `Participant`.

A saga is one trace, however long it runs and whoever runs it. The trace's id, and that of each span others refer to,
is computed from the saga's internal id: nothing is kept open, stored or handed over. A worker that takes a saga over
after a crash goes on in the same trace; a service finds it from the command alone; a compensation links to the very
attempt that it undoes, weeks later. The span of the saga itself is made at its end, with the times it had.

It needs opentelemetry-api only; where spans go is for the SDK that the process sets up. Under a tracer of another make,
whose ids cannot be set, spans have the same trace and the same parent, and ids of their own.

Guarantees: nothing of a payload is in a span; one that cannot be made changes nothing.
Must not: export, or keep a span open beyond its attempt.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from hashlib import blake2b
from threading import local
from typing import Any, NamedTuple, Protocol, cast

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, StatusCode, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from amends.decide.events import Phase
from amends.errors import DefinitionError
from amends.observe import events as o
from amends.observe.events import About, Event

REMEMBERED = 8192  # of sagas and of steps, what is computed of them
RANDOM_BITS = 56  # of a trace's id, by which samplers go
BAD = frozenset({"failed", "unresolved", "missing", "expired"})  # ends that are errors; a business no is none
_PLACE = re.compile(r"\[\d+\]")
_W3C = TraceContextTextMapPropagator()
Attributes = dict[str, str | int | bool]


class Root(NamedTuple):
    """What a saga's spans have in common. parent: the context of its own span."""

    trace_id: int
    span_id: int
    sampled: bool
    parent: contexts.Context


class _Open(NamedTuple):
    span: Span
    before: contexts.Context


class _Ids(Protocol):
    def generate_span_id(self) -> int: ...

    def generate_trace_id(self) -> int: ...


class Tracing:
    """Makes spans: of sagas, attempts, compensations, commands and hops. An observer.

    ratio: of the sagas that are traced, from 0 to 1; the same for each of its spans in every process, and services go
        by what the command says. provider: where the tracer comes from, by default the process's.
    """

    def __init__(self, *, ratio: float = 1.0, provider: trace.TracerProvider | None = None) -> None:
        if isinstance(ratio, bool) or not isinstance(ratio, (int, float)) or not 0 <= ratio <= 1:
            raise DefinitionError(f"Tracing(ratio={ratio!r}): a number from 0 to 1 is expected")
        self._ratio = ratio
        self._provider = provider
        self._tracer: trace.Tracer | None = None
        self._ids: _Chosen | None = None
        self._open: dict[object, list[_Open]] = {}  # several where a delivery overlaps itself
        self._ways: Mapping[type[Event], Callable[[Any], None]] = {
            o.SagaRequested: self._requested,
            o.SagaEnded: self._saga_ended,
            o.SagaTurnedBack: self._turned,
            o.SagaParked: self._parked,
            o.ActTaken: self._acted,
            o.SignalTaken: self._signalled,
            o.AttemptBegan: self._began,
            o.AttemptEnded: self._ended,
            o.HandlerBegan: self._taken,
            o.HandlerEnded: self._handled,
            o.EventBegan: self._heard,
            o.EventEnded: self._heard_out,
        }

    def __call__(self, event: Event) -> None:
        """Make what there is to be made of it."""
        way = self._ways.get(type(event))
        if way is not None:
            way(event)

    def carried(self, event: o.CommandSent | o.HopSent) -> Mapping[str, str]:
        """The trace context of a command or a baton: of the attempt that it is."""
        root = self._root(event.about)
        span_id = root.span_id
        if self._exact:
            span_id = span_id_of(event.about.id, event.step, event.phase, event.round, event.attempt)
        return {"traceparent": f"00-{root.trace_id:032x}-{span_id:016x}-{int(root.sampled):02x}"}

    # Sagas

    def _requested(self, event: o.SagaRequested) -> None:
        """In the trace of whoever starts a saga: a span that leads to the saga's own."""
        root = self._root(event.about)
        if root.sampled and trace.get_current_span().get_span_context().is_valid:
            name, above = f"start {event.about.saga}", contexts.get_current()
            span = self._made(name, above, _named(event.about), event.at, SpanKind.PRODUCER)
            span.add_link(_context_of(root, root.span_id))
            span.end(_nanoseconds(event.at))

    def _saga_ended(self, event: o.SagaEnded) -> None:
        root = self._root(event.about)
        if root.sampled:
            attributes = {**_named(event.about), "amends.end": event.end}
            above = contexts.Context() if self._exact else root.parent
            began = event.at - event.seconds
            span = self._made(event.about.saga, above, attributes, began, ids=(root.trace_id, root.span_id))
            span.end(_nanoseconds(event.at))

    def _turned(self, event: o.SagaTurnedBack) -> None:
        self._instant("turn back", event.about, event.at, {"amends.cause": event.cause, "amends.step": event.step})

    def _parked(self, event: o.SagaParked) -> None:
        self._instant("park", event.about, event.at, {}, bad=True)

    def _acted(self, event: o.ActTaken) -> None:
        self._instant(f"act {event.verb}", event.about, event.at, {"amends.step": event.step})

    def _signalled(self, event: o.SignalTaken) -> None:
        self._instant(f"signal {event.signal}", event.about, event.at, {"amends.kept": event.kept})

    def _instant(self, name: str, about: About, at: float, more: Attributes, *, bad: bool = False) -> None:
        root = self._root(about)
        if root.sampled:
            span = self._made(name, root.parent, {**_named(about), **more}, at)
            if bad:
                span.set_status(StatusCode.ERROR)
            span.end(_nanoseconds(at))

    # Attempts

    def _began(self, event: o.AttemptBegan) -> None:
        """Of a saga that is not traced a step's own calls are not, either: they go by the span that is current."""
        root = self._root(event.about)
        if root.sampled:
            span = self._attempt(root, event, event.at, event.undoes)
        else:
            span_id = span_id_of(event.about.id, event.step, event.phase, event.round, event.attempt)
            span = NonRecordingSpan(_context_of(root, span_id))
        self._enter(_key(event), span)

    def _ended(self, event: o.AttemptEnded) -> None:
        root, span = self._root(event.about), self._leave(_key(event))
        if not root.sampled:
            return
        if span is None:  # a remote one, or one that went down with its worker
            span = self._attempt(root, event, event.at - (event.seconds or 0.0), event.undoes)
        if event.lost:
            span.set_attribute("amends.lost", True)
        _close(span, event.at, event.outcome, event.error)

    def _attempt(self, root: Root, event: o.AttemptBegan | o.AttemptEnded, at: float, undoes: int) -> Span:
        about, step, phase = event.about, event.step, event.phase
        attributes = {**_named(about), **_placed(event)}
        command = event.command if isinstance(event, o.AttemptEnded) else ""
        kind = SpanKind.INTERNAL
        if command:
            kind, attributes["amends.command"] = SpanKind.CLIENT, command
        ids = root.trace_id, span_id_of(about.id, step, phase, event.round, event.attempt)
        span = self._made(_name(step, phase), root.parent, attributes, at, kind, ids=ids)
        if undoes and self._exact:
            span.add_link(_context_of(root, span_id_of(about.id, step, Phase.ACTION, event.round, undoes)))
        return span

    # Commands in a service

    def _taken(self, event: o.HandlerBegan) -> None:
        above = self._above(event)
        span = trace.get_current_span(above)
        if span.get_span_context().trace_flags.sampled:
            attributes = {**_named(event.about), **_placed(event), "amends.service": event.service}
            name = f"{event.service} {_name(event.step, event.phase)}"
            span = self._made(name, above, attributes, event.at, SpanKind.CONSUMER)
        self._enter(_key(event), span)

    def _handled(self, event: o.HandlerEnded) -> None:
        span = self._leave(_key(event))
        if span is not None:
            if event.repeated:
                span.set_attribute("amends.repeated", event.repeated)
            _close(span, event.at, event.outcome, "")

    # Events in a service

    def _heard(self, event: o.EventBegan) -> None:
        above = _W3C.extract(dict(event.trace), contexts.Context())
        span = trace.get_current_span(above)
        came = span.get_span_context()
        if came.trace_flags.sampled or not came.is_valid:  # else whoever told it has decided that it is not traced
            what: Attributes = {"amends.service": event.service, "amends.event": event.event}
            more: Attributes = {"amends.event_id": event.message, "amends.attempt": event.attempt}
            span = self._made(f"{event.service} {event.event}", above, {**what, **more}, event.at, SpanKind.CONSUMER)
        self._enter((event.service, event.message, event.attempt), span)

    def _heard_out(self, event: o.EventEnded) -> None:
        span = self._leave((event.service, event.message, event.attempt))
        if span is not None:
            if event.repeated:
                span.set_attribute("amends.repeated", True)
            _close(span, event.at, event.outcome, "")

    def _above(self, event: o.HandlerBegan) -> contexts.Context:
        """The attempt that a command is: as it says itself, or as is computed."""
        if event.trace:
            above = _W3C.extract(dict(event.trace), contexts.Context())
            if trace.get_current_span(above).get_span_context().is_valid:
                return above
        root = self._root(event.about)
        span_id = root.span_id
        if self._exact:
            span_id = span_id_of(event.about.id, event.step, event.phase, event.round, event.attempt)
        return trace.set_span_in_context(NonRecordingSpan(_context_of(root, span_id)), contexts.Context())

    # Parts

    def _root(self, about: About) -> Root:
        return _root_of(about.id, self._ratio)

    @property
    def _exact(self) -> bool:
        """Whether spans have the ids that are computed."""
        self._ready()
        return self._ids is not None

    def _ready(self) -> trace.Tracer:
        """The tracer; looked for again until the process has a provider."""
        if self._tracer is None:
            provider = self._provider or trace.get_tracer_provider()
            tracer = provider.get_tracer("amends")
            if isinstance(tracer, trace.ProxyTracer):
                return tracer
            given = getattr(tracer, "id_generator", None)
            if callable(getattr(given, "generate_span_id", None)):
                self._ids = _Chosen(cast("_Ids", given))
                cast("Any", tracer).id_generator = self._ids
            self._tracer = tracer
        return self._tracer

    def _made(
        self,
        name: str,
        above: contexts.Context,
        attributes: Attributes,
        at: float,
        kind: SpanKind = SpanKind.INTERNAL,
        *,
        ids: tuple[int, int] | None = None,
    ) -> Span:
        """A span that has begun. ids: that it is to have, of the trace and its own."""
        tracer, chosen, start = self._ready(), self._ids, _nanoseconds(at)
        if chosen is None or ids is None:
            return tracer.start_span(name, above, kind, attributes, start_time=start)
        with chosen.of(*ids):
            return tracer.start_span(name, above, kind, attributes, start_time=start)

    def _enter(self, key: object, span: Span) -> None:
        """Have it be the current span from here on, in this context."""
        self._open.setdefault(key, []).append(_Open(span, contexts.get_current()))
        contexts.attach(trace.set_span_in_context(span))

    def _leave(self, key: object) -> Span | None:
        """The span that was entered, if one was: of several the one that is current here, else the oldest. What was
        current before is again, where this is the same context."""
        entered, current = self._open.get(key), trace.get_current_span()
        if entered is None:
            return None
        found = next((one for one in entered if one.span is current), entered[0])
        entered.remove(found)
        if not entered:
            del self._open[key]
        if found.span is current:
            contexts.attach(found.before)
        return found.span


class _Chosen(local):
    """The generator of a tracer's ids, but for those that are chosen. Each thread has its own choice."""

    trace_id: int = 0
    span_id: int = 0

    def __init__(self, others: _Ids) -> None:
        super().__init__()
        self._others = others

    def of(self, trace_id: int, span_id: int) -> _Chosen:
        self.trace_id, self.span_id = trace_id, span_id
        return self

    def __enter__(self) -> None:
        return

    def __exit__(self, *_: object) -> None:
        self.trace_id = self.span_id = 0

    def generate_span_id(self) -> int:
        return self.span_id or self._others.generate_span_id()

    def generate_trace_id(self) -> int:
        return self.trace_id or self._others.generate_trace_id()

    def is_trace_id_random(self) -> bool:
        """Hashes are as good as random; samplers ask for that."""
        return True


def trace_id_of(saga: bytes) -> str:
    """The id of a saga's trace, in hexadecimal, as it is typed into a search. saga: its `Context.internal_id`."""
    return f"{_hash(saga, 16):032x}"


def span_id_of(saga: bytes, step: str, phase: Phase, round_: int, attempt: int) -> int:
    """The id of an attempt's span."""
    return _hash(saga + f"{step} {phase} {round_} {attempt}".encode(), 8)


@lru_cache(maxsize=REMEMBERED)
def _root_of(saga: bytes, ratio: float) -> Root:
    trace_id, span_id = _hash(saga, 16), _hash(saga, 8)
    sampled = trace_id & ((1 << RANDOM_BITS) - 1) < ratio * (1 << RANDOM_BITS)
    if not sampled:  # most, where a share is traced: nothing is made below it
        return Root(trace_id, span_id, sampled, contexts.Context())
    parent = NonRecordingSpan(_parent(trace_id, span_id, sampled=sampled))
    return Root(trace_id, span_id, sampled, trace.set_span_in_context(parent, contexts.Context()))


def _hash(given: bytes, size: int) -> int:
    return int.from_bytes(blake2b(given, digest_size=size, person=b"amends-trace").digest(), "big") or 1


def _parent(trace_id: int, span_id: int, *, sampled: bool) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
    return SpanContext(trace_id, span_id, is_remote=True, trace_flags=flags)


def _context_of(root: Root, span_id: int) -> SpanContext:
    return _parent(root.trace_id, span_id, sampled=root.sampled)


def _key(event: o.AttemptBegan | o.AttemptEnded | o.HandlerBegan | o.HandlerEnded) -> object:
    """Which attempt. The same process may send a command and do it: those are two."""
    service = event.service if isinstance(event, (o.HandlerBegan, o.HandlerEnded)) else ""
    return event.about.id, event.step, event.phase, event.round, event.attempt, service


def _named(about: About) -> Attributes:
    named: Attributes = {"amends.namespace": about.namespace, "amends.saga_id": about.key}
    if about.saga:
        named["amends.saga"] = about.saga
    return named


def _placed(event: o.AttemptBegan | o.AttemptEnded | o.HandlerBegan) -> Attributes:
    return {
        "amends.step": event.step,
        "amends.phase": event.phase.value,
        "amends.round": event.round,
        "amends.attempt": event.attempt,
    }


@lru_cache(maxsize=REMEMBERED)
def _name(step: str, phase: Phase) -> str:
    """Of a span: few, however many items a saga has."""
    place = _PLACE.sub("[]", step)
    return place if phase is Phase.ACTION else f"undo {place}"


def _close(span: Span, at: float, outcome: str, error: str) -> None:
    span.set_attribute("amends.outcome", outcome)
    if error:
        span.set_attribute("error.type", error)
    if outcome in BAD:
        span.set_status(StatusCode.ERROR, error or outcome)
    span.end(_nanoseconds(at))


def _nanoseconds(instant: float) -> int:
    return int(instant * 1e9)
