"""The suite that every store must pass: what `amends.store.base` promises, as behaviour.

For a store of your own, give it a function that connects, and let pytest collect the class:

    from pathlib import Path

    import pytest

    from amends.testing.store_suite import Connect, StoreSuite


    class TestMyStore(StoreSuite):
        @pytest.fixture
        def connect(self, tmp_path: Path) -> Connect:
            return lambda namespace: MyStore(tmp_path / "sagas.db", namespace)

`connect(namespace)` gives a store that is not open yet. All stores that one test asks for share
one database, which is empty when the test begins, as if each were a process of its own. The suite
opens them and closes them again.

One flag, `Store.leases`, says which kind a store is. With leases any number of workers share a
database, and one that stops renewing is retired by another. Without, one worker holds it (the
suite opens one store to work, all others as clients), and whoever comes next retires it at once.
Rules that a kind cannot have are skipped. Nothing here needs a clock of the test's own: leases are
a few hundredths of a second where one must run out, and a minute where none may.

A store may not call two sagas of one test by one name, of course; everything else is fair.

Guarantees: a store that keeps its promises passes, however slow it is; each rule is one test.
Must not: ask for anything that `base.py` does not promise.
"""

from __future__ import annotations

import pytest

from amends.testing.store_suite.batches import BatchRules
from amends.testing.store_suite.bulk import BulkRules
from amends.testing.store_suite.claims import ClaimRules, StallRules
from amends.testing.store_suite.commits import CommitRules
from amends.testing.store_suite.finding import FindingRules
from amends.testing.store_suite.mailbox import MailboxRules
from amends.testing.store_suite.reading import ReadingRules
from amends.testing.store_suite.rig import Connect
from amends.testing.store_suite.sharing import SharingRules
from amends.testing.store_suite.workers import WorkerRules

__all__ = ["Connect", "StoreSuite"]


class StoreSuite(
    WorkerRules,
    CommitRules,
    BatchRules,
    ClaimRules,
    StallRules,
    MailboxRules,
    ReadingRules,
    SharingRules,
    BulkRules,
    FindingRules,
):
    """All rules. Override the fixture `connect`."""

    @pytest.fixture
    def connect(self) -> Connect:
        """Gives a store on this test's database, by its namespace."""
        raise NotImplementedError("override the fixture connect: see the module's text")
