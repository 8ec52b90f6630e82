"""Fakes of services, as a test writes them.

What it is: right under both checkers.
Must not: be run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_type

from amends import Participant, Saga, Service
from amends.testing import Fake, NewSandbox, Sandbox, fake, host


@dataclass(frozen=True)
class Ask:
    n: int


@dataclass(frozen=True)
class Paid:
    n: int


bank = Service("bank")
pay = bank.command("pay", Ask, reply=Paid)
note = bank.command("note", Ask)


async def later(command: Ask) -> Paid:
    return Paid(command.n)


def back(command: Ask, paid: Paid) -> None: ...


def noted(command: Ask) -> None: ...


def unnote(command: Ask, reply: None) -> None: ...


a: Fake[Ask, Paid] = fake(pay, Paid(1))
b: Fake[Ask, Paid] = fake(pay, lambda command: Paid(command.n), undoes=back)
c: Fake[Ask, Paid] = fake(pay, later)
d: Fake[Ask, None] = fake(note)
e: Fake[Ask, None] = fake(note, noted, undoes=unnote)


def use(amends: NewSandbox, saga: Saga[Ask, None], app: Participant) -> Sandbox:
    a.rejects("no", times=2)
    a.undo.fails()
    assert_type(a.asked, list[Ask])
    return amends([saga], services=[a, d, app, host(app, tx=1)])
