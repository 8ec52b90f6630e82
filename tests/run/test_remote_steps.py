"""Steps that a service does, from the orchestrator's side: commands, replies, timeouts, takeovers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from asked import Reserve, Stock, answer, ask, asking, pack, placed, reserve
from engine import Order, database, state, until, virtually

from amends import Compensated, Completed, Orchestrator, Parked, Saga, Service, Settings, parallel, pivot
from amends.decide import events as e
from amends.decide.events import Phase
from amends.decide.state import Action
from amends.decide.wire import Command, Reply, Word
from amends.errors import DefinitionError
from amends.message import Message
from amends.operate.operations import Operations
from amends.run.journal import decode
from amends.run.remote import rotate
from amends.run.session import Session
from amends.store.base import Fate, Write
from amends.store.memory import MemoryDatabase, MemoryStore


def replies_counted(orchestrator: Orchestrator) -> Any:
    """What became of replies in a working orchestrator."""
    session: Session = orchestrator.session
    assert session.worker is not None
    return session.worker._remote.counts


def test_a_saga_asks_a_service_and_goes_on_with_its_reply() -> None:
    async def main() -> Any:
        async with Stock() as stock, asking(on=database()) as orchestrator:
            outcome = await orchestrator.run(placed, Order(100), id="order-1")
            return outcome, stock.asked

    outcome, asked = virtually(main())
    assert outcome == Completed(7)
    [command] = asked
    assert (command.type, command.key, command.step, command.data) == (
        "stock.reserve",
        "order-1",
        "reserve",
        b'{"cents":100}',
    )


class Gated(MemoryStore):
    """A store that commits nothing until it may."""

    def __init__(self, on: MemoryDatabase) -> None:
        super().__init__(on)
        self.go = asyncio.Event()

    async def commit(self, worker: int | None, writes: Sequence[Write]) -> list[Fate]:
        await self.go.wait()
        return await super().commit(worker, writes)


def test_a_command_leaves_only_once_its_decision_is_on_disk() -> None:
    async def main() -> Any:
        on = database()
        store, orchestrator = Gated(on), asking(on=on)
        orchestrator.config = replace(orchestrator.config, database=store)
        async with Stock() as stock, orchestrator:
            run = asyncio.create_task(orchestrator.run(placed, Order(100)))
            await asyncio.sleep(10)
            early = list(stock.asked)
            store.go.set()
            return early, await run, len(stock.asked)

    assert virtually(main()) == ([], Completed(7), 1)


def test_a_saga_that_goes_back_has_the_service_undo_and_says_what_it_knows() -> None:
    async def main() -> Any:
        async with Stock() as stock, asking(on=database()) as orchestrator:
            return await orchestrator.run(placed, Order(101)), stock.undos

    outcome, [undo] = virtually(main())
    assert isinstance(outcome, Compensated)
    assert undo.known
    assert undo.data == b'{"cents":101}'


def test_services_are_told_of_sagas_that_ended_many_at_once() -> None:
    async def main() -> Any:
        async with Stock() as stock, asking(on=database()) as orchestrator:
            await asyncio.gather(*(orchestrator.run(placed, Order(100)) for _ in range(20)))
            await until(lambda: bool(stock.ended))
            return stock.ended, {command.saga for command in stock.asked}

    ended, sagas = virtually(main())
    assert len(ended) == 1
    assert set(ended[0].sagas) == sagas


def test_a_request_that_says_no_sends_nothing() -> None:
    async def main() -> Any:
        async with Stock() as stock, asking(on=database()) as orchestrator:
            return await orchestrator.run(placed, Order(-1)), stock.asked

    outcome, asked = virtually(main())
    assert outcome == Compensated("reserve: nothing is free", "rejected", "reserve")
    assert asked == []


def test_without_a_reply_the_command_is_sent_again_and_in_the_end_undone() -> None:
    async def main() -> Any:
        async with Stock(lambda command: None if command.phase is Phase.ACTION else answer(command)) as stock:
            async with asking(on=database()) as orchestrator:
                outcome = await orchestrator.run(placed, Order(100))
            return outcome, stock.actions, stock.undos

    outcome, actions, [undo] = virtually(main())
    assert isinstance(outcome, Compensated)
    assert [command.attempt for command in actions] == [1, 2, 3]
    assert len({command.token for command in actions}) == 1
    assert not undo.known


@reserve.request(timeout=600.0)
def ask_slowly(order: Order) -> Reserve:
    return Reserve(order.cents)


async def owned_by_nobody(orchestrator: Orchestrator, key: str) -> None:
    """Wait until a saga was let go."""
    async with asyncio.timeout(60):
        while (head := await orchestrator.session.store.head(key)) is None or head.owner is not None:
            await asyncio.sleep(0.1)


slow = Saga("slow", ask_slowly, pack, input=Order, output=pack)


def test_a_saga_that_waits_for_long_leaves_the_memory_and_its_reply_finds_it() -> None:
    kept: list[Command] = []

    async def main() -> Any:
        async with Stock(kept.append) as stock, asking(slow, on=database()) as orchestrator:
            run = asyncio.create_task(orchestrator.run(slow, Order(100), id="slow"))
            worker = orchestrator.session.worker
            await until(lambda: bool(kept) and worker is not None and not worker.lives)
            await owned_by_nobody(orchestrator, "slow")
            await stock.reply(answer(kept[0]), kept[0].reply_to)
            return await run, replies_counted(orchestrator)

    outcome, counts = virtually(main())
    assert outcome == Completed(7)
    assert counts.mailed == 1


def test_a_person_has_a_command_sent_again_that_a_service_does_not_answer_for_long() -> None:
    asked: list[Command] = []

    def says(command: Command) -> Reply | None:
        asked.append(command)
        return answer(command) if len(asked) > 1 else None

    async def main() -> Any:
        async with Stock(says), asking(slow, on=database()) as orchestrator:
            loop = asyncio.get_running_loop()
            began = loop.time()
            run = asyncio.create_task(orchestrator.run(slow, Order(100), id="slow"))
            await until(lambda: bool(asked))
            await Operations(orchestrator.session).retry("slow", "ask_slowly", reason="it was restarted", actor="ada")
            return await run, loop.time() - began

    outcome, took = virtually(main())
    assert outcome == Completed(7)
    assert [command.attempt for command in asked] == [1, 1]
    assert took < 600.0


def test_a_reply_that_reaches_another_worker_reaches_the_saga() -> None:
    async def main() -> Any:
        shared = database()
        async with Stock() as stock, asking(on=shared) as one, asking(on=shared) as other:
            outcomes = await asyncio.gather(*(one.run(placed, Order(100)) for _ in range(20)))
            return outcomes, replies_counted(one), replies_counted(other), len(stock.asked)

    outcomes, one, other, asked = virtually(main())
    assert outcomes == [Completed(7)] * 20
    assert one.taken + other.mailed == 20
    assert other.mailed > 0
    assert asked == 20


def test_a_worker_that_takes_over_sends_what_was_in_flight_again() -> None:
    silent = True

    def says(command: Command) -> Reply | None:
        return None if silent else answer(command)

    async def main() -> Any:
        nonlocal silent
        shared = database()
        async with Stock(says) as stock:
            dead = asking(on=shared, settings=Settings(lease_seconds=2.0))
            await dead.__aenter__()
            await dead.start(placed, Order(100), id="one")
            await until(lambda: len(stock.asked) == 1)
            worker = dead.session.worker
            assert worker is not None
            worker.ownership.halt()
            worker._drop_all()
            silent = False
            async with asking(on=shared, settings=Settings(lease_seconds=2.0)) as other:
                outcome = await other.handle(placed, "one").outcome()
                history = await state(other, "one")
            worker.broken(RuntimeError("dead"))
            return outcome, [command.attempt for command in stock.actions], history

    outcome, attempts, history = virtually(main())
    assert outcome == Completed(7)
    assert attempts == [1, 1]
    assert history.step("reserve").action.attempts == 1


Bend = Callable[[Reply], Reply]


@pytest.mark.parametrize(
    "bend",
    [
        lambda reply: reply._replace(token="1." + "0" * 32),
        lambda reply: reply._replace(token="9." + "0" * 32),
        lambda reply: reply._replace(token="no" + "token"),
        lambda reply: reply._replace(step="pack"),
        lambda reply: reply._replace(saga=bytes(16)),
        lambda reply: reply._replace(round=2),
        lambda reply: reply._replace(phase=Phase.UNDO, word=Word.COMPENSATED),
        lambda reply: reply._replace(namespace="others"),
    ],
    ids=["token", "key", "no token", "step", "saga", "round", "phase", "namespace"],
)
def test_a_forged_reply_moves_nothing_and_is_counted(bend: Bend) -> None:
    kept: list[Command] = []

    async def main() -> Any:
        async with Stock(kept.append) as stock, asking(on=database()) as orchestrator:
            run = asyncio.create_task(orchestrator.run(placed, Order(100)))
            await until(lambda: bool(kept))
            await stock.reply(bend(answer(kept[0])), kept[0].reply_to)
            await until(lambda: replies_counted(orchestrator).refused == 1)
            still = not run.done()
            await stock.reply(answer(kept[0]), kept[0].reply_to)
            return still, await run

    assert virtually(main()) == (True, Completed(7))


def test_a_reply_that_is_replayed_changes_nothing() -> None:
    async def main() -> Any:
        async with Stock() as stock, asking(on=database()) as orchestrator:
            await orchestrator.run(placed, Order(101), id="one")
            before = await orchestrator.session.store.load("one")
            for command in list(stock.asked):
                await stock.reply(answer(command), command.reply_to)
            counts = replies_counted(orchestrator)
            await until(lambda: replies_counted(orchestrator).mailed >= 2)
            return before == await orchestrator.session.store.load("one"), counts

    same, _ = virtually(main())
    assert same


def test_what_is_no_reply_is_counted_and_harms_nobody() -> None:
    async def main() -> Any:
        async with Stock() as stock, asking(on=database()) as orchestrator:
            await orchestrator.run(placed, Order(100))
            home = stock.asked[0].reply_to
            await stock.send(Message("x", "strange", "/nobody", b"\xff"), home)
            await until(lambda: replies_counted(orchestrator).refused == 1)
            return await orchestrator.run(placed, Order(100))

    assert virtually(main()) == Completed(7)


def test_a_reply_that_does_not_fit_the_contract_is_an_effect_of_which_nothing_is_known() -> None:
    def says(command: Command) -> Reply:
        return answer(command, data=b'{"number":"seven"}')

    async def main() -> Any:
        async with Stock(says) as stock, asking(on=database()) as orchestrator:
            outcome = await orchestrator.run(placed, Order(100), id="one")
            return outcome, stock.undos, (await state(orchestrator, "one")).step("reserve").action

    outcome, undos, action = virtually(main())
    assert isinstance(outcome, Compensated)
    assert len(undos) == 1
    assert action.status is Action.UNKNOWN
    assert "it does not fit Reservation" in action.reason


@pytest.mark.parametrize(
    ("word", "rest", "expected"),
    [
        (Word.REJECTED, {"reason": "sold out"}, Compensated("reserve: sold out", "rejected", "reserve")),
        (Word.FAILED, {"reason": "locked", "park": True}, "locked"),
        (Word.EARLIER_OPEN, {}, "earlier round"),
    ],
)
def test_what_the_service_says_is_what_becomes_of_the_step(word: Word, rest: dict[str, Any], expected: Any) -> None:
    def says(command: Command) -> Reply:
        return answer(command, word, **rest) if command.phase is Phase.ACTION else answer(command)

    async def main() -> Any:
        async with Stock(says), asking(on=database()) as orchestrator:
            return await orchestrator.run(placed, Order(100))

    outcome = virtually(main())
    if isinstance(expected, str):
        assert isinstance(outcome, Parked)
        assert expected in outcome.reason
    else:
        assert outcome == expected


def test_a_failure_that_passes_has_the_command_sent_again_when_the_service_says() -> None:
    def says(command: Command) -> Reply:
        return answer(command, Word.FAILED, reason="busy", after=5.0) if command.attempt == 1 else answer(command)

    async def main() -> Any:
        async with Stock(says) as stock, asking(on=database()) as orchestrator:
            outcome = await orchestrator.run(placed, Order(100))
            first, second = stock.asked
            return outcome, second.sent_at - first.sent_at

    outcome, apart = virtually(main())
    assert outcome == Completed(7)
    assert 5.0 <= apart < 6.0


def test_a_missing_effect_parks_the_saga() -> None:
    def says(command: Command) -> Reply:
        return answer(command, Word.MISSING) if command.phase is Phase.UNDO else answer(command)

    async def main() -> Any:
        async with Stock(says), asking(on=database()) as orchestrator:
            return await orchestrator.run(placed, Order(101))

    outcome = virtually(main())
    assert isinstance(outcome, Parked)
    assert [entry.step for entry in outcome.unsettled] == ["reserve"]


def test_a_broker_that_is_away_uses_up_no_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> Any:
        async with Stock() as stock, asking(on=database()) as orchestrator:
            worker = orchestrator.session.worker
            assert worker is not None
            sender = worker._remote._sender
            assert sender is not None
            publish = sender._transport.publish
            there = asyncio.Event()

            async def held(sends: Any) -> Any:
                await there.wait()
                return await publish(sends)

            monkeypatch.setattr(sender._transport, "publish", held)
            monkeypatch.setattr(sender._transport, "away", "unplugged", raising=False)
            run = asyncio.create_task(orchestrator.run(placed, Order(100), id="one"))
            await asyncio.sleep(100)
            monkeypatch.setattr(sender._transport, "away", "", raising=False)
            there.set()
            return await run, (await state(orchestrator, "one")).step("reserve").action.attempts, len(stock.asked)

    assert virtually(main()) == (Completed(7), 1, 1)


def test_commands_go_out_together_in_parallel_and_for_each() -> None:

    wide = Saga("wide", parallel(ask, ask.named("again")), pivot, input=Order)

    async def main() -> Any:
        async with Stock() as stock, asking(wide, on=database()) as orchestrator:
            return await orchestrator.run(wide, Order(100)), sorted(command.step for command in stock.asked)

    assert virtually(main()) == (Completed(None), ["again", "reserve"])


def test_a_service_that_was_not_given_is_named() -> None:
    with pytest.raises(DefinitionError, match="saga 'placed' asks the service stock; add it"):
        Orchestrator("memory://", sagas=[placed], services=[Service("other")])


def test_what_was_sent_is_in_the_history() -> None:
    async def main() -> Any:
        async with Stock(), asking(on=database()) as orchestrator:
            await orchestrator.run(placed, Order(100), id="one")
            loaded = await orchestrator.session.store.load("one")
            assert loaded is not None
            return [event for row in loaded.rows for event in decode(row).events]

    history = virtually(main())
    assert e.Built("reserve", b'{"cents":100}') in history
    assert any(isinstance(event, e.Sent) for event in history)


def test_before_a_saga_is_forgotten_its_services_are_told_once_more_that_it_ended() -> None:
    keeps_an_hour = Settings(retention_seconds=3600.0)

    async def main() -> Any:
        db = database()
        async with Stock() as stock, asking(on=db, settings=keeps_an_hour) as orchestrator:
            await orchestrator.run(placed, Order(100), id="old")
            await until(lambda: bool(stock.ended))
            worker = orchestrator.session.worker
            assert worker is not None
            heard, told = worker.has_told, len(stock.ended)

            async def deaf(sagas: Any) -> bool:
                return False

            worker.has_told = deaf
            await asyncio.sleep(4 * 3600)
            kept = "old" in db.keys
            worker.has_told = heard
            await asyncio.sleep(3600)
            return kept, "old" in db.keys, len(stock.ended) - told

    assert virtually(main()) == (True, False, 1)


def test_a_key_that_is_rotated_is_learnt_by_those_who_run_and_old_replies_keep_theirs() -> None:
    kept: list[Command] = []

    async def main() -> Any:
        db = database()
        async with Stock(kept.append) as stock, asking(on=db) as old:
            before = asyncio.create_task(old.run(placed, Order(100), id="before"))
            await until(lambda: len(kept) == 1)
            await rotate(old.session.store, "default", await old.session.store.token_keys())
            async with asking(on=db) as new:
                after = asyncio.create_task(new.run(placed, Order(200), id="after"))
                await until(lambda: len(kept) == 2)
                for command in kept:
                    await stock.reply(answer(command), command.reply_to)
                outcomes = await before, await after
                return outcomes, [command.token.partition(".")[0] for command in kept], replies_counted(old).refused

    outcomes, keys, refused = virtually(main())
    assert outcomes == (Completed(7), Completed(7))
    assert keys == ["1", "2"]
    assert refused == 0


def test_a_token_of_a_key_that_never_was_is_refused_after_one_look() -> None:
    async def main() -> Any:
        async with Stock() as stock, asking(on=database()) as orchestrator:
            await orchestrator.run(placed, Order(100))
            [command] = stock.asked
            for number in range(50):
                await stock.reply(answer(command, token=f"{number + 7}." + "0" * 32), command.reply_to)
            await until(lambda: replies_counted(orchestrator).refused == 50)

    virtually(main())
