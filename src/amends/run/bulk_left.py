"""What a runner that was killed has left of a bulk operation that ended then: sagas that were asked, and whose answers
nobody has written down.

Guarantees: what such a saga has said by now is found in its result; one that was not asked has none.
Must not: ask anything. The operation has ended, and a person may have cancelled it.
"""

from __future__ import annotations

from collections.abc import Sequence

from amends.decide.bulk import BATCH_MAX, Result
from amends.run.bulk import UNANSWERED, Asker, Said, record
from amends.run.bulk_order import Order, act_id, order_of
from amends.store.base import MailRow, Store
from amends.store.bulk import BulkRow, TargetRow

_WORDS = {"changed": Result.CHANGED, "refused": Result.REFUSED, "too late": Result.TOO_LATE}


async def settle(session: Asker, row: BulkRow, name: str) -> None:
    """Write down what was said, and let go. Raises StoreError; then the lease runs out, and another does it.

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
    await store.bulks.keep(row.key, name, 0)


async def _asked(store: Store, order: Order, key: str, targets: Sequence[TargetRow]) -> list[tuple[TargetRow, Said]]:
    """Those of some sagas that were asked, with what they have said."""
    mails = [(target, await store.sent(target.saga, act_id(order, key, target.n))) for target in targets]
    return [(target, _said(mail)) for target, mail in mails if mail is not None]


def _said(mail: MailRow) -> Said:
    if mail.answer is None:
        return Result.NOT_ANSWERED, UNANSWERED
    return _WORDS.get(mail.answer, Result.ACCEPTED), mail.detail or ""
