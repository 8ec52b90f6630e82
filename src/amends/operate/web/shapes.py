"""What is read from requests of the API: one class for each query and body, which reads, checks and documents it.

Guarantees: a request has the fields of its class and no others.
Must not: hold a rule of what a saga may do.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from amends.operate.operations import LIST_LIMIT, REASON_CHARACTERS_MAX
from amends.operate.values import Trouble

TEXT_MAX = 500
Text = Annotated[str, Meta(max_length=TEXT_MAX, pattern="^[^\\x00]*$")]
Given = Annotated[str, Meta(min_length=1, max_length=TEXT_MAX, pattern="^[^\\x00]*$")]
Words = Annotated[str, Meta(max_length=REASON_CHARACTERS_MAX)]
Why = Annotated[str, Meta(min_length=1, max_length=REASON_CHARACTERS_MAX)]
Instant = Annotated[datetime, Meta(tz=True)]
Limit = Annotated[int, Meta(ge=1, le=1000)]
Status = Literal["running", "compensating", "parked", "completed", "compensated"]
Verb = Literal["retry", "skip", "resolve", "compensate", "unpark", "cancel", "signal", "assign", "note"]
BulkVerb = Literal["retry", "skip", "resolve", "compensate", "unpark", "cancel", "signal", "assign", "note"]
Unset = UnsetType
Value = Raw | UnsetType


class Query(Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """at: the service whose choreographed sagas are meant; else those of the orchestrator."""

    at: Text | None = None


class ListQuery(Query, frozen=True, kw_only=True):
    """Which sagas; what is given has to fit all at once. input: `field=value`."""

    status: list[Status] = []
    saga: list[Text] = []
    step: list[Text] = []
    fingerprint: list[Text] = []
    key: Text = ""
    input: list[Annotated[str, Meta(max_length=TEXT_MAX, pattern="^[^\\x00=]+=[^\\x00]*$")]] = []
    version: list[Text] = []
    trouble: list[Trouble] = []
    stuck: bool = False
    assigned: Text | None = None
    started_after: Instant | None = None
    started_before: Instant | None = None
    changed_before: Instant | None = None


class PageQuery(ListQuery, frozen=True, kw_only=True):
    """The same, in pages. cursor: `next` of the page before."""

    cursor: Text | None = None
    limit: Limit = LIST_LIMIT


class GroupQuery(ListQuery, frozen=True, kw_only=True):
    """Which sagas are put together."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 20


class ShowQuery(Query, frozen=True, kw_only=True):
    """reveal: also what is marked as secret; it takes the right to payloads, and the log has it."""

    reveal: bool = False


class HistoryQuery(ShowQuery, frozen=True, kw_only=True):
    """after: without the first so many lines."""

    after: Annotated[int, Meta(ge=0, le=10**9)] = 0


class OutcomeQuery(Query, frozen=True, kw_only=True):
    """wait: for how many seconds the end is waited for."""

    wait: Annotated[float, Meta(ge=0, le=20)] = 0.0


class StuckQuery(Query, frozen=True, kw_only=True):
    """trouble: only these kinds. changed_before: only sagas with which nothing has happened since."""

    trouble: list[Trouble] = []
    changed_before: Instant | None = None
    limit: Limit = LIST_LIMIT


class BulksQuery(Query, frozen=True, kw_only=True):
    """before: only those begun before the one with this id."""

    before: Text | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class ResultsQuery(Query, frozen=True, kw_only=True):
    """after: the number of the last result that you have. word: only these outcomes."""

    after: Annotated[int, Meta(ge=0, le=10**9)] = 0
    limit: Limit = 100
    word: list[Literal["", "accepted", "refused", "changed", "too late", "gone", "not answered"]] = []


class Body(Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """What is sent."""


class Start(Body, frozen=True, kw_only=True):
    """saga: the name of its definition. id: yours to choose; the same one with the same input is the same saga."""

    saga: Given
    input: Raw
    id: Given | None = None


class Plainly(Body, frozen=True, kw_only=True):
    """reason: for the saga's history."""

    reason: Words = ""


class Reasoned(Body, frozen=True, kw_only=True):
    """reason: why, for the saga's history; of a skip it is the evidence."""

    reason: Why


class Retry(Plainly, frozen=True, kw_only=True):
    """arguments: others than those it has, as JSON; it gets them from then on. nothing_stayed: of the last try,
    as somebody has found out."""

    step: Given
    arguments: Value = UNSET
    nothing_stayed: bool = False


class Skip(Reasoned, frozen=True, kw_only=True):
    """step: which to settle as it is."""

    step: Given


class Resolve(Reasoned, frozen=True, kw_only=True):
    """step: which was done by hand. result: what it would have given."""

    step: Given
    result: Value = UNSET


class Signal(Body, frozen=True, kw_only=True):
    """name: of the wait. value: for it."""

    name: Given
    value: Raw


class Assign(Plainly, frozen=True, kw_only=True):
    """person: who sees to it; empty for nobody."""

    person: Annotated[str, Meta(max_length=100, pattern="^[^\\x00]*$")]


class Note(Body, frozen=True, kw_only=True):
    """text: for whoever looks at the saga next."""

    text: Why


class PreviewBody(Body, frozen=True, kw_only=True):
    """What would be done; nothing is. result: of a step that is resolved, or the value of a signal."""

    verb: Verb
    step: Text = ""
    arguments: Value = UNSET
    nothing_stayed: bool = False
    result: Value = UNSET


class SearchBody(Body, frozen=True, kw_only=True):
    """Which sagas; what is given has to fit all at once. input: top-level fields and their values."""

    status: list[Status] = []
    saga: list[Text] = []
    step: list[Text] = []
    fingerprint: list[Text] = []
    key: Text = ""
    input: dict[Given, Text] = {}
    version: list[Text] = []
    trouble: list[Trouble] = []
    stuck: bool = False
    assigned: Text | None = None
    started_after: Instant | None = None
    started_before: Instant | None = None
    changed_before: Instant | None = None


class BulkPlanBody(Body, frozen=True, kw_only=True):
    """The same act on many sagas. search: which, or ids: exactly these. step: or the name of what is waited for.
    result: of a step that is resolved, or the value of a signal. text: the person of assign, the words of note.
    nothing_stayed: of a retry with arguments, that no earlier attempt had its effect."""

    verb: BulkVerb
    search: SearchBody = SearchBody()
    ids: Annotated[list[Given], Meta(min_length=1, max_length=1000)] | UnsetType = UNSET
    step: Text = ""
    result: Value = UNSET
    arguments: Value = UNSET
    nothing_stayed: bool = False
    reason: Words = ""
    text: Words = ""
    per_second: Annotated[float, Meta(ge=0.01, le=1000)] = 20.0
    even_if_changed: bool = False


class BulkBody(BulkPlanBody, frozen=True, kw_only=True):
    """expected: how many sagas the dry run found; it is refused if it is another number by now. Without any search or
    ids, which means every open saga, it has to be said. seen: the digest of the dry run; it is refused if others fit by
    now, be they as many."""

    paused: bool = False
    expected: Annotated[int, Meta(ge=0, le=10**9)] | None = None
    seen: Text | None = None


class Prune(Body, frozen=True, kw_only=True):
    """older_than_seconds: since their end. limit: at most so many at once; ask again while there are more."""

    older_than_seconds: Annotated[float, Meta(ge=0, le=10**10)]
    limit: Annotated[int, Meta(ge=1, le=10_000)] = 1000
    dry_run: bool = True


class Republish(Body, frozen=True, kw_only=True):
    """since_seconds: how far back, counted from now."""

    since_seconds: Annotated[float, Meta(ge=0, le=10**10)]
