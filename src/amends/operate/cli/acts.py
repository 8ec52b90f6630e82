"""The acts of a person: signal, cancel, retry, skip, resolve, compensate, unpark.

Guarantees: each is a mail to the saga, answered by whoever decides; what is printed is the answer.
Must not: judge whether an act is allowed; the saga does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import click

from amends.operate import as_json as shapes
from amends.operate.cli.desk import Desk, desk
from amends.operate.cli.inputs import payload_of
from amends.operate.cli.output import console, emit_json, word
from amends.operate.cli.place import Place
from amends.operate.cli.verb import (
    F,
    Verb,
    actor_option,
    json_option,
    place_options,
    reason_option,
    timeout_option,
)
from amends.operate.values import Answer

_KEPT = (
    "The act is kept in the saga's mailbox and answered by the worker that has the saga; without a worker it ends with "
    "the exit code 9 after --timeout, and is done when a worker comes. Of a choreographed saga, --app names the "
    "participant of its home, the service that started it: the act is kept there, travels to the service that has the "
    "saga, and is answered by that."
)
_saga_argument = click.argument("saga_id", metavar="ID")
_step_argument = click.argument("step")


def _act_options(command: F) -> F:
    """What every act of a person takes: why, who, how long to wait for the answer, and where the sagas are."""
    return reason_option(actor_option(timeout_option(place_options(json_option(command)))))


def _ask(place: Place, timeout: float, as_json: bool, act: Callable[[Desk], Awaitable[Answer]]) -> None:
    """Send an act and print its answer."""

    async def ask() -> Answer:
        async with desk(place, timeout) as found:
            return await act(found)

    answer = asyncio.run(ask())
    if as_json:
        emit_json(shapes.answer(answer))
        return
    about = f" {answer.step}" if answer.step else ""
    detail = f": {answer.detail}" if answer.detail else ""
    console().print(word(f"{answer.id}: {answer.verb}{about} accepted{detail}", "good"))


@click.command(
    "signal",
    cls=Verb,
    help="Send a value, as JSON, to a wait of a saga. One that comes before the saga waits for it is kept. "
    "'-' reads the value from stdin.",
    examples=[
        """amends signal trip-7 approval '{"granted": true}'""",
        "amends signal trip-7 approval - < answer.json",
        """amends signal trip-7 approval '{"granted": true}' --message-id=mail-981   # twice counts once""",
    ],
)
@_saga_argument
@click.argument("name")
@click.argument("value", metavar="JSON")
@click.option("--message-id", metavar="ID", help="The same id counts once, however often it is sent.")
@actor_option
@timeout_option
@place_options
@json_option
def signal(
    saga_id: str,
    name: str,
    value: str,
    message_id: str | None,
    actor: str,
    timeout: float,
    as_json: bool,
    **given: str | None,
) -> None:
    payload = payload_of(value, f"the value of the signal {name}")
    _ask(
        Place(**given),
        timeout,
        as_json,
        lambda found: found.signal(saga_id, name, payload, actor=actor, message=message_id),
    )


@click.command(
    "cancel",
    cls=Verb,
    help=f"Have a saga go back and undo what it did, if it has not passed its pivot. {_KEPT}",
    examples=["amends cancel order-42 --reason 'the customer called'"],
)
@_saga_argument
@_act_options
def cancel(saga_id: str, reason: str, actor: str, timeout: float, as_json: bool, **given: str | None) -> None:
    _ask(Place(**given), timeout, as_json, lambda found: found.cancel(saga_id, actor=actor, reason=reason))


@click.command(
    "retry",
    cls=Verb,
    help=f"Have a stuck or unknown step, or its undo, tried again now. {_KEPT}",
    examples=["amends retry order-42 charge_card --reason 'the bank is back'"],
)
@_saga_argument
@_step_argument
@_act_options
def retry(saga_id: str, step: str, reason: str, actor: str, timeout: float, as_json: bool, **given: str | None) -> None:
    _ask(Place(**given), timeout, as_json, lambda found: found.retry(saga_id, step, actor=actor, reason=reason))


@click.command(
    "skip",
    cls=Verb,
    help="Settle a step, or its undo, as it is: whatever it did or did not do stays, and the saga goes on. The reason "
    f"is the evidence that this is right. {_KEPT}",
    examples=["amends skip order-42 'erase[17]' --reason 'the record was gone already, see ticket 812'"],
)
@_saga_argument
@_step_argument
@_act_options
def skip(saga_id: str, step: str, reason: str, actor: str, timeout: float, as_json: bool, **given: str | None) -> None:
    _ask(Place(**given), timeout, as_json, lambda found: found.skip(saga_id, step, actor=actor, reason=reason))


@click.command(
    "resolve",
    cls=Verb,
    help="Say that a step, or its undo, was done by hand. --result is what the step would have returned, as JSON, for "
    f"the steps that read it. {_KEPT}",
    examples=[
        """amends resolve order-42 charge_card --result '{"receipt": "R-9"}' --reason 'booked by hand, see R-9'""",
        "amends resolve order-42 release_stock --reason 'put back on the shelf'",
    ],
)
@_saga_argument
@_step_argument
@click.option("--result", metavar="JSON", help="What the step would have returned; '-' reads it from stdin.")
@_act_options
def resolve(
    saga_id: str,
    step: str,
    result: str | None,
    reason: str,
    actor: str,
    timeout: float,
    as_json: bool,
    **given: str | None,
) -> None:
    payload = None if result is None else payload_of(result, f"the result of {step}")
    _ask(
        Place(**given),
        timeout,
        as_json,
        lambda found: found.resolve(saga_id, step, actor=actor, reason=reason, result=payload),
    )


@click.command(
    "compensate",
    cls=Verb,
    help="Have a saga go back and undo what it did. Of a parked saga whose pivot is in doubt this says that the pivot "
    f"did not happen: find that out first. {_KEPT}",
    examples=["amends compensate order-42 --reason 'the bank says the charge never came'"],
)
@_saga_argument
@_act_options
def compensate(saga_id: str, reason: str, actor: str, timeout: float, as_json: bool, **given: str | None) -> None:
    _ask(Place(**given), timeout, as_json, lambda found: found.compensate(saga_id, actor=actor, reason=reason))


@click.command(
    "unpark",
    cls=Verb,
    help=f"Have everything that is stuck in a parked saga tried again. {_KEPT}",
    examples=["amends unpark order-42 --reason 'the credentials are renewed'"],
)
@_saga_argument
@_act_options
def unpark(saga_id: str, reason: str, actor: str, timeout: float, as_json: bool, **given: str | None) -> None:
    _ask(Place(**given), timeout, as_json, lambda found: found.unpark(saga_id, actor=actor, reason=reason))
