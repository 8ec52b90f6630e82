"""Finding the user's code: every wrong spelling gets an error that says what is there."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
from shop_floor import TEA, Floor

CANDIDATES = "there is: shop:orchestrator (an orchestrator), shop:place_order (a saga), shop:trip (a saga)"
WRONG = [
    ("shopp:place_order", "there is no module 'shopp' here"),
    ("shop.orders:place_order", "there is no module 'shop.orders' here"),
    ("shop:plce_order", "shop has no 'plce_order'; did you mean shop:place_order? " + CANDIDATES),
    ("shop:nothing", "shop has no 'nothing'; " + CANDIDATES),
    ("shop:", "module:name is expected; " + CANDIDATES),
    ("shop:Order", "'shop:Order' is a type, not an Orchestrator or a Saga; " + CANDIDATES),
    ("shop:reserve_stock", "'shop:reserve_stock' is a Step, not an Orchestrator or a Saga; " + CANDIDATES),
    ("shop:NAP", "'shop:NAP' is a float, not an Orchestrator or a Saga"),
    ("shop.py:place_order", "names a file; name the module: shop:place_order"),
    ("./shop.py:place_order", "names a file; name the module: shop:place_order"),
    ("a/b.py:x", "names a file; name the module: a.b:x"),
    ("shop:orchestrator.nothing", "shop has no 'orchestrator.nothing'"),
    ("sh op:x", "name what to run"),
    ("empty:x", "empty has no 'x'; empty has no orchestrator and no saga"),
    ("broken:x", "importing broken failed: ZeroDivisionError: division by zero ("),
    ("needy:x", "importing needy failed: No module named 'not_installed_at_all'"),
    ("leaver:x", "importing leaver failed: SystemExit: 3"),
    ("wrong:x", "importing wrong failed: DefinitionError: "),
]


@pytest.mark.parametrize(("target", "said"), WRONG)
def test_a_wrong_spelling_is_a_usage_error_that_helps(floor: Floor, target: str, said: str) -> None:
    (floor.directory / "empty.py").write_text("")
    (floor.directory / "broken.py").write_text("\n1 / 0\n")
    (floor.directory / "needy.py").write_text("import not_installed_at_all\n")
    (floor.directory / "leaver.py").write_text("raise SystemExit(3)\n")
    (floor.directory / "wrong.py").write_text("from amends import Saga\nx = Saga('x', input=int)\n")

    result = floor.amends("run", target, TEA)

    assert result.code == 2
    assert said in result.err
    assert "Traceback" not in result.err


def test_an_error_in_the_users_module_names_its_line(floor: Floor) -> None:
    (floor.directory / "broken.py").write_text("\n1 / 0\n")

    result = floor.amends("worker", "broken:orchestrator")

    assert f"({floor.directory}/broken.py, line 2)" in result.err


def test_a_saga_runs_on_the_only_orchestrator_of_its_module_that_lists_it(floor: Floor) -> None:
    floor.ok("run", "shop:place_order", TEA, "--id=order-1")

    assert floor.ok("show", "order-1", "--database=sqlite:///orders.db", "--json").data["status"] == "completed"


def test_a_resource_that_does_not_open_is_named(floor: Floor) -> None:
    with (floor.directory / "shop.py").open("a") as source:
        source.write(
            "def the_bank() -> int:\n"
            "    raise OSError('no route to the bank')\n"
            "bankrupt = Orchestrator('sqlite:///bankrupt.db', sagas=[place_order], resources=[the_bank])\n"
        )

    result = floor.amends("run", "shop:bankrupt", "place-order", TEA)

    assert result.code == 1
    assert "OSError: no route to the bank (while the resource the_bank was opened). " in result.err


def test_a_saga_that_two_orchestrators_list_needs_one_named(floor: Floor) -> None:
    with (floor.directory / "shop.py").open("a") as source:
        source.write("second = Orchestrator('sqlite:///second.db', sagas=[place_order])\n")

    result = floor.amends("run", "shop:place_order", TEA)
    named = floor.amends("run", "shop:second", "place-order", TEA)

    assert result.code == 2
    assert "shop:orchestrator place-order or shop:second place-order" in result.err
    assert named.code == 0


def test_one_orchestrator_under_two_names_is_one(floor: Floor) -> None:
    with (floor.directory / "shop.py").open("a") as source:
        source.write("app = orchestrator\n")

    assert floor.amends("run", "shop:place_order", TEA).code == 0


def test_an_orchestrator_needs_a_sagas_name(floor: Floor) -> None:
    missing = floor.amends("run", "shop:orchestrator", TEA)
    wrong = floor.amends("run", "shop:orchestrator", "place_order", TEA)
    double = floor.amends("run", "shop:place_order", "trip", TEA)

    assert (missing.code, wrong.code, double.code) == (2, 6, 2)
    assert "which saga of 'shop:orchestrator'? It knows: place-order, trip" in missing.err
    assert "no saga is called 'place_order'; this orchestrator knows: place-order, trip" in wrong.err
    assert "is the saga 'place-order' already; leave 'trip' out" in double.err


def test_a_saga_that_no_orchestrator_lists_runs_in_memory_and_says_so_unless_it_completes(floor: Floor) -> None:
    result = floor.amends("run", "shop:alone", TEA)
    with (floor.directory / "shop.py").open("a") as source:
        source.write("lonely = Saga('lonely', reserve_stock, charge_card, input=Order)\n")
    fresh = floor.process("run", "shop:lonely", '{"sku": "declined"}')

    assert result.code == 0
    assert result.err == ""
    ended = floor.ended(fresh)
    assert ended.code == 3
    assert "kept in memory only and is gone now" in ended.err
    assert list(floor.directory.glob("*.db*")) == []


def test_a_saga_that_no_orchestrator_lists_is_kept_where_a_database_is_named(floor: Floor) -> None:
    here = "--database=sqlite:///mine.db"

    assert floor.amends("run", "shop:alone", TEA, "--id=a", here).code == 0
    assert floor.ok("list", here, "--json").data["sagas"][0]["saga"] == "alone"


def test_to_start_a_saga_that_no_orchestrator_lists_a_database_is_needed(floor: Floor) -> None:
    result = floor.amends("start", "shop:alone", TEA)

    assert result.code == 2
    assert "say where it is to be kept: --database=sqlite:///…" in result.err


def test_the_database_of_the_command_line_wins_over_the_apps(floor: Floor) -> None:
    floor.ok("run", "shop:place_order", TEA, "--id=order-1", "--database=sqlite:///other.db")

    assert (floor.directory / "other.db").exists()
    assert not (floor.directory / "orders.db").exists()


def test_the_apps_database_wins_over_the_environments(floor: Floor, monkeypatch: pytest.MonkeyPatch) -> None:
    floor.order("order-1")
    monkeypatch.setenv("AMENDS_DATABASE", "sqlite:///nowhere.db")

    assert floor.amends("list").code == 7
    assert floor.ok("list", "--app=shop:orchestrator", "--json").data["sagas"][0]["id"] == "order-1"


def test_a_worker_of_an_app_variable_needs_no_name(floor: Floor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMENDS_APP", "shop:orchestrator")

    assert floor.amends("run", "place-order", TEA, "--id=order-1").code == 0
    assert floor.amends("graph").code == 0


def test_a_namespace_sees_nothing_of_another(floor: Floor) -> None:
    floor.ok("run", "shop:place_order", TEA, "--id=order-1", "--namespace=team-a")

    assert floor.ok("list", "--app=shop:orchestrator", "--json").data["sagas"] == []
    assert len(floor.ok("list", "--app=shop:orchestrator", "--namespace=team-a", "--json").data["sagas"]) == 1


def test_django_is_set_up_where_its_settings_are_named(floor: Floor, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []
    django = ModuleType("django")
    django.setup = lambda: called.append("setup")  # type: ignore[attr-defined]  # all that is asked of it
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "site.settings")
    monkeypatch.setitem(sys.modules, "django", None)
    without = floor.amends("graph", "shop:place_order")
    monkeypatch.setitem(sys.modules, "django", django)

    assert floor.amends("graph", "shop:place_order").code == 0
    assert without.code == 2
    assert "DJANGO_SETTINGS_MODULE is set, and Django is not installed here" in without.err
    assert called == ["setup"]
