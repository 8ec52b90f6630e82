"""The settings and limits of an orchestrator, in one frozen value.

Guarantees: checked when it is built; every limit has a default, and the docs print this table.
Must not: be read from the environment by anything but the command line.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import inf

from amends.define.node import check_name
from amends.define.values import PAYLOAD_BYTES_MAX
from amends.errors import DefinitionError
from amends.run.chaining import EVENT_HOPS

ID_CHARACTERS_MAX = 200
RETENTION_SECONDS_MIN = 3600.0  # a start whose answer was lost is sent again, and must find the saga it began


@dataclass(frozen=True, slots=True)
class Settings:
    """What may be tuned.

    in_flight: sagas a worker holds in memory; the rest wait in the store.
    payload_bytes: of one input, result, item or signal, encoded.
    fan_out: items of one `for_each`.
    history_lines: lines of a saga's history, between two acts of a person, after which a
        step that fails once more is not tried again but parks.
    threads: in which sync functions run.
    transactions: steps with a transaction, or handlers of commands, that run at once on PostgreSQL, each on a
        connection of its own.
    handlers: commands and events that a participant has in hand at once.
    batch_writes: decisions in one commit.
    poll_seconds: how often an idle worker looks at the store; hints make it look at once.
    rest_seconds: a saga that has nothing to do for longer leaves the worker's memory.
    lease_seconds: how long a worker's registration lasts unrenewed, where stores have leases.
    drain_seconds: how long a worker that was asked to stop waits for attempts in flight.
    answer_seconds: how long signal, cancel and operations wait for their answer.
    inbox_horizon_seconds: how long a participant remembers commands after their saga has ended, and takes them
        after they were sent.
    events_kept_seconds: how long a participant keeps events that it has published.
    event_hops: how many events may have led to one, each to the next, that a participant still handles.
    progress: whether hops of choreographed sagas say what has happened, for a watcher.
    reply_name: of the queue that services send replies to; None for one of the store's own. Where queues are made by
        others than amends, a name that they know.
    retention_seconds: how long after their end workers keep sagas; None keeps them for ever. Longer than
        any client or worker may be cut off from the store: what was forgotten is begun anew by its id.
    """

    in_flight: int = 1000
    payload_bytes: int = PAYLOAD_BYTES_MAX
    fan_out: int = 1000
    history_lines: int = 10_000
    threads: int = 32
    transactions: int = 10
    handlers: int = 50
    batch_writes: int = 1000
    poll_seconds: float = 1.0
    rest_seconds: float = 5.0
    lease_seconds: float = 15.0
    drain_seconds: float = 25.0
    answer_seconds: float = 30.0
    inbox_horizon_seconds: float = 7 * 24 * 3600.0
    events_kept_seconds: float = 7 * 24 * 3600.0
    event_hops: int = EVENT_HOPS
    progress: bool = True
    retention_seconds: float | None = None
    reply_name: str | None = None

    def __post_init__(self) -> None:
        """Raises DefinitionError for a value that makes no sense."""
        for field in fields(self):
            value = getattr(self, field.name)
            if (value is None and field.default is None) or field.name == "reply_name":
                continue
            if field.type == "bool":
                if not isinstance(value, bool):
                    raise DefinitionError(f"Settings({field.name}={value!r}): True or False is expected")
                continue
            kinds, kind = ((int,), "whole number") if field.type == "int" else ((int, float), "finite number")
            if isinstance(value, bool) or not isinstance(value, kinds) or not 0 < value < inf:
                raise DefinitionError(f"Settings({field.name}={value!r}): a positive {kind} is expected")
        if self.reply_name is not None:
            check_name(self.reply_name, "Settings(reply_name=…)")
        if self.retention_seconds is not None and self.retention_seconds < RETENTION_SECONDS_MIN:
            raise DefinitionError(
                f"Settings(retention_seconds={self.retention_seconds!r}): at least {RETENTION_SECONDS_MIN:g} is "
                "expected; a start that is sent again must find the saga that it began"
            )
