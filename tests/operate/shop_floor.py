"""A user's project for the tests of the command line: a module, a directory, and ways to run verbs.

Guarantees: everything that is started is stopped; no two tests share a directory or a module.
Must not: know what a verb should print.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from amends import Orchestrator
from amends.operate.cli.main import run

PATIENCE_SECONDS = 60.0
SHOP = """
from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from pathlib import Path

from amends import Orchestrator, Park, Reject, Retry, Saga, for_each, parallel, pivot, step, wait_for

NAP = 0.02


@dataclass(frozen=True)
class Order:
    sku: str
    quantity: int = 1


@dataclass(frozen=True)
class Stock:
    number: int


@dataclass(frozen=True)
class Payment:
    receipt: str


@dataclass(frozen=True)
class Shipment:
    code: str


@dataclass(frozen=True)
class Approval:
    granted: bool


@step
async def reserve_stock(order: Order) -> Stock:
    return Stock(7)


@reserve_stock.compensation(retry=Retry(attempts=1))
async def release_stock(stock: Stock | None) -> None:
    if Path("undo-broken").exists():
        raise Reject("the shelf is gone")


@step(retry=Retry(attempts=2, first_delay=0.01))
async def charge_card(order: Order, stock: Stock) -> Payment:
    if order.sku == "declined":
        raise Reject("the card was declined")
    if Path("bank-down").exists():
        raise Park("the bank does not answer")
    if order.sku == "slow":
        Path("charging").touch()
        while not Path("charged").exists():
            await asyncio.sleep(NAP)
    if order.sku == "stubborn":
        Path("charging").touch()
        time.sleep(3600)
    return Payment("R-1")


@charge_card.compensation
async def refund(payment: Payment | None) -> None: ...


@step
async def ship(payment: Payment) -> Shipment:
    if Path("no-lorry").exists():
        raise Reject("there is no lorry")
    return Shipment("S-1")


@step
async def send_receipt(payment: Payment) -> None: ...


place_order = Saga(
    "place-order", reserve_stock, charge_card, pivot, parallel(ship, send_receipt), input=Order, output=ship
)
approval = wait_for("approval", Approval, reject_if=lambda answer: not answer.granted)


@step
async def book_flight(order: Order) -> None: ...


@book_flight.compensation
async def cancel_flight() -> None: ...


trip = Saga("trip", book_flight, approval, input=Order)
alone = Saga("alone", book_flight, input=Order)
orchestrator = Orchestrator("sqlite:///orders.db", sagas=[place_order, trip])
"""
TEA = '{"sku": "tea"}'


class Result(NamedTuple):
    """What a command ended with and printed."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """Its output as JSON."""
        return json.loads(self.out)


class Floor:
    """One project directory, which is the current one."""

    def __init__(self, directory: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.directory = directory
        self._capture = capture
        self._processes: list[subprocess.Popen[str]] = []
        (directory / "shop.py").write_text(SHOP)

    def amends(self, *args: str) -> Result:
        """Run a verb in this process."""
        self._capture.readouterr()
        code = run(args)
        out, err = self._capture.readouterr()
        return Result(int(code), str(out), str(err))

    def ok(self, *args: str) -> Result:
        """Run a verb that must succeed."""
        result = self.amends(*args)
        assert result.code == 0, result
        return result

    def order(self, name: str, sku: str = "tea") -> Result:
        """Run an order to its end, or until it is parked."""
        return self.amends("run", "shop:place_order", json.dumps({"sku": sku}), f"--id={name}")

    def park(self, name: str) -> None:
        """An order that is parked, since its bank does not answer."""
        self.touch("bank-down")
        assert self.order(name).code == 4
        self.remove("bank-down")

    def touch(self, name: str) -> None:
        """Flip one of the shop's switches."""
        (self.directory / name).touch()

    def remove(self, name: str) -> None:
        """Flip it back."""
        (self.directory / name).unlink()

    @contextmanager
    def worker(self, module: str = "shop") -> Generator[None, None, None]:
        """A worker behind the test's back, in this process."""
        if str(self.directory) not in sys.path:
            sys.path.insert(0, str(self.directory))
        orchestrator: Orchestrator = import_module(module).orchestrator
        blocking = orchestrator.blocking(work=True)
        blocking.session()
        try:
            yield
        finally:
            blocking.close()

    # Real processes

    def process(self, *args: str, **env: str) -> subprocess.Popen[str]:
        """A verb as a process of its own."""
        started = subprocess.Popen(
            [sys.executable, "-m", "amends", *args],
            cwd=self.directory,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._processes.append(started)
        return started

    def ended(self, process: subprocess.Popen[str]) -> Result:
        """What a process ended with."""
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
        return Result(process.returncode, out, err)

    def working(self, *args: str) -> subprocess.Popen[str]:
        """A worker process that has begun to work."""
        process = self.process("worker", "shop:orchestrator", *args)
        assert process.stderr is not None
        said = ""
        while "runs place-order, trip" not in said:  # after what it has to say of sagas that it took over
            line = process.stderr.readline()
            assert line, said
            said += line
        return process

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so."""
        until = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            assert time.monotonic() < until, "it did not come about"
            time.sleep(0.02)

    def close(self) -> None:
        """Stop what runs, and forget the module."""
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.communicate()
        forget_modules(self.directory)


def forget_modules(directory: Path) -> None:
    """Have modules of a directory imported anew by the next test."""
    for name, module in sys.modules.copy().items():
        if str(getattr(module, "__file__", None) or "").startswith(str(directory)):
            del sys.modules[name]
    while str(directory) in sys.path:
        sys.path.remove(str(directory))
