"""A trial subscription: an account for thirty days, a reminder before they end, and a decision.

The customer confirms and is billed, cancels, or does nothing until the deadline; in the last
two cases the account is closed again. The saga sleeps for weeks, through restarts, and costs
nothing while it does. Run it: python examples/subscription.py
"""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta

from amends import Context, Orchestrator, Resource, Saga, pivot, sleep, step, wait_for


@dataclass(frozen=True)
class Trial:
    email: str
    remind_after: timedelta = timedelta(days=27)


@dataclass(frozen=True)
class Account:
    number: str


@dataclass(frozen=True)
class Confirmation:
    plan: str


@dataclass
class Backend:
    """A pretended backend: accounts, mails and bills, by key."""

    accounts: dict[str, Account] = field(default_factory=dict[str, Account])
    mails: dict[str, str] = field(default_factory=dict[str, str])
    bills: dict[str, str] = field(default_factory=dict[str, str])

    async def open_account(self, email: str, *, key: str) -> Account:
        return self.accounts.setdefault(key, Account(f"account of {email}"))

    async def close_account(self, *, key: str) -> None:
        self.accounts.pop(key, None)

    async def mail(self, text: str, *, key: str) -> None:
        self.mails[key] = text

    async def bill(self, plan: str, *, key: str) -> None:
        self.bills[key] = plan


# The saga.


@step
async def open_account(trial: Trial, backend: Resource[Backend], ctx: Context) -> Account:
    return await backend.open_account(trial.email, key=ctx.key)


@open_account.compensation
async def close_account(backend: Resource[Backend], ctx: Context) -> None:
    await backend.close_account(key=ctx.action_key)


@step
async def remind(trial: Trial, backend: Resource[Backend], ctx: Context) -> None:
    await backend.mail(f"{trial.email}: your trial ends in three days", key=ctx.key)


@remind.compensation
async def say_goodbye(trial: Trial, backend: Resource[Backend], ctx: Context) -> None:
    await backend.mail(f"{trial.email}: your trial is over, there is nothing to pay", key=ctx.key)


confirmation = wait_for("confirmation", Confirmation)  # without a timeout: the deadline is the saga's


@step
async def start_billing(confirmation: Confirmation, backend: Resource[Backend], ctx: Context) -> None:
    await backend.bill(confirmation.plan, key=ctx.key)


run_trial = Saga(
    "run-trial",
    open_account,
    sleep(lambda trial: trial.remind_after),
    remind,
    confirmation,
    pivot,
    start_billing,
    input=Trial,
    output=open_account,
    deadline=timedelta(days=30),
)

# Where it runs.

BACKEND = Backend()


def the_backend() -> Backend:
    return BACKEND


orchestrator = Orchestrator("sqlite:///trials.db", sagas=[run_trial], resources=[the_backend])


async def main() -> None:
    soon = timedelta(seconds=0.2)
    async with orchestrator:
        ann = await orchestrator.start(run_trial, Trial("ann@example.org", soon))
        bob = await orchestrator.start(run_trial, Trial("bob@example.org", timedelta(days=27)))
        await orchestrator.signal(ann.saga_id, confirmation, Confirmation("yearly"))  # kept until it is waited for
        await orchestrator.cancel(bob.saga_id, reason="bob has lost interest")
        print(f"ann: {await ann.outcome()}")
        print(f"bob: {await bob.outcome()}")
    print(f"accounts: {list(BACKEND.accounts.values())}, mails: {list(BACKEND.mails.values())}")


if __name__ == "__main__":
    asyncio.run(main())
