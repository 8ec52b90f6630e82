"""Bulk erasure: a customer's records are erased in many systems, some of which say no.

Two policies on the same step: `erase_what_can_be` goes on and reports what was refused,
`erase_all_or_nothing` restores what it had erased. Run it: python examples/erasure.py
"""

import asyncio
from dataclasses import dataclass, field

from amends import (
    Compensated,
    Completed,
    Context,
    Orchestrator,
    Parked,
    Reject,
    Rejected,
    Resource,
    Saga,
    for_each,
    step,
)


@dataclass(frozen=True)
class Erasure:
    customer: str


@dataclass(frozen=True)
class Record:
    system: str
    number: int


@dataclass(frozen=True)
class Receipt:
    system: str
    number: int


@dataclass
class Archive:
    """All systems in one: what they keep, what lies in the bin, and what the law forbids to erase."""

    kept: set[Record] = field(default_factory=lambda: {Record("shop", number) for number in range(40)})
    bin: dict[str, Record] = field(default_factory=dict[str, Record])
    on_hold: frozenset[int] = frozenset({17})

    def of(self, customer: str) -> list[Record]:
        return sorted(self.kept, key=lambda record: record.number)

    async def erase(self, record: Record, *, key: str) -> None:
        if record.number in self.on_hold:
            raise Reject(f"record {record.number} is evidence in a court case")
        self.kept.discard(record)
        self.bin[key] = record

    async def restore(self, *, key: str) -> None:
        if record := self.bin.pop(key, None):
            self.kept.add(record)


# The sagas.


@step(readonly=True)
def find_records(erasure: Erasure, archive: Resource[Archive]) -> list[Record]:
    return archive.of(erasure.customer)


@step
async def erase(record: Record, archive: Resource[Archive], ctx: Context) -> Receipt:
    await archive.erase(record, key=ctx.key)
    return Receipt(record.system, record.number)


@erase.compensation
async def restore(record: Record, archive: Resource[Archive], ctx: Context) -> None:
    await archive.restore(key=ctx.action_key)


erased = for_each(erase, over=find_records, limit=10)
erase_all_or_nothing = Saga("erase-all-or-nothing", find_records, erased, input=Erasure, output=erased)

collected = for_each(erase, over=find_records, limit=10, on_reject="collect")
erase_what_can_be = Saga("erase-what-can-be", find_records, collected, input=Erasure, output=collected)

# Where they run.

ARCHIVE = Archive()


def the_archive() -> Archive:
    return ARCHIVE


orchestrator = Orchestrator(
    "sqlite:///erasures.db", sagas=[erase_all_or_nothing, erase_what_can_be], resources=[the_archive]
)


async def main() -> None:
    async with orchestrator:
        match await orchestrator.run(erase_all_or_nothing, Erasure("ann")):
            case Completed(receipts):
                print(f"all or nothing: completed, {len(receipts)} records are erased")
            case Compensated(reason):
                print(f"all or nothing: compensated, {len(ARCHIVE.kept)} records are kept, because of {reason}")
            case Parked(reason):
                print(f"all or nothing: parked, {reason}")
        match await orchestrator.run(erase_what_can_be, Erasure("ann")):
            case Completed(results):
                refused = [result.reason for result in results if isinstance(result, Rejected)]
                print(f"what can be: completed, {len(results) - len(refused)} are erased, refused: {refused}")
            case Compensated(reason) | Parked(reason):
                print(f"what can be: {reason}")


if __name__ == "__main__":
    asyncio.run(main())
