"""Deploying as `docs/guides/deploy.md` says, with the files of `examples/deploy` as they stand."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import psycopg
import pytest

from amends import Completed, Orchestrator, Settings
from amends.operate.cli.dashboard import PORT
from amends.operate.web.serving import DRAIN_SECONDS
from deploy_scene import (
    DEPLOY,
    Machine,
    Pod,
    Running,
    Served,
    Site,
    amends,
    dashboard_of_the_pod,
    dashboard_of_the_unit,
    machine,
    manifest,
    of_role,
    pod,
    prepare,
    shop,
    site,
    systemctl_start,
    unit,
    wait_for,
)
from services.postgres import Postgres

IN_FLIGHT = "SELECT count(*) FROM amends.saga WHERE owner = (SELECT max(id) FROM amends.worker WHERE pid = %s)"
ALIVE = "SELECT count(*) FROM amends.worker WHERE retired_at IS NULL"
OPEN = "SELECT count(*) FROM amends.saga WHERE status IN ('running', 'compensating', 'parked')"
NOT_CLEAN = "SELECT count(*) FROM amends.saga WHERE stalled IS NOT NULL OR stuck IS NOT NULL"
UNCLEAR = "SELECT count(*) FROM amends.journal WHERE row LIKE '%%[\"failed\",%%' OR row LIKE '%%[\"adopted\",%%'"


@pytest.fixture
def place(postgres_server: Postgres) -> Site:
    """A database that was prepared as the guide says."""
    found = site(postgres_server)
    prepare(found)
    return found


@pytest.fixture
def on(place: Site, tmp_path: Path) -> Iterator[Machine]:
    """A machine whose workers have the rights of workers, and no more."""
    with machine(tmp_path, place.app) as found:
        yield found


class Customers:
    """They order all the time, from clients of either release."""

    def __init__(self, url: str, *releases: str) -> None:
        self._url = url
        self._releases = releases
        self._enough = asyncio.Event()
        self._tasks: list[asyncio.Task[Any]] = []
        self.started = 0
        self.outcomes: list[Any] = []

    async def __aenter__(self) -> Customers:
        self._tasks = [asyncio.create_task(self._order(shop(release), release)) for release in self._releases]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._enough.set()
        await asyncio.gather(*self._tasks)

    async def _order(self, code: ModuleType, release: str) -> None:
        client = Orchestrator(self._url, sagas=[code.place_order, code.return_order])
        async with client.client():
            waiting = []
            while not self._enough.is_set():
                order = code.Order("tea", 290)
                handle = await client.start(code.place_order, order, id=f"{release}-{self.started}")
                self.started += 1
                waiting.append(asyncio.create_task(handle.outcome(timeout=60)))
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._enough.wait(), 0.03)
            self.outcomes += await asyncio.gather(*waiting)


async def busy(place: Site, process: Running) -> None:
    """Wait until a worker has sagas in flight."""
    await asyncio.to_thread(
        wait_for, lambda: bool(place.value(IN_FLIGHT, process.child.pid)), "the worker has sagas in flight"
    )


def test_a_rolling_restart_to_the_next_release_loses_no_saga_and_fails_none(place: Site, on: Machine) -> None:
    async def deploy() -> Customers:
        old = [await asyncio.to_thread(systemctl_start, on, "release-1") for _ in range(2)]
        async with Customers(place.app, "release-1", "release-2") as customers:
            for process in old:
                await busy(place, process)
                codes.append(await asyncio.to_thread(process.stop))
                new = await asyncio.to_thread(systemctl_start, on, "release-2")
                await busy(place, new)
        return customers

    codes: list[int] = []
    customers = asyncio.run(deploy())

    assert codes == [0, 0], "each was done within its TimeoutStopSec"
    assert customers.started > 20
    assert customers.outcomes == [Completed(None)] * customers.started
    assert place.value("SELECT count(*) FROM amends.saga") == customers.started
    assert place.value(NOT_CLEAN) == 0
    assert place.value(UNCLEAR) == 0
    assert place.value(ALIVE) == 2


def test_two_releases_work_side_by_side_and_what_either_started_completes(place: Site, on: Machine) -> None:
    async def both() -> Customers:
        workers = [await asyncio.to_thread(systemctl_start, on, release) for release in ("release-1", "release-2")]
        async with Customers(place.app, "release-1", "release-2") as customers:
            for process in workers:
                await busy(place, process)
            await asyncio.to_thread(wait_for, lambda: customers.started > 40, "enough was ordered")
        return customers

    customers = asyncio.run(both())

    assert customers.outcomes == [Completed(None)] * customers.started
    assert place.value(NOT_CLEAN) == 0


def test_a_pod_is_ready_when_it_works_alive_while_the_database_is_away_and_gone_in_its_grace(
    postgres_server: Postgres, place: Site, on: Machine
) -> None:
    worker = pod(on, "release-2")
    wait_for(lambda: worker.probe("startup"), "the pod has started")
    assert worker.probe("liveness")
    assert worker.probe("readiness")

    postgres_server.stop()
    wait_for(lambda: "the store is away" in worker.process.log.read_text(), "the worker has noticed")
    _age(worker)
    wait_for(lambda: worker.probe("liveness"), "it is alive all the same")
    assert not worker.probe("readiness")

    postgres_server.start()
    wait_for(lambda: worker.probe("readiness"), "it is ready again")
    order = amends("start", "shop:place_order", '{"sku": "tea", "cents": 290}', "--wait", database=place.app)
    assert order.returncode == 0, order.stderr
    assert worker.process.stop() == 0, worker.process.log.read_text()
    assert not worker.probe("liveness")
    assert not worker.probe("readiness")


def _age(worker: Pod) -> None:
    """As if long had passed since the last look."""
    for path in worker.run.iterdir():
        os.utime(path, (0, 0))


def test_a_pod_that_is_stopped_amid_a_step_finishes_it_and_another_goes_on_at_once(place: Site, on: Machine) -> None:
    async def restart() -> Customers:
        pods = [pod(on, "release-2") for _ in range(2)]
        await asyncio.to_thread(wait_for, lambda: all(worker.probe("readiness") for worker in pods), "both are ready")
        async with Customers(place.app, "release-2") as customers:
            await busy(place, pods[0].process)
            assert await asyncio.to_thread(pods[0].process.stop) == 0
        return customers

    customers = asyncio.run(restart())

    assert customers.outcomes == [Completed(None)] * customers.started
    assert place.value(UNCLEAR) == 0


def test_every_grace_is_longer_than_what_a_worker_takes_to_drain() -> None:
    drain_seconds = Settings().drain_seconds

    assert float(unit()["TimeoutStopSec"]) > drain_seconds
    spec = manifest("worker.yaml", "Deployment")["spec"]["template"]["spec"]
    assert spec["terminationGracePeriodSeconds"] > drain_seconds
    assert float(unit("amends-dashboard.service")["TimeoutStopSec"]) > DRAIN_SECONDS
    spec = manifest("dashboard.yaml", "Deployment")["spec"]["template"]["spec"]
    assert spec["terminationGracePeriodSeconds"] > DRAIN_SECONDS


@pytest.mark.parametrize("start", [dashboard_of_the_unit, dashboard_of_the_pod])
def test_the_dashboard_is_asked_by_its_name_with_a_token_and_is_gone_in_its_grace(
    place: Site, on: Machine, start: Callable[[Machine, Path], Served]
) -> None:
    tokens = on.folder / "dashboard.tokens"
    made = amends("dashboard", "--add-token=ada:operator", f"--token-file={tokens}", database=place.app)
    token = made.stdout.strip()

    served = start(on, tokens)

    assert served.get("/api/v1/stuck", token) == 200
    assert served.get("/api/v1/stuck") == 401
    assert served.get("/api/v1/stuck", token, host="elsewhere.example") == 403
    assert [served.get(path, host="10.0.0.7") for path in ("/healthz", "/readyz")] == [200, 200], "as a kubelet asks"
    assert served.process.stop() == 0, served.process.log.read_text()


def test_the_dashboard_of_a_pod_is_probed_and_asked_where_it_listens() -> None:
    spec = manifest("dashboard.yaml", "Deployment")["spec"]["template"]["spec"]["containers"][0]
    ports = {port["name"]: port["containerPort"] for port in spec["ports"]}

    assert ports == {"http": PORT}
    assert [spec[f"{name}Probe"]["httpGet"]["port"] for name in ("liveness", "readiness")] == ["http", "http"]
    assert manifest("dashboard.yaml", "Service")["spec"]["ports"][0]["targetPort"] == "http"


def test_the_job_of_an_upgrade_is_the_command_of_the_guide() -> None:
    spec = manifest("upgrade.yaml", "Job")["spec"]["template"]["spec"]

    assert spec["containers"][0]["command"] == ["amends", "db", "upgrade", "--app=shop:orchestrator"]


# Privileges


def test_the_role_of_workers_does_all_that_is_done_in_a_day_and_cannot_change_the_schema(
    place: Site, on: Machine
) -> None:
    systemctl_start(on, "release-2")
    tea = '{"sku": "tea", "cents": 290}'

    acts = [
        ("run", "shop:place_order", tea, "--id=order-1"),
        ("start", "shop:return_order", tea, "--id=return-1"),
        ("signal", "return-1", "parcel", '{"grams": 250}'),
        ("list",),
        ("show", "order-1"),
        ("stuck",),
        ("doctor",),
        ("db", "version"),
    ]
    results = [(act[0], amends(*act, database=place.app)) for act in acts]

    assert [(name, done.returncode, done.stderr) for name, done in results if done.returncode] == []
    with psycopg.connect(place.app, autocommit=True) as connection:
        for forbidden in ("CREATE TABLE amends.mine (id int)", "DROP TABLE amends.saga", "CREATE SCHEMA mine"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(forbidden.encode())


def test_tables_of_later_migrations_are_the_workers_too(place: Site) -> None:
    with psycopg.connect(place.owner, autocommit=True) as connection:
        connection.execute("CREATE TABLE amends.later (id integer)")

    with psycopg.connect(place.app, autocommit=True) as connection:
        assert connection.execute("SELECT count(*) FROM amends.later").fetchone() == (0,)


def test_whoever_has_no_rights_is_told_which(postgres_server: Postgres, place: Site) -> None:
    with psycopg.connect(place.admin, autocommit=True) as connection:
        connection.execute("CREATE ROLE stranger LOGIN PASSWORD 'secret'")

    asked = amends("list", database=of_role(place.admin, "stranger"))
    upgraded = amends("db", "upgrade", database=of_role(postgres_server.create_database(), "stranger"))

    for done in (asked, upgraded):
        assert done.returncode == 7
        assert "grant it the rights" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_worker_before_its_upgrade_names_the_command(postgres_server: Postgres) -> None:
    done = amends("worker", "shop:orchestrator", database=postgres_server.create_database())

    assert done.returncode == 7
    assert "run `amends db upgrade`" in done.stderr


@pytest.mark.parametrize(
    ("page", "name"),
    [
        ("deploy.md", "systemd/amends-worker@.service"),
        ("deploy.md", "systemd/amends-dashboard.service"),
        ("deploy.md", "kubernetes/upgrade.yaml"),
        ("deploy.md", "kubernetes/worker.yaml"),
        ("deploy.md", "privileges.sql"),
        ("stuck-at-night.md", "release-1/shop.py"),
    ],
)
def test_the_guides_show_the_files_as_they_are(page: str, name: str) -> None:
    shown = (DEPLOY.parents[1] / "docs" / "guides" / page).read_text()

    assert f"\n{(DEPLOY / name).read_text()}```" in shown
