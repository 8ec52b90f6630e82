"""Live events: who listens hears what has changed, cheaply, and nobody listens for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable
from typing import Any

import pytest
from web_scene import asking

from amends.operate.web import live as module
from amends.operate.web.context import Limits
from amends.operate.web.live import Live, Topic
from amends.operate.web.problems import Busy

ONE, OTHER, ALL = Topic("saga", "one"), Topic("saga", "other"), Topic("overview")


class Versions:
    """What is looked at. looks: of which, in order."""

    def __init__(self) -> None:
        self.at: dict[Topic, Hashable] = {}
        self.looks: list[Topic] = []
        self.looked = asyncio.Event()

    async def desk(self, place: str | None) -> Any:
        return None

    async def look(self, desk: Any, topic: Topic) -> Hashable:
        self.looks.append(topic)
        self.looked.set()
        return self.at.get(topic)

    async def again(self) -> None:
        """After one whole look more."""
        for _ in range(2):
            self.looked.clear()
            await self.looked.wait()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look follows the other at once."""
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.001)


async def heard(stream: AsyncIterator[str]) -> str:
    """The next event that is one."""
    async for text in stream:
        if text.startswith("event"):
            return text
    return ""


def test_who_listens_hears_of_what_they_listen_to_and_of_nothing_else() -> None:
    async def main() -> None:
        versions = Versions()
        live = Live(versions.desk, versions.look, 10)
        one, other = live.stream([ONE]), live.stream([OTHER])
        assert "retry" in await anext(one)
        assert "retry" in await anext(other)
        await versions.again()

        versions.at[ONE] = 7
        text = await heard(one)
        versions.at[OTHER] = 3

        assert text == 'event: changed\ndata: {"kind": "saga", "id": "one", "version": 7}\n\n'
        assert '"id": "other"' in await heard(other)
        live.close()
        assert [text async for text in one] == []

    asyncio.run(main())


def test_one_look_serves_all_who_listen_to_the_same() -> None:
    async def main() -> None:
        versions = Versions()
        live = Live(versions.desk, versions.look, 10)
        streams = [live.stream([ONE]) for _ in range(5)]
        for stream in streams:
            await anext(stream)
        await versions.again()
        before = len(versions.looks)
        await asyncio.sleep(0)
        versions.at[ONE] = 7

        told = [await heard(stream) for stream in streams]

        assert len(set(told)) == 1
        assert len(versions.looks) - before < 5
        live.close()

    asyncio.run(main())


def test_where_nobody_listens_any_more_nothing_is_looked_at() -> None:
    async def main() -> None:
        versions = Versions()
        live = Live(versions.desk, versions.look, 10)
        stream = live.stream([ONE])
        await anext(stream)
        await versions.again()

        await stream.aclose()  # type: ignore[attr-defined]  # it is a generator
        looking = live._looking
        assert looking is not None
        await looking

        assert live.count == 0

    asyncio.run(main())


def test_no_more_listen_than_may_and_none_once_it_is_closed() -> None:
    async def main() -> None:
        versions = Versions()
        live = Live(versions.desk, versions.look, 1)
        stream = live.stream([ONE])
        await anext(stream)

        with pytest.raises(Busy):
            live.check([ONE])
        live.close()
        assert [text async for text in stream] == []
        with pytest.raises(Busy):
            live.check([ONE])
        live.open()
        live.check([ONE])

    asyncio.run(main())


def test_a_stream_ends_by_itself_and_beats_until_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STREAM_SECONDS", 0.1)
    monkeypatch.setattr(module, "BEAT_SECONDS", 0.03)

    async def main() -> None:
        versions = Versions()

        found = [text async for text in Live(versions.desk, versions.look, 10).stream([ONE])]

        assert found[0].startswith("retry")
        assert ": beat\n\n" in found

    asyncio.run(main())


def test_a_list_is_looked_at_anew_now_and_then_whatever_a_look_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FORGETS_SECONDS", 0.01)

    async def main() -> None:
        versions = Versions()
        live = Live(versions.desk, versions.look, 10)
        stream = live.stream([ALL])

        assert await heard(stream) == 'event: changed\ndata: {"kind": "overview"}\n\n'
        live.close()

    asyncio.run(main())


def test_who_does_not_read_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        versions = Versions()
        live = Live(versions.desk, versions.look, 10)
        slow, quick = live.stream([ONE]), live.stream([ONE])
        await anext(slow)
        await anext(quick)
        await versions.again()

        for number in range(module.QUEUE_MAX + 5):
            versions.at[ONE] = number
            assert f'"version": {number}' in await heard(quick)
        live.close()

        assert [text async for text in slow] == []

    asyncio.run(main())


def test_the_route_says_what_may_be_listened_to_and_streams_what_changes() -> None:
    async def main() -> None:
        async with asking(limits=Limits(listeners=2)) as at:
            for query in (
                "",
                "?about=",
                "?saga=%00",
                "?saga=x&at=nowhere",
                f"?{'&'.join(f'saga={n}' for n in range(60))}",
            ):
                assert (await at.get(f"/live{query}", "viewer")).status_code in (400, 404, 422), query
            await at.parked("job-1")
            web = at.app.state.web
            stream = web.live.stream([Topic("saga", "job-1"), Topic("overview")])
            await anext(stream)
            while len(web.live._seen) < 2:
                await asyncio.sleep(0.005)

            await at.post("/api/v1/sagas/job-1/note", {"text": "seen"})

            async with asyncio.timeout(20):
                while '"id": "job-1"' not in await heard(stream):  # the overview may be told of first
                    pass
            web.live.close()
            ended = await at.get("/live?saga=job-1", "viewer")

        assert (ended.status_code, ended.json()["code"]) == (503, "busy")

    asyncio.run(main())
