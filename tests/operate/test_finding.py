"""Finding sagas: by what went wrong, by their input, by whose they are, page by page, and in groups."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest

from amends import Orchestrator, Park, Reject, Saga, pivot, secret, step, wait_for
from amends.errors import Changed, Refused, UnknownSaga, ValueRefused
from amends.operate import finding
from amends.operate.finding import is_value
from amends.operate.finding_ids import id_range
from amends.operate.operations import Operations
from amends.operate.values import Group, Search, Trouble


@dataclass(frozen=True)
class Order:
    sku: str
    number: int
    gift: bool = False
    note: str | None = None


@dataclass(frozen=True)
class Payment:
    card: Annotated[str, secret]
    name: str


@step
async def pay(order: Order) -> None:
    if order.sku == "gold":
        raise Reject(f"{order.number} is too much")
    if order.sku == "rug":
        raise Park(f"no shelf for {order.number}")


@pay.compensation
async def refund() -> None: ...


@step
async def charge(payment: Payment) -> None: ...


@charge.compensation
async def give_back() -> None: ...


answer = wait_for("answer", str)
orders = Saga("orders", pay, input=Order, version="spring")
asks = Saga("asks", answer, input=Order)
payments = Saga("payments", charge, input=Payment)

Play = Callable[[Orchestrator, Operations], Awaitable[None]]


def play(scene: Play, database: str = "memory://") -> None:
    """Play a scene with an orchestrator at work."""

    async def main() -> None:
        async with at_work(database) as (orchestrator, found):
            await scene(orchestrator, found)

    asyncio.run(main())


@asynccontextmanager
async def at_work(database: str = "memory://") -> AsyncGenerator[tuple[Orchestrator, Operations], None]:
    """An orchestrator, and operations on its own session."""
    orchestrator = Orchestrator(database, sagas=[orders, asks, payments])
    async with orchestrator:
        yield orchestrator, Operations(orchestrator.session)


async def begin(orchestrator: Orchestrator, order: Order, key: str) -> None:
    """Run an order to its end. Sagas are listed by the millisecond in which they began: the next one has another."""
    await orchestrator.run(orders, order, id=key)
    await asyncio.sleep(0.002)


async def some(orchestrator: Orchestrator) -> None:
    """One of each kind, oldest first."""
    await begin(orchestrator, Order("tea", 1, gift=True), "order-1")
    await begin(orchestrator, Order("gold", 2), "order-2")
    await begin(orchestrator, Order("rug", 3), "order-3")
    await begin(orchestrator, Order("rug", 44, note="4"), "order-4")
    await orchestrator.start(asks, Order("tea", 5), id="ask-5")


async def ids(found: Operations, wanted: Search) -> list[str]:
    """Who is found."""
    return [line.id for line in (await found.search(wanted)).sagas]


def test_what_went_wrong_is_found_with_all_its_siblings() -> None:
    async def scene(orchestrator: Orchestrator, found: Operations) -> None:
        await some(orchestrator)

        [group] = await found.groups(Search(stuck=True))

        assert group == Group(
            group.fingerprint, "orders", "pay", "pay: no shelf for 44", 2, group.first_at, group.last_at, "order-4"
        )
        assert group.first_at < group.last_at
        assert await ids(found, Search(fingerprints=(group.fingerprint,))) == ["order-4", "order-3"]
        assert await ids(found, Search(steps=("pay",))) == ["order-4", "order-3"]
        assert await ids(found, Search(steps=("pay",), statuses=("compensated",))) == ["order-2"]
        assert await ids(found, Search(steps=("ship",))) == []
        lines = (await found.search(Search(stuck=True))).sagas
        assert {(line.fingerprint, line.step) for line in lines} == {(group.fingerprint, "pay")}

    play(scene)


def test_a_saga_that_goes_on_again_is_no_longer_among_what_went_wrong() -> None:
    async def scene(orchestrator: Orchestrator, found: Operations) -> None:
        await some(orchestrator)
        await found.skip("order-3", "pay", actor="ada", reason="paid in cash")
        await found.resolve("order-4", "pay", actor="ada", reason="paid in cash", result=b"null")

        assert await found.groups(Search()) == ()
        lines = (await found.search(Search(key="order-3"))).sagas
        assert [(line.status, line.fingerprint) for line in lines] == [("completed", "")]

    play(scene)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ((("sku", "tea"),), ["ask-5", "order-1"]),
        ((("sku", '"tea"'),), ["ask-5", "order-1"]),
        ((("number", "44"),), ["order-4"]),
        ((("number", "4"),), []),
        ((("number", "44.0"),), ["order-4"]),
        ((("number", "true"),), []),
        ((("gift", "true"),), ["order-1"]),
        ((("gift", "1"),), []),
        ((("note", "4"),), ["order-4"]),
        ((("note", "null"),), ["ask-5", "order-3", "order-2", "order-1"]),
        ((("sku", "rug"), ("number", "3")), ["order-3"]),
        ((("none", "tea"),), []),
        ((("sku", "te\N{LATIN SMALL LETTER A WITH DIAERESIS}"),), []),
        ((("sku", "' OR 1=1 --"),), []),
        ((("sku", "[" * 900),), []),
    ],
)
def test_sagas_are_found_by_a_field_of_their_input(fields: tuple[tuple[str, str], ...], expected: list[str]) -> None:
    async def scene(orchestrator: Orchestrator, found: Operations) -> None:
        await some(orchestrator)

        assert await ids(found, Search(input=fields, sagas=("orders", "asks"))) == expected

    play(scene)


def test_a_field_that_is_marked_as_a_secret_is_not_searched() -> None:
    async def scene(orchestrator: Orchestrator, found: Operations) -> None:
        await orchestrator.run(payments, Payment("4242", "ada"), id="payment-1")
        await some(orchestrator)

        with pytest.raises(Refused, match="'card' of the input of 'payments' is marked as a secret"):
            await found.search(Search(input=(("name", "ada"), ("card", "4242"))))
        assert await ids(found, Search(input=(("name", "ada"),))) == ["payment-1"]
        assert await ids(found, Search(input=(("card", "4242"),), sagas=("orders",))) == []

    play(scene)


def test_each_trouble_finds_its_own() -> None:
    async def scene(orchestrator: Orchestrator, found: Operations) -> None:
        await some(orchestrator)
        async with asyncio.timeout(10):
            while (await found.show("ask-5")).line.worker is not None:  # it has not left the memory yet
                await asyncio.sleep(0.01)

        assert await ids(found, Search(troubles=(Trouble.PARKED,))) == ["order-4", "order-3"]
        assert await ids(found, Search(troubles=(Trouble.WAITING,))) == ["ask-5"]
        assert await ids(found, Search(troubles=(Trouble.WAITING, Trouble.PARKED))) == ["ask-5", "order-4", "order-3"]
        for trouble in (Trouble.STUCK, Trouble.STALLED, Trouble.STRANDED, Trouble.SILENT, Trouble.SLOW):
            assert await ids(found, Search(troubles=(trouble,))) == [], trouble
        assert await ids(found, Search(troubles=(Trouble.PARKED,), statuses=("completed",))) == []

    play(scene)


def test_sagas_are_found_by_the_version_of_their_definition_and_by_person() -> None:
    async def scene(orchestrator: Orchestrator, found: Operations) -> None:
        await some(orchestrator)
        await found.assign("order-3", "ada", actor="bob")

        assert await ids(found, Search(versions=("spring",), stuck=True)) == ["order-4", "order-3"]
        fingerprint = (await found.plan("asks")).fingerprint
        assert await ids(found, Search(versions=(fingerprint[:8],))) == ["ask-5"]
        with pytest.raises(UnknownSaga, match="no definition here has the version 'autumn'; there are spring"):
            await found.search(Search(versions=("autumn",)))
        assert await ids(found, Search(assigned="ada")) == ["order-3"]
        assert await ids(found, Search(assigned="", statuses=("parked",))) == ["order-4"]

    play(scene)


def test_the_very_id_comes_first_and_is_listed_once() -> None:
    async def scene(orchestrator: Orchestrator, found: Operations) -> None:
        for key in ("a", "ab", "abc", "b"):
            await begin(orchestrator, Order("tea", 1), key)

        assert await ids(found, Search(key="a")) == ["a", "abc", "ab"]
        first = await found.search(Search(key="a"), limit=2)
        rest = await found.search(Search(key="a"), before=first.next, limit=2)
        assert [line.id for line in (*first.sagas, *rest.sagas)] == ["a", "abc", "ab"]
        assert await ids(found, Search(key="a", statuses=("parked",))) == []
        assert await ids(found, Search(key="zz")) == []

    play(scene)


def test_the_beginning_of_an_id_that_amends_gave_is_found_at_its_place() -> None:
    async def scene(orchestrator: Orchestrator, found: Operations) -> None:
        handle = await orchestrator.start(orders, Order("tea", 1))
        await handle.outcome()
        await orchestrator.run(orders, Order("tea", 1), id="0123456789")

        assert await ids(found, Search(key=handle.saga_id[:13])) == [handle.saga_id]
        assert await ids(found, Search(key=handle.saga_id)) == [handle.saga_id]
        assert await ids(found, Search(key="01234567")) == ["0123456789"]  # the user's looks like one, and is none

    play(scene)


def test_ids_of_ones_own_that_are_written_like_those_of_amends_are_all_found_by_their_beginning() -> None:
    """Also where one of them began in the very second that its id tells of, and the others later."""

    async def scene(orchestrator: Orchestrator, found: Operations) -> None:
        store, whole = orchestrator.session.store, 65.536  # seconds of which the ids have eight digits in common
        ahead = whole / 2 - time.time() % whole
        store.now = lambda: time.time() + whole + ahead  # type: ignore[method-assign]
        handle = await orchestrator.start(orders, Order("tea", 1))
        await handle.outcome()
        await asyncio.sleep(0.002)
        beginning = handle.saga_id[:8]
        keys = [f"{beginning}-0000-7000-8000-{number:012x}" for number in range(4)]
        await begin(orchestrator, Order("tea", 1), keys[0])
        store.now = lambda: time.time() + 3600.0  # type: ignore[method-assign]
        for key in keys[1:]:
            await begin(orchestrator, Order("tea", 1), key)
        expected = [*reversed(keys), handle.saga_id]

        assert await ids(found, Search(key=beginning)) == expected
        seen: list[str] = []
        page = await found.search(Search(key=beginning), limit=1)
        while page.more:
            seen += [line.id for line in page.sagas]
            page = await found.search(Search(key=beginning), before=page.next, limit=1)
        assert [*seen, *(line.id for line in page.sagas)] == expected

    play(scene)


def test_only_what_is_written_like_an_id_is_taken_for_the_beginning_of_one() -> None:
    low, high = id_range("019ac0de-00") or (b"", b"")
    assert low < bytes.fromhex("019ac0de000000000000000000000000") < high
    assert not low < bytes.fromhex("019ac0de010000000000000000000000") < high
    assert id_range("f" * 8) is not None
    for text in ("", "019ac0d", "019ac0de0000-", "019AC0DE", "order-019ac0de", "019ac0de-0000-7000-8000-00000000002a0"):
        assert id_range(text) is None, text


def test_a_page_that_looked_at_enough_may_be_empty_and_says_where_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finding, "LOOK_FIRST", 2)
    monkeypatch.setattr(finding, "LOOK_MAX", 2)
    monkeypatch.setattr(finding, "INPUTS_MAX", 2)

    async def scene(orchestrator: Orchestrator, found: Operations) -> None:
        await some(orchestrator)
        for wanted in (Search(statuses=("completed",)), Search(input=(("gift", "true"),))):
            seen: list[str] = []
            before: str | None = None
            pages = 0
            while True:
                page = await found.search(wanted, before=before)
                seen += [line.id for line in page.sagas]
                pages += 1
                if not page.more:
                    break
                assert page.next != before
                before = page.next
            assert seen == ["order-1"]
            assert pages > 1

    play(scene)


def test_pages_have_no_gap_and_nothing_twice() -> None:
    async def scene(orchestrator: Orchestrator, found: Operations) -> None:
        for number in range(7):
            await begin(orchestrator, Order("rug", number), f"order-{number}")
        expected = [f"order-{number}" for number in reversed(range(7))]
        for wanted in (Search(), Search(stuck=True), Search(input=(("sku", "rug"),)), Search(key="order")):
            seen: list[str] = []
            page = await found.search(wanted, limit=3)
            while page.more:
                seen += [line.id for line in page.sagas]
                page = await found.search(wanted, before=page.next, limit=3)
            assert [*seen, *(line.id for line in page.sagas)] == expected, wanted

    play(scene)


def meanwhile(
    monkeypatch: pytest.MonkeyPatch, orchestrator: Orchestrator, act: Callable[[], Awaitable[object]], *, late: bool
) -> None:
    """Have something done once while a search looks up the versions of what it has found. late: just after it has."""
    store, acts = orchestrator.session.store, [act]
    lengths = store.lengths

    async def between(sagas: Sequence[bytes]) -> list[int]:
        found = await lengths(sagas) if late else []
        if acts:
            await acts.pop()()
        return found if late else await lengths(sagas)

    monkeypatch.setattr(store, "lengths", between)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("wanted", [Search(stuck=True), Search(troubles=(Trouble.PARKED,)), Search(key="order-3")])
def test_what_was_repaired_while_it_was_looked_for_is_never_shown_as_it_was(
    late: bool, wanted: Search, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def scene(orchestrator: Orchestrator, found: Operations) -> None:
        await some(orchestrator)

        async def repair() -> None:
            await found.skip("order-3", "pay", actor="bob", reason="paid in cash")
            await orchestrator.handle(orders, "order-3").outcome()

        meanwhile(monkeypatch, orchestrator, repair, late=late)
        lines = {line.id: line.status for line in (await found.search(wanted)).sagas}

        assert lines == ({"order-3": "completed"} if wanted.key else {"order-4": "parked"})

    play(scene, f"sqlite:///{tmp_path}/orders.db")


@pytest.mark.parametrize("late", [False, True])
def test_what_went_wrong_again_meanwhile_is_shown_and_meant_as_it_is_now(
    late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(orchestrator: Orchestrator, found: Operations) -> None:
        await begin(orchestrator, Order("rug", 3), "order-3")

        async def again() -> None:
            await found.retry("order-3", "pay", actor="bob")
            await orchestrator.handle(orders, "order-3").outcome()

        meanwhile(monkeypatch, orchestrator, again, late=late)
        [line] = (await found.search(Search(stuck=True))).sagas
        now = (await found.show("order-3")).line.version

        assert (line.status, line.version < now) == ("parked", late)
        if late:
            with pytest.raises(Changed):
                await found.skip("order-3", "pay", actor="ada", reason="paid in cash", if_version=line.version)

    play(scene)


class Two:
    """A saga of two steps, each of which waits to be let go."""

    def __init__(self) -> None:
        self.begun = [asyncio.Event(), asyncio.Event()]
        self.go = [asyncio.Event(), asyncio.Event()]

        @step
        async def one() -> None:
            self.begun[0].set()
            await self.go[0].wait()

        @step
        async def two() -> None:
            self.begun[1].set()
            await self.go[1].wait()

        self.saga = Saga("slow", pivot(one), two, input=Order)

    async def first(self) -> None:
        """The first ends, and the second begins."""
        self.go[0].set()
        await self.begun[1].wait()


def test_a_saga_that_was_slow_and_went_on_meanwhile_is_meant_as_it_was_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    two = Two()
    monkeypatch.setattr(finding, "slow_seconds", lambda sight, loaded: 60.0)

    async def main() -> None:
        async with Orchestrator("memory://", sagas=[two.saga]) as orchestrator:
            found = Operations(orchestrator.session)
            handle = await orchestrator.start(two.saga, Order("tea", 1), id="s")
            await two.begun[0].wait()

            meanwhile(monkeypatch, orchestrator, two.first, late=False)
            [line] = (await found.search(Search(troubles=(Trouble.SLOW,)))).sagas
            assert line.version < (await found.show("s")).line.version
            two.go[1].set()
            await handle.outcome()

    asyncio.run(main())


def test_a_saga_whose_steps_just_go_on_has_changed_with_the_last_of_them() -> None:
    """Nothing of that stands in its head."""
    two = Two()

    async def main() -> None:
        async with Orchestrator("memory://", sagas=[two.saga]) as orchestrator:
            found = Operations(orchestrator.session)
            handle = await orchestrator.start(two.saga, Order("tea", 1), id="s")
            await two.begun[0].wait()
            await asyncio.sleep(0.01)
            between = orchestrator.session.store.now()
            await asyncio.sleep(0.01)
            assert await ids(found, Search(changed_before=between)) == ["s"]

            await two.first()

            assert await ids(found, Search(changed_before=between)) == []
            await asyncio.sleep(0.01)
            [line] = (await found.search(Search(changed_before=orchestrator.session.store.now()))).sagas
            assert line.version == (await found.show("s")).line.version
            two.go[1].set()
            await handle.outcome()

    asyncio.run(main())


def test_a_page_reads_no_more_sagas_than_it_may_and_the_next_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finding, "LOADS_MAX", 2)
    two = Two()

    async def main() -> None:
        async with Orchestrator("memory://", sagas=[two.saga]) as orchestrator:
            found = Operations(orchestrator.session)
            for number in range(5):
                await orchestrator.start(two.saga, Order("tea", number), id=f"s-{number}")
            await asyncio.sleep(0.01)
            wanted = Search(changed_before=orchestrator.session.store.now())

            pages = [await found.search(wanted)]
            while pages[-1].more:
                pages.append(await found.search(wanted, before=pages[-1].next))

            assert [len(page.sagas) for page in pages] == [2, 2, 1]
            for event in two.go:
                event.set()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (Search(statuses=("gone",)), "there is no 'gone'; there are running, compensating, parked, completed"),
        (Search(steps=("a",) * 101), "more than 100 values"),
        (Search(key="a" * 1001), "1000 characters at most"),
        (Search(input=(("a", "b" * 1001),)), "1000 characters at most"),
        (Search(started_after=float("nan")), "finite number"),
        (Search(changed_before=float("inf")), "finite number"),
    ],
)
def test_what_is_no_search_is_refused_in_words(wanted: Search, words: str) -> None:
    async def scene(orchestrator: Orchestrator, found: Operations) -> None:
        with pytest.raises(ValueRefused, match=words):
            await found.search(wanted)
        with pytest.raises(ValueRefused, match=words):
            await found.groups(wanted)

    play(scene)


def test_sagas_are_grouped_only_by_what_their_heads_say() -> None:
    async def scene(orchestrator: Orchestrator, found: Operations) -> None:
        await some(orchestrator)
        for wanted in (Search(input=(("sku", "tea"),)), Search(troubles=(Trouble.WAITING,))):
            with pytest.raises(Refused, match="grouped by what their heads say"):
                await found.groups(wanted)
        assert [group.count for group in await found.groups(Search(troubles=(Trouble.PARKED,)))] == [2]
        assert await found.groups(Search(statuses=("completed",))) == ()
        with pytest.raises(ValueRefused, match="a page has from 1 to"):
            await found.search(Search(), limit=0)

    play(scene)


HOSTILE = [
    "\x00",
    "\ud800",
    "a\x00b",
    "'; DROP TABLE amends_saga; --",
    "%",
    "\N{BOM}",
    "${x}",
    "$[0]",
    "\U0001f600" * 9,
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_whatever_text_is_looked_for_finds_nothing_and_harms_nothing(text: str, tmp_path: Path) -> None:
    async def scene(orchestrator: Orchestrator, found: Operations) -> None:
        await some(orchestrator)
        for wanted in (
            Search(steps=(text,)),
            Search(fingerprints=(text,), statuses=("completed", "parked")),
            Search(key=text),
            Search(assigned=text),
            Search(input=((text, "tea"),)),
            Search(input=(("sku", text),)),
        ):
            assert await ids(found, wanted) == [], wanted
            if not wanted.input:
                assert await found.groups(wanted) == (), wanted
        for unknown in (Search(sagas=(text,)), Search(versions=(text,))):
            with pytest.raises(UnknownSaga):
                await found.search(unknown)
        assert len(await ids(found, Search())) == 5

    play(scene, f"sqlite:///{tmp_path}/orders.db")


@pytest.mark.parametrize(
    ("value", "text", "same"),
    [
        ("a", "a", True),
        (1, "1", True),
        (True, "1", False),
        (1, "true", False),
        (None, "null", True),
        ([1], "[1]", True),
    ],
)
def test_a_text_says_a_value_as_itself_or_as_json(value: object, text: str, same: bool) -> None:
    assert is_value(value, text) is same
