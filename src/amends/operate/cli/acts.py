"""The acts of a person: signal, cancel, retry, skip, resolve, compensate, unpark, assign, note.

Guarantees: each is a mail to the saga, answered by whoever decides; what is printed is the answer.
Must not: judge whether an act is allowed; the saga does.
"""

from __future__ import annotations

from typing import Any

import click

from amends.operate.cli.how import About, How, act_options
from amends.operate.cli.inputs import payload_of
from amends.operate.cli.verb import Verb, reason_option

_KEPT = (
    "The act is kept in the saga's mailbox and answered by the worker that has the saga; without a worker it ends with "
    "the exit code 9 after --timeout, and is done when a worker comes. Of a choreographed saga, --app names the "
    "participant of its home, the service that started it: the act is kept there, travels to the service that has the "
    "saga, and is answered by that."
)
_saga_argument = click.argument("saga_id", metavar="ID")
_step_argument = click.argument("step")


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
@act_options
def signal(saga_id: str, name: str, value: str, how: How) -> None:
    payload = payload_of(value, f"the value of the signal {name}")
    about = About(saga_id, "signal", name, {"result": payload})
    how.do(about, lambda found: found.signal(saga_id, name, payload, **how.said))


@click.command(
    "cancel",
    cls=Verb,
    help=f"Have a saga go back and undo what it did, if it has not passed its pivot. {_KEPT}",
    examples=[
        "amends cancel order-42 --reason 'the customer called'",
        "amends cancel order-42 --reason 'the customer called' --dry-run   # what would be undone",
    ],
)
@_saga_argument
@reason_option
@act_options
def cancel(saga_id: str, reason: str, how: How) -> None:
    how.do(About(saga_id, "cancel"), lambda found: found.cancel(saga_id, reason=reason, **how.said))


@click.command(
    "retry",
    cls=Verb,
    help="Have a stuck or unknown step, or its undo, tried again now. --with changes what it is asked, from here on "
    "and under new keys: of a step that a service does it is the command, of another an object of the parameters that "
    f"are to be others. That is refused while an earlier attempt may have had its effect. {_KEPT}",
    examples=[
        "amends retry order-42 charge_card --reason 'the bank is back'",
        """amends retry order-42 ship --with '{"order": {"sku": "tea", "street": "Quay 1"}}' --reason 'wrong street'""",
        """amends retry order-42 ship --with '{"sku": "tea"}' --nothing-stayed --reason 'the depot has none'""",
    ],
)
@_saga_argument
@_step_argument
@click.option("--with", "arguments", metavar="JSON", help="What the step is asked instead; '-' reads it from stdin.")
@click.option(
    "--nothing-stayed",
    is_flag=True,
    help="With --with: you have found out that no earlier attempt had its effect; --reason is the evidence.",
)
@reason_option
@act_options
def retry(saga_id: str, step: str, arguments: str | None, nothing_stayed: bool, reason: str, how: How) -> None:
    if nothing_stayed and arguments is None:
        raise click.UsageError("--nothing-stayed goes with --with; without it the step is tried again as it was")
    changed = None if arguments is None else payload_of(arguments, f"the arguments of {step}")
    rest: dict[str, Any] = {"arguments": changed, "nothing_stayed": nothing_stayed}
    how.do(
        About(saga_id, "retry", step, rest),
        lambda found: found.retry(saga_id, step, reason=reason, **rest, **how.said),
    )


@click.command(
    "skip",
    cls=Verb,
    help="Settle a step, or its undo, as it is: whatever it did or did not do stays, and the saga goes on. The reason "
    f"is the evidence that this is right. {_KEPT}",
    examples=["amends skip order-42 'erase[17]' --reason 'the record was gone already, see ticket 812'"],
)
@_saga_argument
@_step_argument
@reason_option
@act_options
def skip(saga_id: str, step: str, reason: str, how: How) -> None:
    how.do(About(saga_id, "skip", step), lambda found: found.skip(saga_id, step, reason=reason, **how.said))


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
@reason_option
@act_options
def resolve(saga_id: str, step: str, result: str | None, reason: str, how: How) -> None:
    payload = None if result is None else payload_of(result, f"the result of {step}")
    how.do(
        About(saga_id, "resolve", step, {"result": payload}),
        lambda found: found.resolve(saga_id, step, reason=reason, result=payload, **how.said),
    )


@click.command(
    "compensate",
    cls=Verb,
    help="Have a saga go back and undo what it did. Of a parked saga whose pivot is in doubt this says that the pivot "
    f"did not happen: find that out first. {_KEPT}",
    examples=[
        "amends compensate order-42 --reason 'the bank says the charge never came'",
        "amends compensate order-42 --reason 'the bank says the charge never came' --if-version 7 --dry-run",
    ],
)
@_saga_argument
@reason_option
@act_options
def compensate(saga_id: str, reason: str, how: How) -> None:
    how.do(About(saga_id, "compensate"), lambda found: found.compensate(saga_id, reason=reason, **how.said))


@click.command(
    "unpark",
    cls=Verb,
    help=f"Have everything that is stuck in a parked saga tried again. {_KEPT}",
    examples=["amends unpark order-42 --reason 'the credentials are renewed'"],
)
@_saga_argument
@reason_option
@act_options
def unpark(saga_id: str, reason: str, how: How) -> None:
    how.do(About(saga_id, "unpark"), lambda found: found.unpark(saga_id, reason=reason, **how.said))


@click.command(
    "assign",
    cls=Verb,
    help="Say who sees to a saga: you, where nobody is named. It is in the saga's history, in `list` and `show`, and "
    f"moves nothing in it. {_KEPT}",
    examples=[
        "amends assign order-42",
        "amends assign order-42 ada --reason 'knows the bank'",
        "amends assign order-42 --nobody --reason 'my shift is over'",
    ],
)
@_saga_argument
@click.argument("person", required=False)
@click.option("--nobody", is_flag=True, help="Nobody sees to it any more.")
@click.option("--reason", default="", help="Why, for the saga's history.")
@act_options
def assign(saga_id: str, person: str | None, nobody: bool, reason: str, how: How) -> None:
    if nobody and person is not None:
        raise click.UsageError("either a person or --nobody")
    who = "" if nobody else how.actor if person is None else person
    how.do(About(saga_id, "assign"), lambda found: found.assign(saga_id, who, reason=reason, **how.said))


@click.command(
    "note",
    cls=Verb,
    help="Leave a note for whoever looks at a saga next: it is in the saga's history, and moves nothing in it. The "
    f"last one stands in `list` and `show`. {_KEPT}",
    examples=["amends note order-42 'the bank calls back at nine'"],
)
@_saga_argument
@click.argument("text")
@act_options
def note(saga_id: str, text: str, how: How) -> None:
    how.do(About(saga_id, "note"), lambda found: found.note(saga_id, text, **how.said))
