"""What operations give to people who look for sagas: lists, groups, how all fare, and who works.

Guarantees: each takes bounded work, however many sagas there are.
Must not: act.
"""

from __future__ import annotations

from collections.abc import Sequence

from amends.operate import finding, overview
from amends.operate.finding import GROUPS_LIMIT, LIST_LIMIT
from amends.operate.sight import Sight
from amends.operate.values import Group, Overview, Page, Search, WorkerLine


class Looking:
    """The part of operations that finds sagas."""

    _sight: Sight

    async def find(
        self,
        *,
        statuses: Sequence[str] = (),
        sagas: Sequence[str] = (),
        stuck: bool = False,
        before: str | None = None,
        limit: int = LIST_LIMIT,
    ) -> Page:
        """Sagas, newest first. sagas: names of definitions. stuck: only those with a stuck step,
        parked or stalled. before: only those older than the saga with this id.

        Raises UnknownSaga for a definition or an id that is not there.
        """
        wanted = Search(statuses=tuple(statuses), sagas=tuple(sagas), stuck=stuck)
        return await self.search(wanted, before=before, limit=limit)

    async def search(self, wanted: Search, *, before: str | bytes | None = None, limit: int = LIST_LIMIT) -> Page:
        """Sagas that fit, newest first. before: the `next` of the page before, or its `place`. The one whose very id
        is looked for comes first, and where one is asked for it is that one.

        With no status given, only open ones are looked for by what went wrong or by whose they are; what is stuck or in
        trouble is always open. A page may be short, or empty, and say that there is more: it looks at so many sagas and
        no more. Raises UnknownSaga for a definition, a version or an id that is not there, ValueRefused for what is no
        search, Refused for a field of the input that is marked as a secret.
        """
        return await finding.search(self._sight, wanted, before, limit)

    async def groups(self, wanted: Search, *, limit: int = GROUPS_LIMIT) -> tuple[Group, ...]:
        """What went wrong with the open sagas that fit, the most frequent first. Raises as `search`."""
        return await finding.groups(self._sight, wanted, limit)

    async def overview(self) -> Overview:
        """How all sagas fare now."""
        return await overview.overview(self._sight)

    async def workers(self) -> tuple[WorkerLine, ...]:
        """The workers that are alive, and those that are gone and still own sagas, the newest first."""
        return await overview.workers(self._sight)
