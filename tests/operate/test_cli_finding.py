"""`amends list` with what narrows it, `amends list --group` and `amends workers`."""

from __future__ import annotations

from shop_floor import TEA, Floor

ORDERS = "--database=sqlite:///orders.db"


def ids(floor: Floor, *options: str) -> list[str]:
    """Who is listed."""
    return [saga["id"] for saga in floor.ok("list", ORDERS, "--json", *options).data["sagas"]]


def test_the_siblings_of_a_parked_saga_are_found_by_what_went_wrong(floor: Floor) -> None:
    floor.order("order-1")
    floor.order("order-2", "declined")
    for number in (3, 4):
        floor.park(f"order-{number}")

    shown = floor.ok("list", ORDERS, "--group")
    [group] = floor.ok("list", ORDERS, "--group", "--json").data["groups"]
    command = shown.err.splitlines()[0].removeprefix("All of the first: amends ").split()

    assert shown.out.splitlines()[0].split() == ["SAGAS", "ERROR", "SAGA", "STEP", "LAST", "(UTC)", "SUCH", "AS"]
    assert shown.out.splitlines()[1].split()[:4] == ["2", group["fingerprint"], "place-order", "charge_card"]
    assert shown.out.splitlines()[1].endswith("the bank does not answer")
    assert (group["count"], group["example"], group["reason"]) == (
        2,
        "order-4",
        "charge_card: the bank does not answer",
    )
    assert [line.split()[0] for line in floor.ok(*command).out.splitlines()[1:]] == ["order-4", "order-3"]
    assert ids(floor, "--step=charge_card") == ["order-4", "order-3"]
    assert ids(floor, "--step=charge_card", "--status=compensated") == ["order-2"]
    assert ids(floor, "--trouble=parked", "--key=order-3") == ["order-3"]
    assert ids(floor, "--error=000000000000") == []
    assert floor.ok("list", ORDERS, "--group", "--saga=place-order", "--status=running").out.startswith("Nothing went")


def test_a_list_is_narrowed_by_input_age_version_and_person(floor: Floor) -> None:
    floor.order("order-1")
    floor.ok("start", "shop:place_order", '{"sku":"rug","quantity":3}', "--id=order-2")

    assert ids(floor, "--input=sku=rug") == ["order-2"]
    assert ids(floor, "--input=quantity=3", "--input=sku=rug") == ["order-2"]
    assert ids(floor, "--input=quantity=3", "--input=sku=tea") == []
    assert ids(floor, "--newer-than=1h") == ["order-2", "order-1"]
    assert ids(floor, "--older-than=1h") == []
    assert ids(floor, "--assigned=", "--status=running") == ["order-2"]
    assert ids(floor, "--key=order-") == ["order-2", "order-1"]
    unknown = floor.amends("list", ORDERS, "--version=autumn")
    assert (unknown.code, "no definition here has the version 'autumn'" in unknown.err) == (6, True)
    wrong = floor.amends("list", ORDERS, "--input=sku")
    assert (wrong.code, "a field and its value are expected, such as sku=tea" in wrong.err) == (2, True)


def test_a_narrowed_list_goes_on_with_the_command_that_it_prints(floor: Floor) -> None:
    for number in range(4):
        floor.ok("start", "shop:trip", TEA, f"--id=trip-{number}")

    first = floor.ok("list", ORDERS, "--limit=3", "--input=sku=tea", "--newer-than=1h")
    second = floor.ok(*first.err.removeprefix("There are more: amends ").split())

    assert [line.split()[0] for line in first.out.splitlines()[1:]] == ["trip-3", "trip-2", "trip-1"]
    assert "--newer-than=1h" in first.err
    assert [line.split()[0] for line in second.out.splitlines()[1:]] == ["trip-0"]


def test_groups_have_no_pages_and_are_not_made_by_input(floor: Floor) -> None:
    floor.park("order-1")

    paged = floor.amends("list", ORDERS, "--group", "--before=order-1")
    by_input = floor.amends("list", ORDERS, "--group", "--input=sku=tea")

    assert (paged.code, "leave --before out" in paged.err) == (2, True)
    assert (by_input.code, "grouped by what their heads say" in by_input.err) == (5, True)


def test_workers_are_listed_with_what_they_run_and_own(floor: Floor) -> None:
    floor.order("order-1")
    nobody = floor.ok("workers", ORDERS)

    with floor.worker():
        [line] = floor.ok("workers", ORDERS, "--json").data["workers"]
        rows = floor.ok("workers", ORDERS).out.splitlines()

    assert nobody.out.startswith("No worker is registered")
    assert (line["alive"], line["owned"], "place-order" in line["sagas"]) == (True, 0, True)
    assert rows[0].split()[:3] == ["WORKER", "PROCESS", "SINCE"]
    assert rows[1].split()[:2] == [str(line["worker"]), "alive"]
