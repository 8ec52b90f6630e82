"""What a hop tells of a choreographed saga to whoever watches.

Guarantees: every row is told by the hop that adds it; where a saga rests, or is sent again, all of them are told, so
that whoever has missed some knows them again.
Must not: be needed by any saga.
"""

from __future__ import annotations

import time
import uuid

from amends.decide.baton import Progress, progress_message
from amends.run.journey import Journey
from amends.run.outbox_rows import PROGRESS, EventRow, row_of_message, source_of


def progress_row(journey: Journey, service: str, *, whole: bool = False) -> EventRow:
    """The row of the outbox. whole: all that has happened, whoever has told it before; so where nothing is new."""
    first = 0 if whole or journey.came == journey.length else journey.came
    progress = Progress(journey.saga, service, first, journey.since(first))
    message = progress_message(progress, uuid.uuid4().hex, source_of(service), time.time())
    return row_of_message(message, PROGRESS + journey.saga.home)
