"""What live events look at: cheap answers to "has it changed?".

Guarantees: a look is one or two short reads by an index, however many sagas there are.
Must not: say what has changed; a page asks for what it shows.
"""

from __future__ import annotations

from collections.abc import Hashable

from amends.operate.operations import Operations
from amends.operate.web.desks import Desk
from amends.operate.web.live import Topic
from amends.store.base import Filter

ROWS = 50


async def look(desk: Desk, topic: Topic) -> Hashable:
    """Something that is another once the topic has changed. Raises UnknownSaga, StoreError."""
    if topic.kind == "bulk":
        bulk = await desk.bulk(topic.id) if isinstance(desk, Operations) else None
        return None if bulk is None else f"{bulk.version}.{bulk.done + bulk.refused + bulk.failed}"
    if not isinstance(desk, Operations):
        return await _look_home(desk, topic)
    store = desk.session.store
    if topic.kind == "saga":
        head = await store.head(topic.id)
        return None if head is None else (await store.lengths([head.id]))[0]
    newest = await store.find(Filter(limit=ROWS))
    trouble = await store.find(Filter(stuck=True, limit=ROWS))
    return hash(tuple((row.id, row.updated_at, row.status, row.owner) for row in (*newest, *trouble)))


async def _look_home(desk: Desk, topic: Topic) -> Hashable:
    if topic.kind == "saga":
        return len(await desk.history(topic.id))
    return hash(tuple((line.id, line.changed_at, line.status) for line in (await desk.find(limit=ROWS)).sagas))
