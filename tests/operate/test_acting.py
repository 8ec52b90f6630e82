"""What a person does to a saga: for one version of it, once under an id, with changed arguments, looked at first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from amends import Completed, Orchestrator, Park, Reject, Saga, Settings, for_each, pivot, step, wait_for
from amends.errors import Changed, Refused, TooLate, ValueRefused
from amends.operate.operations import Operations
from amends.operate.values import SagaLine


@dataclass(frozen=True)
class Parcel:
    street: str
    weight: int = 1


@dataclass(frozen=True)
class Label:
    number: int


@dataclass(frozen=True)
class Answer:
    yes: bool


said: list[str] = []


@step
async def pack(parcel: Parcel) -> Label:
    said.append(f"pack {parcel.street}")
    return Label(7)


@pack.compensation
async def unpack(parcel: Parcel, label: Label | None) -> None:
    said.append(f"unpack {parcel.street}")


@step
async def send(parcel: Parcel, label: Label) -> str:
    said.append(f"send {label.number} to {parcel.street}")
    if parcel.street == "nowhere":
        raise Reject("there is no such street")
    if parcel.street == "far":
        raise Park("is it there?")
    return parcel.street


@step
async def weigh(parcel: Parcel) -> None:
    said.append(f"weigh for {parcel.street}")
    if parcel.street == "nowhere":
        raise Park("which scales?")


@weigh.compensation
async def unweigh(parcel: Parcel) -> None:
    said.append(f"unweigh for {parcel.street}")


@step
async def tell(number: int) -> None:
    said.append(f"tell {number}")
    if number < 0:
        raise Reject("no such number")


def numbers(parcel: Parcel) -> list[int]:
    return [1, -parcel.weight]


answer = wait_for("answer", Answer)
sent = Saga("sent", pack, pivot, send, input=Parcel, output=send)
weighed = Saga("weighed", weigh, answer, input=Parcel)
told = Saga("told", pack, pivot, for_each(tell, over=numbers), input=Parcel)
NOWHERE = Parcel("nowhere")
BY: dict[str, Any] = {"actor": "ada", "reason": "the street is Quay 1"}
QUAY = b'{"parcel":{"street":"Quay 1"}}'


@pytest.fixture(autouse=True)
def _nothing_said() -> None:
    said.clear()


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Each of the stores."""
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_url"))
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/sent.db"


@asynccontextmanager
async def working(database: str = "memory://") -> AsyncGenerator[tuple[Orchestrator, Operations], None]:
    """An orchestrator at work, and operations on its own session."""
    sagas = [sent, weighed, told]
    orchestrator = Orchestrator(database, sagas=sagas, settings=Settings(answer_seconds=20.0), migrate=True)
    async with orchestrator:
        yield orchestrator, Operations(orchestrator.session)


async def line(found: Operations, saga_id: str = "p") -> SagaLine:
    """A saga as it is listed."""
    return next(one for one in (await found.find()).sagas if one.id == saga_id)


def test_an_act_for_a_version_that_the_saga_has_left_is_refused(database: str) -> None:
    async def main() -> None:
        async with working(database) as (orchestrator, found):
            await orchestrator.run(sent, NOWHERE, id="p")
            seen = (await found.show("p")).line.version
            assert (await line(found)).version == seen
            await found.retry("p", "send", actor="bob", if_version=seen)
            await orchestrator.handle(sent, "p").outcome()

            with pytest.raises(Changed, match=rf"it is at version \d+ now, you looked at {seen}; look again"):
                await found.retry("p", "send", actor="ada", if_version=seen)

            now = (await found.show("p")).line.version
            assert now > seen
            await found.retry("p", "send", actor="ada", if_version=now)

    asyncio.run(main())
    assert said == ["pack nowhere", *["send 7 to nowhere"] * 3]


def test_what_was_refused_noted_or_assigned_meanwhile_is_no_change() -> None:
    async def main() -> None:
        async with working() as (orchestrator, found):
            await orchestrator.run(sent, NOWHERE, id="p")
            seen = (await found.show("p")).line.version
            with pytest.raises(Refused, match="is succeeded"):
                await found.retry("p", "pack", actor="bob")
            await found.note("p", "hm", actor="bob")
            await found.assign("p", "bob", actor="bob")
            assert (await found.show("p")).line.version == seen + 3

            given = await found.retry("p", "send", actor="ada", if_version=seen)

            assert given.verb == "retry"

    asyncio.run(main())


def test_the_same_id_counts_once_and_answers_the_same(database: str) -> None:
    async def main() -> None:
        async with working(database) as (orchestrator, found):
            await orchestrator.run(sent, NOWHERE, id="p")

            first = await found.retry("p", "send", **BY, message="click-1")
            again = await found.retry("p", "send", **BY, message="click-1")
            await orchestrator.handle(sent, "p").outcome()

            assert first == again
            assert said.count("send 7 to nowhere") == 2
            with pytest.raises(Refused, match="'click-1' belongs to something else"):
                await found.unpark("p", actor="ada", message="click-1")
            with pytest.raises(Refused, match="is succeeded"):
                await found.retry("p", "pack", **BY, message="click-2")
            with pytest.raises(Refused, match="is succeeded"):
                await found.retry("p", "pack", **BY, message="click-2")
            refused = [one for one in await found.history("p") if one.event == "refused"]
            assert len(refused) == 1

    asyncio.run(main())


def test_a_step_gets_what_a_person_changed_and_nothing_else_does(database: str) -> None:
    async def main() -> None:
        async with working(database) as (orchestrator, found):
            await orchestrator.run(sent, NOWHERE, id="p")

            await found.retry("p", "send", **BY, arguments=QUAY)

            assert await orchestrator.handle(sent, "p").outcome() == Completed("Quay 1")
            view = await found.show("p")
            assert view.input == b'{"street":"nowhere","weight":1}'
            assert next(step.round for step in view.steps if step.address == "send") == 2
            changed = next(one for one in view.history if one.event == "given")
            assert (changed.step, changed.value) == ("send", b'{"parcel":{"street":"Quay 1","weight":1}}')
            acted = next(one for one in view.history if one.event == "operated")
            assert (acted.actor, acted.reason) == ("ada", "the street is Quay 1")

    asyncio.run(main())
    assert said == ["pack nowhere", "send 7 to nowhere", "send 7 to Quay 1"]


def test_what_was_changed_is_what_another_worker_finds_and_what_is_undone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/sent.db"

    async def begin() -> None:
        async with working(url) as (orchestrator, found):
            await orchestrator.run(weighed, NOWHERE, id="p")
            with pytest.raises(Refused, match="an earlier attempt of weigh may have had its effect"):
                await found.retry("p", "weigh", **BY, arguments=QUAY)
            await found.retry("p", "weigh", **BY, arguments=QUAY, nothing_stayed=True)
            while (await line(found)).status != "running" or "answer" not in str((await found.show("p")).acts):
                await asyncio.sleep(0.01)

    async def end() -> None:
        async with working(url) as (orchestrator, found):
            await found.cancel("p", actor="ada", reason="too heavy")
            await orchestrator.handle(weighed, "p").outcome()

    asyncio.run(begin())
    asyncio.run(end())
    assert said == ["weigh for nowhere", "weigh for Quay 1", "unweigh for Quay 1"]


def test_one_item_is_asked_otherwise() -> None:
    async def main() -> None:
        async with working() as (orchestrator, found):
            await orchestrator.run(told, Parcel("Quay 1"), id="p")

            await found.retry("p", "tell[1]", **BY, arguments=b'{"number":5}')

            assert isinstance(await orchestrator.handle(told, "p").outcome(), Completed)

    asyncio.run(main())
    assert said == ["pack Quay 1", "tell 1", "tell -1", "tell 5"]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (b'{"parsel":{"street":"Quay 1"}}', "send has no parameter 'parsel' to change; it has: parcel, label"),
        (b'{"parcel":{"street":1}}', r"send: parcel: it does not fit Parcel: .*street"),
        (b'{"parcel":{}}', r"send: parcel: it does not fit Parcel"),
        (b"{}", "no parameter is named"),
        (b"7", "an object of the parameters that are to be others is expected"),
        (b"{", "the arguments for send: it is no JSON"),
    ],
)
def test_what_a_step_cannot_be_asked_is_refused_with_what_is_wrong(arguments: bytes, why: str) -> None:
    async def main() -> None:
        async with working() as (orchestrator, found):
            await orchestrator.run(sent, NOWHERE, id="p")

            with pytest.raises(Refused, match=why):
                await found.retry("p", "send", **BY, arguments=arguments)

            seen = await found.preview("p", "retry", "send", arguments=QUAY)
            assert seen.accepted

    asyncio.run(main())
    assert said == ["pack nowhere", "send 7 to nowhere"]


def test_that_nothing_stayed_is_said_of_changed_arguments_only() -> None:
    async def main() -> None:
        async with working() as (orchestrator, found):
            await orchestrator.run(sent, Parcel("far"), id="p")
            with pytest.raises(Refused, match="with changed arguments only"):
                await found.retry("p", "send", **BY, nothing_stayed=True)

    asyncio.run(main())


def test_who_sees_to_a_saga_and_the_last_note_stand_in_its_line_and_its_history(database: str) -> None:
    async def main() -> None:
        async with working(database) as (orchestrator, found):
            await orchestrator.run(sent, NOWHERE, id="p")
            before = (await found.show("p")).line

            await found.assign("p", "ada", actor="bob", reason="knows the streets")
            await found.note("p", "the depot calls back", actor="ada")

            seen = await line(found)
            assert (seen.assigned, seen.note, seen.status) == ("ada", "the depot calls back", "parked")
            view = await found.show("p")
            assert view.line == seen
            assert [one.text for one in view.history[-2:]] == [
                "bob: assigned to ada, because: knows the streets",
                "ada notes: the depot calls back",
            ]
            assert (view.line.stuck, view.line.reason) == (before.stuck, before.reason)
            again = await found.assign("p", "ada", actor="bob")
            assert again.detail == "it was assigned to ada already"
            await found.assign("p", "", actor="ada")
            assert (await line(found)).assigned == ""

    asyncio.run(main())
    assert said == ["pack nowhere", "send 7 to nowhere"]


def test_what_was_assigned_and_noted_stays_until_the_end_and_no_longer_changes_then() -> None:
    async def main() -> None:
        async with working() as (orchestrator, found):
            await orchestrator.run(sent, NOWHERE, id="p")
            await found.assign("p", "ada", actor="ada")
            await found.retry("p", "send", **BY, arguments=QUAY)
            await orchestrator.handle(sent, "p").outcome()

            assert (await line(found)).assigned == "ada"
            with pytest.raises(TooLate):
                await found.note("p", "well done", actor="ada")

    asyncio.run(main())


def test_what_an_act_would_do_is_told_and_not_done() -> None:
    async def main() -> None:
        async with working() as (orchestrator, found):
            await orchestrator.run(weighed, NOWHERE, id="p")
            before = await found.show("p")

            back = await found.preview("p", "compensate")
            again = await found.preview("p", "retry", "weigh")
            no = await found.preview("p", "retry", "answer")

            assert (back.accepted, back.status_after, back.version) == (True, "compensating", before.line.version)
            assert [(one.step, one.phase, one.what) for one in back.effects] == [("weigh", "undo", "undoes weigh")]
            assert [one.what for one in again.effects] == ["calls weigh"]
            assert (no.accepted, no.effects) == (False, ())
            assert no.why == "answer is pending, so there is nothing to do here"
            assert await found.show("p") == before

    asyncio.run(main())
    assert said == ["weigh for nowhere"]


def test_each_act_that_is_offered_says_what_it_will_do() -> None:
    async def main() -> dict[str, str]:
        async with working() as (orchestrator, found):
            await orchestrator.run(weighed, NOWHERE, id="p")
            acts = (await found.show("p")).acts
            assert [act.verb for act in acts if act.may_change] == ["retry"]
            return {act.verb: act.effect for act in acts}

    assert asyncio.run(main()) == {
        "retry": "calls weigh, and the saga goes on",
        "unpark": "calls weigh, and the saga goes on",
        "skip": "nothing is called",
        "resolve": "nothing is called",
        "compensate": "undoes weigh, and the saga is compensated",
    }


def test_what_a_person_says_is_bounded() -> None:
    async def main() -> None:
        async with working() as (orchestrator, found):
            await orchestrator.run(sent, NOWHERE, id="p")
            with pytest.raises(Refused, match="note: 2001 characters, the limit is 2000"):
                await found.note("p", "x" * 2001, actor="ada")
            with pytest.raises(Refused, match="person: 2001 characters"):
                await found.assign("p", "x" * 2001, actor="ada")
            with pytest.raises(ValueRefused):
                await found.unpark("p", actor="ada", message="two\nlines")

    asyncio.run(main())
