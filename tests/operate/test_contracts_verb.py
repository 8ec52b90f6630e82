"""`amends contracts`: from a module of contracts to a table, schemas, AsyncAPI, and a check before a release."""

from __future__ import annotations

import json

import pytest
from shop_floor import Floor

CONTRACTS = """
from dataclasses import dataclass
from amends import Orchestrator, Participant, Saga, Service

@dataclass(frozen=True)
class ReserveStock:
    sku: str

@dataclass(frozen=True)
class Reservation:
    ref: str

inventory = Service("inventory")
reserve_stock = inventory.command("reserve-stock", ReserveStock, reply=Reservation)
count_stock = inventory.command("count-stock", ReserveStock, reply=int, readonly=True)
forget = inventory.command("forget", ReserveStock, compensation=False)
gone = inventory.event("gone", ReserveStock, key=lambda event: event.sku)
came = inventory.event("came", ReserveStock)
number = 3
app = Participant(inventory)

@reserve_stock.request
def ask_for_stock(order: str) -> ReserveStock:
    return ReserveStock(order)

buy = Saga("buy", ask_for_stock, input=str)
orchestrator = Orchestrator("sqlite:///orders.db", sagas=[buy])
"""


@pytest.fixture
def shop(floor: Floor) -> Floor:
    """A project with contracts."""
    (floor.directory / "contracts.py").write_text(CONTRACTS)
    (floor.directory / "empty.py").write_text("number = 3\n")
    return floor


def test_a_module_s_contracts_are_a_table(shop: Floor) -> None:
    assert shop.ok("contracts", "contracts", "--prefix=test").out == (
        "CONTRACT                 KIND                       SENT          REPLY        AT THE BROKER\n"
        "inventory.came           event                      ReserveStock               test.inventory.events\n"
        "inventory.count-stock    readonly command           ReserveStock  int          test.inventory.commands\n"
        "inventory.forget         command                    ReserveStock  None         test.inventory.commands\n"
        "inventory.gone           event, in order per key    ReserveStock               test.inventory.events\n"
        "inventory.reserve-stock  command with compensation  ReserveStock  Reservation  test.inventory.commands\n"
    )


@pytest.mark.parametrize("target", ["contracts:orchestrator", "contracts:buy"])
def test_those_that_sagas_ask_for_are_shown_too(shop: Floor, target: str) -> None:
    assert shop.ok("contracts", target, "--json").data == [
        {
            "contract": "inventory.reserve-stock",
            "service": "inventory",
            "kind": "command",
            "sent": "ReserveStock",
            "reply": "Reservation",
            "compensation": True,
            "readonly": False,
            "keyed": False,
            "address": "amends.inventory.commands",
        }
    ]


@pytest.mark.parametrize("name", ["inventory", "app", "gone", "reserve_stock"])
def test_all_of_a_service_is_shown_by_itself_and_by_what_is_its(shop: Floor, name: str) -> None:
    assert len(shop.ok("contracts", f"contracts:{name}", "--json").data) == 5


def test_what_else_is_in_a_module_is_left_alone(shop: Floor) -> None:
    with (shop.directory / "contracts.py").open("a") as source:
        source.write(
            "class Proxy:\n    def __getattr__(self, name: str) -> None:\n        raise RuntimeError(name)\n"
            "proxy = Proxy()\n"
        )

    assert len(shop.ok("contracts", "contracts", "--json").data) == 5


def test_schemas_are_printed_for_scripts(shop: Floor) -> None:
    told = shop.ok("contracts", "contracts", "--json-schema").data

    assert told["inventory.count-stock"]["reply"]["type"] == "integer"
    assert told["inventory.count-stock"]["readonly"] is True
    assert told["inventory.gone"]["event"]["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_asyncapi_is_printed_for_the_broker_that_is_named(shop: Floor) -> None:
    told = shop.ok("contracts", "contracts", "--asyncapi", "--broker=nats", "--title=Shop", "--prefix=test").data

    assert (told["asyncapi"], told["info"]) == ("3.0.0", {"title": "Shop", "version": "1"})
    assert told["channels"]["inventory.commands"]["address"] == "test.inventory.commands"
    assert "ce-amendssaga" in json.dumps(told)


def test_a_change_that_breaks_something_is_told_before_the_release(shop: Floor) -> None:
    stored = shop.directory / "stored.json"
    stored.write_text(shop.ok("contracts", "contracts", "--json-schema").out)
    same = shop.amends("contracts", "contracts", "--check", str(stored))
    changed = json.loads(stored.read_text())
    changed["inventory.count-stock"]["reply"]["type"] = "string"
    del changed["inventory.came"]
    stored.write_text(json.dumps(changed))

    result = shop.amends("contracts", "contracts", "--check", str(stored))

    assert same.code == 0
    assert same.out == "5 contracts, and nothing that older or newer programs would not understand; 0 new\n"
    assert result.code == 10
    assert result.out == "inventory.count-stock, reply: it was string and is integer\n"


@pytest.mark.parametrize(
    "text", ["", "[]", '{"a.b": 3}', '{"a.b": {}}', '{"inventory.gone": {"event": {"$ref": "#/x"}}}']
)
def test_what_was_never_printed_is_nothing_to_compare_with(shop: Floor, text: str) -> None:
    stored = shop.directory / "stored.json"
    stored.write_text(text)

    result = shop.amends("contracts", "contracts", "--check", str(stored))

    assert result.code == 2
    assert "that is not what --json-schema prints" in result.err


WRONG = [
    (("nothing",), "there is no module 'nothing' here"),
    (("empty",), "'empty' has no contracts: it knows no service, and no saga of it asks one"),
    (("contracts:number",), "'contracts:number' has no contracts"),
    (("contracts:inventry",), "did you mean contracts:inventory? there is: contracts:inventory (a service)"),
    (("contracts.py",), "names a file; name the module: contracts:"),
    (("contracts", "--prefix=a b"), "prefix='a b'"),
    (("contracts", "--asyncapi", "--prefix=a b"), "prefix='a b'"),
    (("contracts", "--asyncapi", "--json"), "exclude each other"),
    (("contracts", "--asyncapi", "--json-schema"), "exclude each other"),
    (("contracts", "--asyncapi", "--broker=zeromq"), "'zeromq' is not one of"),
    (("contracts", "--check=nothing.json"), "nothing.json cannot be read: No such file or directory"),
    ((), "Missing argument"),
]


@pytest.mark.parametrize(("words", "said"), WRONG)
def test_what_is_wrong_is_a_usage_error_that_helps(shop: Floor, words: tuple[str, ...], said: str) -> None:
    result = shop.amends("contracts", *words)

    assert (result.code, said in result.err, "Traceback" in result.err) == (2, True, False), result
