"""What is left of a bulk operation that ended: sagas that were asked, and whose answers nobody has written down.

A runner was killed before it could, or they had not answered by then: their acts are kept, and done by the next worker.

Guarantees: what such a saga has said by now is found in its result; one that was not asked has none. Who has not
answered is looked for again, ever less often.
Must not: ask anything. The operation has ended, and a person may have cancelled it.
"""

from __future__ import annotations

from collections.abc import Sequence

from amends.decide.bulk import BATCH_MAX, Result
from amends.run.bulk import Asker, Said, record, said_of
from amends.run.bulk_order import Order, act_id, order_of
from amends.store.base import Store
from amends.store.bulk import BulkRow, TargetRow

AGAIN_SECONDS = 60.0  # between two looks for answers, at least
AGAIN_SHARE = 0.25  # of the time since it ended


async def settle(session: Asker, row: BulkRow, name: str) -> None:
    """Write down what was said, and let go; for a while, where answers are still to come. Raises StoreError; then the
    lease runs out, and another does it.

    Sagas are asked in their order, a batch at a time: where none of one stretch was asked, none behind it was.
    """
    store, order, after = session.store, order_of(row), 0
    lease = session.config.settings.lease_seconds
    while row.total:  # else it was never counted to the end, so nothing was asked
        targets = await store.bulks.targets(row.key, after, BATCH_MAX, ("",))
        asked = await _asked(store, order, row.key, targets)
        if not asked:
            break
        tally = await record(store.bulks, row, name, asked, None, lease)
        if tally is None:
            return
        row = row._replace(done=tally.done, refused=tally.refused, failed=tally.failed)
        after = targets[-1].n
    waits, after = False, 0
    while late := await store.bulks.targets(row.key, after, BATCH_MAX, (Result.NOT_ANSWERED,)):
        asked = await _asked(store, order, row.key, late)
        waits = waits or any(result is Result.NOT_ANSWERED for _, (result, _) in asked)
        news = [(target, said) for target, said in asked if said != (target.word, target.detail)]
        tally = await record(store.bulks, row, name, news, Result.NOT_ANSWERED, lease)
        if tally is None:
            return
        row = row._replace(done=tally.done, refused=tally.refused, failed=tally.failed)
        after = late[-1].n
    again = max(AGAIN_SECONDS, AGAIN_SHARE * (store.now() - row.changed_at))
    await store.bulks.keep(row.key, name, again if waits else 0)


async def _asked(store: Store, order: Order, key: str, targets: Sequence[TargetRow]) -> list[tuple[TargetRow, Said]]:
    """Those of some sagas that were asked, with what they have said."""
    mails = [(target, await store.sent(target.saga, act_id(order, key, target.n))) for target in targets]
    return [(target, said_of(mail)) for target, mail in mails if mail is not None]
