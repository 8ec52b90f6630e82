"""A mail whose saga is gone keeps nobody looking for it."""

from __future__ import annotations

import asyncio

import asyncpg

from amends.store.postgres import PostgresStore


def test_a_mail_that_was_committed_after_its_saga_was_pruned_is_forgotten(postgres_url: str) -> None:
    async def main() -> None:
        store = PostgresStore(postgres_url, "default", migrate=True)
        await store.open(work=True)
        user = await asyncpg.connect(postgres_url)
        try:
            await user.execute(
                "INSERT INTO amends.mail (ns, saga, message, kind, body, created_at) "
                "SELECT id, gen_random_uuid(), 'm', 'signal', '{}', 0 FROM amends.namespace"
            )
            assert (await store.peek()).mail

            assert await store.answer_ended(100) == 0

            assert not (await store.peek()).mail
        finally:
            await user.close()
            await store.close()

    asyncio.run(main())
