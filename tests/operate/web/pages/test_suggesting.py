"""What the form for other arguments suggests: the last command, and no mask in the place of a value."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

from page_shop import HTML
from web_scene import TOKENS, access, client_of

from amends import Orchestrator, Saga, Secret, Service, step
from amends.operate.operations import Operations
from amends.operate.web.app import web


@dataclass(frozen=True)
class Order:
    card: str


@dataclass(frozen=True)
class Charge:
    card: str
    cents: int


@dataclass(frozen=True)
class MarkedCharge:
    card: Secret[str]
    cents: int


@step(readonly=True)
async def look(order: Order) -> None: ...


def buy(command: type[Charge | MarkedCharge], *before: Any) -> Saga[Order, Any]:
    """A saga whose last step asks a service."""
    charge = Service("bank").command("charge", command, reply=str)

    def ask(order: Order) -> Any:
        return command(order.card, 4200)

    ask.__annotations__["return"] = command
    return Saga("buy", *before, charge.request(name="charge")(ask), input=Order)


async def suggested(orchestrator: Orchestrator, saga_id: str, who: str = "admin") -> str:
    """What stands in the form, once the service was asked."""
    async with asyncio.timeout(20):
        while not any(line.event == "built" for line in await Operations(orchestrator.session).history(saga_id)):
            await asyncio.sleep(0.01)
    async with client_of(web(orchestrator, access=access())) as client:
        headers = {**HTML, "authorization": f"Bearer {TOKENS[who]}"}
        found = await client.get(f"/sagas/{saga_id}/act?verb=change&step=charge", headers=headers)
    text = re.search(r"<textarea id=\"value\"[^>]*>(.*?)</textarea>", found.text, re.S)
    assert text is not None, found.text
    return unescape(text[1])


def test_the_last_command_is_suggested_and_nothing_of_which_a_part_is_masked(tmp_path: Path) -> None:
    file = f"sqlite:///{tmp_path}/sagas.db"
    plain, marked = buy(Charge), buy(MarkedCharge, look)

    async def before() -> None:
        async with Orchestrator(file, sagas=[plain]) as orchestrator:
            await orchestrator.start(plain, Order("4111"), id="old")
            assert '"card": "4111"' in await suggested(orchestrator, "old")

    async def after() -> None:
        async with Orchestrator(file, sagas=[marked]) as orchestrator:
            await orchestrator.start(marked, Order("4111"), id="new")
            assert await suggested(orchestrator, "new") == ""
            view = await Operations(orchestrator.session).show("old")
            assert view.plan.secrets == ()  # it goes on as it was defined when it began
            assert await suggested(orchestrator, "old") == ""

    asyncio.run(before())
    asyncio.run(after())
