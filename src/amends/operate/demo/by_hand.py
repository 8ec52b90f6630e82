"""The demo with a dashboard: some orders are parked by one fault, new ones keep coming, and whoever watches mends them.

Guarantees: the fault is over before anybody is asked to mend what it left; the dashboard is on the loopback alone and
wants a login; the worker and the dashboard end with the demo, which ends by itself.
Must not: mend an order; that is what the person is there for.
"""

from __future__ import annotations

import asyncio
import getpass
import secrets
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice

from starlette.applications import Starlette

from amends import Orchestrator
from amends.operate.demo.process import Child
from amends.operate.demo.sagas import place_order
from amends.operate.demo.system import Run, orchestrator_of, prepare
from amends.operate.demo.watch import View, Watch
from amends.operate.demo.weather import SIBLINGS_AMONG, Placed
from amends.operate.demo.worker import command
from amends.operate.operations import Operations
from amends.operate.values import Line
from amends.operate.web.access import Access, Person, Role, Token
from amends.operate.web.app import web
from amends.operate.web.serving import LOOPBACK, bound, origin_of, serve

HINTS = (
    "Find what is parked: the overview groups it by what went wrong. Open one of them.",
    "Understand it: its flow shows where it stopped, its history why, its actions what each would do.",
    "Repair it: try the undo again, with a reason. It goes back to its end, compensated.",
    "Repair its siblings in bulk: from the group, see what would be done, then start it.",
    "Look at one of them again: its history says who did what, and why.",
)
PARKED_SECONDS = 180.0  # at most, until all that meet the fault are parked
LOOK_SECONDS = 0.5
ACTS_MAX = 60  # lines about who did what, in the end
Say = Callable[[str], object]


@dataclass(frozen=True)
class Pace:
    """In seconds: between two of the first orders, between two of the later ones, and when it ends by itself."""

    first: float
    later: float
    limit: float


@dataclass
class ByHand:
    """One run. port: of the dashboard, 0 for any. say: tells it, line by line."""

    run: Run
    pace: Pace
    port: int
    say: Say
    _told: dict[str, int] = field(default_factory=dict)

    async def tell(self) -> None:
        """Run it, until it is told to stop or its time is over."""
        placed = self.run.placed
        prepare(self.run, placed)
        self.run.certificate.touch()
        child = Child(command(self.run), self.run.directory / "worker.log")
        orchestrator = orchestrator_of(self.run)
        try:
            async with orchestrator.client():
                watch = Watch(Operations(orchestrator.session))
                await child.start()
                await self._park_some(orchestrator, watch, placed[:SIBLINGS_AMONG])
                await self._open_the_shop(orchestrator, watch, placed[SIBLINGS_AMONG:])
                await child.stop()
                await self._end(watch)
        finally:
            await child.end()

    async def _park_some(self, orchestrator: Orchestrator, watch: Watch, placed: list[Placed]) -> None:
        """The first orders, until those that meet the fault are parked; then the fault is over."""
        self.say(f"{len(placed)} orders come in, and the bank refuses refunds: its certificate for us has expired.")
        for order, _ in placed:
            await orchestrator.start(place_order, order, id=order.id)
            watch.placed(order)
            await asyncio.sleep(self.pace.first)
        until = time.monotonic() + PARKED_SECONDS
        while time.monotonic() < until and any(_moves(view) for view in watch.views.values()):
            await watch.look()
            await asyncio.sleep(LOOK_SECONDS)
        self.run.certificate.unlink()
        parked = sum(view.status == "parked" for view in watch.views.values())
        self.say(f"{parked} of them are parked: customers who withdrew, and whose money nobody could give back.")
        self.say("The bank has renewed the certificate. The parked orders do not know: that takes a person, you.")

    async def _open_the_shop(self, orchestrator: Orchestrator, watch: Watch, placed: list[Placed]) -> None:
        """The dashboard, with orders coming in meanwhile."""
        listening = bound("127.0.0.1", self.port)
        access, shown = _access()
        app = web(orchestrator, access=access, title="amends demo", hosts=LOOPBACK, hints=HINTS)
        origin = origin_of(listening, "127.0.0.1", None)
        background = [
            asyncio.ensure_future(self._keep_coming(orchestrator, watch, placed)),
            asyncio.ensure_future(self._report(watch)),
            asyncio.ensure_future(_end_after(self.pace.limit)),
        ]
        try:
            await serve(app, listening, ready=lambda: self._invite(app, origin, shown))
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            listening.close()

    def _invite(self, app: Starlette, origin: str, shown: Pass) -> None:
        access: Access = app.state.web.access
        lines = (
            "",
            f"  The dashboard:  {origin}/login/{access.codes.issue(shown.token.id)}",
            f"  (logs you in once; later {origin}/ with the token {shown.text})",
            "",
            "  Try this:",
            *(f"  {number}. {hint}" for number, hint in enumerate(HINTS, 1)),
            "",
            f"  New orders keep coming. Ctrl-C ends it; it ends by itself in {self.pace.limit / 60:.0f} minutes.",
            "",
        )
        for line in lines:
            self.say(line)

    async def _keep_coming(self, orchestrator: Orchestrator, watch: Watch, placed: list[Placed]) -> None:
        for order, _ in placed:
            await asyncio.sleep(self.pace.later)
            await orchestrator.start(place_order, order, id=order.id)
            watch.placed(order)

    async def _report(self, watch: Watch) -> None:
        """Say what people do, as it happens."""
        while True:
            for view in await watch.look():
                if view.mended:
                    await self._say_acts(watch, view)
            await asyncio.sleep(LOOK_SECONDS)

    async def _say_acts(self, watch: Watch, view: View) -> None:
        acts = await _acts(watch, view)
        for line in acts[self._told.get(view.order.id, 0) :]:
            self.say(f"{view.order.id}  {line.text}")
        self._told[view.order.id] = len(acts)
        if view.ended:
            self.say(f"{view.order.id}  is {view.status}")

    async def _end(self, watch: Watch) -> None:
        await watch.look()
        views = watch.views.values()
        counts = {
            status: sum(view.status == status for view in views) for status in ("completed", "compensated", "parked")
        }
        self.say("")
        self.say(f"{len(views)} orders: {', '.join(f'{count} {status}' for status, count in counts.items())}")
        mended = [view for view in views if view.mended]
        for view in islice(mended, ACTS_MAX):
            for line in await _acts(watch, view):
                self.say(f"  {view.order.id}  {line.text}")
        if not mended:
            self.say("  nobody has mended anything: their histories say so too")


@dataclass(frozen=True)
class Pass:
    """A token, and its text for whoever started the demo."""

    token: Token
    text: str


def _moves(view: View) -> bool:
    return not view.ended and view.status != "parked"


async def _acts(watch: Watch, view: View) -> list[Line]:
    """What people did to an order, from its history."""
    return [line for line in await watch.history(view.order.id) if line.event == "operated"]


def _access() -> tuple[Access, Pass]:
    """Whoever started the demo is its admin, under their own name."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):
        name = "you"
    text = secrets.token_urlsafe(24)
    token = Token.of(text, Person(name, Role.ADMIN, payloads=True))
    return Access([token]), Pass(token, text)


async def _end_after(seconds: float) -> None:
    """Ends the dashboard as a signal would, so that live pages are told."""
    await asyncio.sleep(seconds)
    signal.raise_signal(signal.SIGTERM)
