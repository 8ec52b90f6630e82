"""`amends contracts`: what services can be asked for and what they tell, for people and for tools.

Guarantees: needs the code only: no broker and no database.
Must not: run anything.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from amends.define.hints import shown
from amends.errors import TransportRefused
from amends.operate.cli.app import AppError, object_of
from amends.operate.cli.exits import Exit
from amends.operate.cli.output import console, emit_json, print_table, word
from amends.operate.cli.verb import Verb, json_option
from amends.operate.contracts import Contract, contracts_in, document
from amends.operate.contracts_asyncapi import Options, asyncapi
from amends.operate.contracts_check import broken
from amends.operate.contracts_headers import BROKERS
from amends.transport.names import PREFIX, at_broker, check_prefix, commands_of, events_of


@click.command(
    "contracts",
    cls=Verb,
    help="Show the contracts of services: of a module, a service, a participant, an orchestrator or a saga. "
    "--json-schema prints them as one JSON document with a JSON Schema for each type, --asyncapi as an AsyncAPI 3.0 "
    "document. --check compares them with an earlier --json-schema and ends with "
    f"{int(Exit.TROUBLE)} if older programs would not understand newer ones, or newer ones older ones.",
    examples=[
        "amends contracts shop.contracts",
        "amends contracts shop:orchestrator --json",
        "amends contracts shop.contracts --json-schema > contracts.json",
        "amends contracts shop.contracts --check contracts.json",
        "amends contracts shop.contracts --asyncapi --broker=rabbitmq > asyncapi.json",
    ],
)
@click.argument("target", metavar="MODULE[:NAME]")
@click.option("--json-schema", "schemas", is_flag=True, help="Print a JSON Schema (draft 2020-12) for each type.")
@click.option("--asyncapi", "as_asyncapi", is_flag=True, help="Print an AsyncAPI 3.0 document.")
@click.option(
    "--check",
    "stored",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Compare with what --json-schema printed before.",
)
@click.option("--prefix", default=PREFIX, show_default=True, help="Of names at the broker, as in its URL.")
@click.option(
    "--broker",
    type=click.Choice(list(BROKERS)),
    default="kafka",
    show_default=True,
    help="Whose headers and bindings --asyncapi describes.",
)
@click.option("--title", default="", show_default="the services", help="Of the AsyncAPI document.")
@click.option("--api-version", default="1", show_default=True, help="Of the AsyncAPI document.")
@json_option
def contracts(target: str, schemas: bool, as_asyncapi: bool, stored: Path | None, as_json: bool, **given: str) -> int:
    if schemas + as_asyncapi + as_json + (stored is not None) > 1:
        raise click.UsageError("--json, --json-schema, --asyncapi and --check exclude each other")
    found = contracts_in(object_of(target))
    if not found:
        raise AppError(f"{target!r} has no contracts: it knows no service, and no saga of it asks one")
    options = Options(given["prefix"], given["broker"], given["title"], given["api_version"])
    try:
        check_prefix(options.prefix)
        if stored is not None:
            return _check(stored, document(found))
        if schemas:
            emit_json(document(found))
        elif as_asyncapi:
            emit_json(asyncapi(found, options))
        elif as_json:
            emit_json([_shape(contract, options.prefix) for contract in found])
        else:
            _print(found, options.prefix)
    except TransportRefused as error:
        raise click.UsageError(str(error)) from None
    return Exit.OK


def _check(stored: Path, now: dict[str, Any]) -> int:
    try:
        old = json.loads(stored.read_text())
        if not isinstance(old, dict):
            raise ValueError("an object is expected")
        changes = broken(old, now)
    except OSError as error:
        raise click.UsageError(f"{stored} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise click.UsageError(f"{stored}: that is not what --json-schema prints: {error}") from None
    out = console()
    for change in changes:
        out.print(word(change, "bad"))
    if changes:
        return Exit.TROUBLE
    new = len(now.keys() - old.keys())
    out.print(f"{len(old)} contracts, and nothing that older or newer programs would not understand; {new} new")
    return Exit.OK


def _print(found: list[Contract], prefix: str) -> None:
    rows = [
        (
            contract.type,
            _kind(contract),
            shown(contract.sent.type),
            "" if contract.replied is None else shown(contract.replied.type),
            _address(contract, prefix),
        )
        for contract in found
    ]
    print_table(console(), ("contract", "kind", "sent", "reply", "at the broker"), rows)


def _kind(contract: Contract) -> str:
    if contract.is_event:
        return "event, in order per key" if contract.keyed else "event"
    if contract.readonly:
        return "readonly command"
    return "command with compensation" if contract.undoable else "command"


def _address(contract: Contract, prefix: str) -> str:
    source = events_of(contract.service) if contract.is_event else commands_of(contract.service)
    return at_broker(prefix, source)


def _shape(contract: Contract, prefix: str) -> dict[str, Any]:
    return {
        "contract": contract.type,
        "service": contract.service,
        "kind": "event" if contract.is_event else "command",
        "sent": shown(contract.sent.type),
        "reply": None if contract.replied is None else shown(contract.replied.type),
        "compensation": contract.undoable,
        "readonly": contract.readonly,
        "keyed": contract.keyed,
        "address": _address(contract, prefix),
    }
