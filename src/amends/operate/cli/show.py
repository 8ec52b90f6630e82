"""`amends show`: one saga, told so that a person understands what happened and what to do.

Guarantees: reads once, then prints; nothing is held open meanwhile.
Must not: act.
"""

from __future__ import annotations

import asyncio

import click
from rich.console import Console
from rich.text import Text

from amends.define.program import Program
from amends.errors import UnknownSaga
from amends.operate import as_json
from amends.operate.cli.desk import desk
from amends.operate.cli.flow import strokes_of
from amends.operate.cli.next_steps import command_of, next_steps
from amends.operate.cli.output import clock, console, emit_json, heading, print_table, value, when, word
from amends.operate.cli.place import Place
from amends.operate.cli.verb import Verb, json_option, place_options, user
from amends.operate.homes import HomeOperations
from amends.operate.values import Line, SagaView, StepLine

HISTORY_LINES = 200
STEP_LINES = 60
NEXT_STEPS = 3  # of very many stuck steps, those whose commands are printed


@click.command(
    "show",
    cls=Verb,
    help="Show one saga: where it stands, every step, what happened and why; for one that waits for a person, also "
    "the next commands to paste. Times are UTC.",
    examples=[
        "amends show order-42",
        "amends show order-42 --all --database=sqlite:///orders.db",
        "amends show order-42 --json | jq .steps",
        "amends show order-42 --app=orders:app   # a choreographed one, at its home",
        "amends show order-42 --reveal   # also what is marked as secret",
    ],
)
@click.argument("saga_id", metavar="ID")
@click.option("--all", "everything", is_flag=True, help="Every step and the whole history, however long they are.")
@click.option("--reveal", is_flag=True, help="Show fields that are marked as secret; that is logged.")
@place_options
@json_option
def show(saga_id: str, everything: bool, reveal: bool, as_json: bool, **given: str | None) -> None:
    place = Place(**given)
    view, program = asyncio.run(_read(place, saga_id, reveal=reveal))
    if as_json:
        emit_json(json_of(view, place, program))
        return
    out = console()
    print_head(out, view)
    print_steps(out, view, None if everything else STEP_LINES)
    print_history(out, view.history if everything else view.history[-HISTORY_LINES:], len(view.history))
    print_next(out, view, place, program)


async def _read(place: Place, saga_id: str, *, reveal: bool) -> tuple[SagaView, Program | None]:
    async with desk(place) as found:
        view = await found.show(saga_id, reveal=reveal, reader=user())
        if isinstance(found, HomeOperations):
            return view, await found.program(saga_id)
        try:
            loaded = await found.session.store.load(saga_id)
            program = None if loaded is None else found.session.program_of(loaded)
        except UnknownSaga:
            program = None
        return view, program


def json_of(view: SagaView, place: Place, program: Program | None) -> dict[str, object]:
    """A saga for scripts."""
    return as_json.view(view, lambda act: command_of(act, view.line, place, program))


def print_head(out: Console, view: SagaView) -> None:
    """What it is and where it stands."""
    line = view.line
    out.print(Text.assemble(word(line.id, "bold"), "  ", word(line.saga, ""), "  ", word(line.status)))
    facts = [("started", when(line.started_at)), ("changed", when(line.changed_at)), ("input", value(view.input))]
    if line.status == "completed" and view.result is not None:
        facts.append(("result", value(view.result)))
    if view.state.deadline is not None:
        facts.append(("deadline", when(view.state.deadline)))
    if line.reason:
        facts.append(("reason", line.reason))
    if line.stalled:
        facts.append(("stalled", f"{line.stalled}; it goes on when a worker with a fitting definition comes"))
    if line.stranded:
        facts.append(("stranded", line.stranded))
    if line.stuck and line.stuck != line.reason:
        facts.append(("stuck", line.stuck))
    if line.silent:
        facts.append(("silent", line.silent))
    if line.home and not line.holder:
        there = "act there, with --app=MODULE:NAME of its participant"
        facts.append(("home", f"{line.home}: choreographed, and only watched here; {there}"))
    elif line.home:
        facts.append(("home", f"{line.home}: choreographed; what follows is what its home was told last"))
        facts.append(("holder", line.holder))
    if line.due_at is not None:
        facts.append(("due", when(line.due_at)))
    if line.worker is not None:
        facts.append(("worker", str(line.worker)))
    if line.assigned:
        facts.append(("assigned", line.assigned))
    if line.note:
        facts.append(("note", line.note))
    facts.append(("version", str(line.version)))
    if view.waiting_mail:
        facts.append(("mail", f"{view.waiting_mail} not answered yet; {_who_answers(view)}"))
    for name, text in facts:
        out.print(Text.assemble((f"  {name:<9}", "dim"), word(text, "")))


def _who_answers(view: SagaView) -> str:
    if view.line.stalled or view.line.stranded:
        return "kept until a worker comes that can run the saga"
    return "a worker answers"


def print_steps(out: Console, view: SagaView, limit: int | None) -> None:
    """The steps with their status, `limit` of them, and what is not settled."""
    told = view.steps if limit is None or len(view.steps) <= limit else [s for s in view.steps if _stands_out(s)]
    arrow = strokes_of(out).arrow
    rows = [
        (
            word(f"  {step.address}", ""),
            word(f"{step.kind} {arrow} {step.contract}" if step.contract else step.kind, "dim"),
            word(step.status),
            str(step.undo_attempts or step.attempts or ""),
            word(_note(step), ""),
        )
        for step in told[:limit]
    ]
    out.print()
    print_table(out, ("  step", "kind", "status", "attempts", "what is known"), rows)
    _more(out, len(view.steps), len(rows))
    if view.unsettled:
        out.print(heading("Not settled"))
        for entry in view.unsettled[:limit]:
            undo = f", undo {entry.undo}" if entry.undo else ""
            out.print(word(f"  {entry.step}: action {entry.action}{undo}. {entry.reason}".rstrip(), ""))
        _more(out, len(view.unsettled), limit)
    if view.line.status == "parked" and view.not_reached:
        out.print(word(f"Never started: {', '.join(view.not_reached)}", ""))
    if view.closed:
        out.print(word(f"Settled by hand: {', '.join(view.closed)}", ""))


def _stands_out(step: StepLine) -> bool:
    """Whether a step is told where there are very many: an item that went its usual way is not."""
    return not step.address.endswith("]") or step.status not in ("pending", "succeeded", "compensated")


def _more(out: Console, count: int, limit: int | None) -> None:
    if limit is not None and count > limit:
        out.print(word(f"  … {count - limit} more; --all shows them", "dim"))


def _note(step: StepLine) -> str:
    parts: list[str] = []
    if step.undo and step.undo != step.status:
        parts.append(step.action)
    elif step.undo:
        parts.append(f"the action {'was unknown' if step.action == 'unknown' else f'had {step.action}'}")
    if step.round > 1:
        parts.append(f"round {step.round}")
    if step.items:
        parts.append(", ".join(f"{count} {status}" for status, count in step.items))
    if step.reason:
        parts.append(step.reason)
    if step.due_at is not None:
        parts.append(f"until {when(step.due_at)}")
    if step.result not in (None, b"null") and step.kind in ("step", "wait"):
        parts.append(value(step.result, 120))
    return "; ".join(parts)


def print_history(out: Console, lines: tuple[Line, ...], total: int) -> None:
    """What happened, oldest first."""
    out.print()
    out.print(heading("History (UTC)"))
    if len(lines) < total:
        out.print(word(f"  … {total - len(lines)} older lines; --all shows them", "dim"))
    for line in lines:
        out.print(history_text(line))


def history_text(line: Line) -> Text:
    """One line of a history."""
    made = Text.assemble(word(f"  {clock(line.at)}  ", "dim"), word(line.text, line.tone))
    if line.actor and line.event not in ("operated", "refused", "assigned", "noted"):
        made.append_text(word(f" (from {line.actor})", "person"))
    if line.value is not None:
        made.append_text(word(f"  {value(line.value)}", "dim"))
    return made


def print_next(out: Console, view: SagaView, place: Place, program: Program | None) -> None:
    """The next commands, for a saga that waits for somebody."""
    steps = next_steps(view, place, program)
    if not steps or not (view.line.status == "parked" or view.line.stuck or view.line.status == "running"):
        return
    if view.line.status != "parked" and not view.line.stuck:
        steps = [step for step in steps if step.act.verb == "signal"]
        if not steps:
            return
    out.print()
    out.print(heading("What you can do now"))
    names = list(dict.fromkeys(step.act.step for step in steps if step.act.step))
    if len(names) > NEXT_STEPS:
        others = ", ".join(names[NEXT_STEPS:])
        out.print(word(f"  # for {names[0]} and {NEXT_STEPS - 1} others; the same goes for {others}", "dim"))
    for step in steps:
        if step.act.step in names[NEXT_STEPS:]:
            continue
        out.print(word(f"  # {step.what}", "dim"))
        out.print(word(f"  {step.command}", ""), soft_wrap=True)
