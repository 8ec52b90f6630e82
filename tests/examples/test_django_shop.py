"""The shop in Django, as real processes: the test client, gunicorn's forked workers and Celery's, beside one worker."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from processes import PATIENCE_SECONDS, wait_for

SHOP = Path(__file__).parents[2] / "examples" / "django_shop"
WORKER = ("-m", "amends", "worker", "shop.sagas:orchestrator", "--log-level=warning")
BOOK = {"sku": "book", "quantity": 1, "cents": 2_900}
MIGRATE = """
import asyncio
async def main():
    async with Orchestrator(settings.DATABASE_URL, sagas=[place_order], migrate=True).client():
        say(True)
asyncio.run(main())
"""
COUNT = """
import asyncio
async def main():
    async with orchestrator.client():
        say(sum((await orchestrator.session.store.count()).values()))
asyncio.run(main())
"""


class Place:
    """A database with the shop's tables and ten books, and processes on it that end with the test."""

    def __init__(self, url: str, folder: Path, stack: contextlib.ExitStack) -> None:
        self.folder = folder
        self._stack = stack
        self._environment = {
            **os.environ,
            "DATABASE_URL": url,
            "DJANGO_SETTINGS_MODULE": "shop.settings",
            "CELERY_FOLDER": str(folder / "celery"),
            "PYTHONPATH": os.pathsep.join([str(SHOP), os.environ.get("PYTHONPATH", "")]),
        }
        self.run("manage.py", "migrate", "--verbosity=0")
        self.django(f"from amends import Orchestrator\nfrom shop.sagas import *\n{MIGRATE}")
        self.django("from shop.models import Stock; Stock.objects.create(sku='book', left=10); say(True)")

    def run(self, *arguments: str) -> str:
        """What a Python process prints."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=SHOP,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def django(self, code: str) -> Any:
        """What a few lines say, run in a process of Django's."""
        begin = "import django, json; django.setup(); say = lambda what: print(json.dumps(what))\n"
        return json.loads(self.run("-c", begin + code).splitlines()[-1])

    def orders(self) -> list[str]:
        """The status of each order there is."""
        found = self.django("from shop.models import Order; say(list(Order.objects.values_list('status', flat=True)))")
        return [str(status) for status in found]

    def books_left(self) -> int:
        return int(self.django("from shop.models import Stock; say(Stock.objects.get(sku='book').left)"))

    def sagas(self) -> int:
        """How many sagas there are."""
        return int(self.django(f"from shop.sagas import orchestrator\n{COUNT}"))

    def start(self, name: str, *arguments: str, pass_fds: tuple[int, ...] = ()) -> subprocess.Popen[bytes]:
        """A process, with all it starts, until the test ends. Its log is in the folder."""
        log = self._stack.enter_context(open(self.folder / f"{name}.log", "wb"))  # noqa: SIM115  # until the test ends
        child = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=SHOP,
            env=self._environment,
            stdout=log,
            stderr=log,
            pass_fds=pass_fds,
            start_new_session=True,
        )
        self._stack.callback(end, child)
        return child


def end(child: subprocess.Popen[bytes]) -> None:
    """End a process and what it has started."""
    child.send_signal(signal.SIGTERM)
    try:
        child.wait(PATIENCE_SECONDS)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


@pytest.fixture
def new_place(tmp_path: Path) -> Iterator[Callable[[str], Place]]:
    with contextlib.ExitStack() as stack:
        yield lambda url: Place(url, tmp_path, stack)


@pytest.fixture(params=["postgres", "sqlite"])
def place(request: pytest.FixtureRequest, new_place: Callable[[str], Place], tmp_path: Path) -> Place:
    """The shop on either kind of database."""
    if request.param == "sqlite":
        return new_place(f"sqlite:///{tmp_path / 'shop.db'}")
    return new_place(request.getfixturevalue("postgres_url"))


@pytest.fixture
def gunicorn(place: Place, tmp_path: Path) -> Iterator[httpx.Client]:
    """The shop under gunicorn, whose master has used the sagas before it forked two workers."""
    (tmp_path / "gunicorn.conf.py").write_text(
        "def when_ready(server):\n    from shop.orders import sagas\n    sagas.session()\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as end_point:
        command = ("-m", "gunicorn", "--preload", "--workers=2", "--bind", f"fd://{end_point.fileno()}")
        config = ("--config", str(tmp_path / "gunicorn.conf.py"), "--log-level=warning", "shop.wsgi")
        place.start("gunicorn", *command, *config, pass_fds=(end_point.fileno(),))
        address = f"http://127.0.0.1:{end_point.getsockname()[1]}"
        with httpx.Client(base_url=address, timeout=PATIENCE_SECONDS) as client:
            yield client


def fresh(client: httpx.Client, method: str, path: str, body: object = None) -> httpx.Response:
    """A request on a connection of its own, so that both processes get some."""
    with httpx.Client(base_url=client.base_url, timeout=PATIENCE_SECONDS) as own:
        return own.request(method, path, json=body)


def test_an_order_its_voucher_and_its_saga_are_there_together_or_not_at_all(place: Place) -> None:
    script = """
from django.test import Client
client = Client()
order = {"sku": "book", "quantity": 1, "cents": 2900, "voucher": "WELCOME"}
answers = [client.post("/orders", order, content_type="application/json") for _ in range(3)]
say([answer.status_code for answer in answers])
"""

    assert place.django(script) == [201, 409, 409]
    assert place.orders() == ["placed"]
    assert place.sagas() == 1

    place.start("worker", *WORKER)
    wait_for(lambda: place.orders() == ["confirmed"], "the order is confirmed")
    assert place.books_left() == 9


def test_views_under_gunicorns_forked_workers_place_orders_and_hear_how_they_went(
    place: Place, gunicorn: httpx.Client
) -> None:
    place.start("worker", *WORKER)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: fresh(gunicorn, "POST", "/orders", BOOK).json(), range(12)))
        numbers = [answer["order"] for answer in answers]
        results = [
            answer.json()["result"]
            for answer in pool.map(lambda number: fresh(gunicorn, "GET", f"/orders/{number}?wait=60"), numbers)
        ]

    assert len(set(numbers)) == 12
    assert len({answer["process"] for answer in answers}) == 2, "both processes had a part in it"
    assert sorted(results) == ["on its way"] * 10 + ["undone: reserve_stock: there are not 1 of book left"] * 2
    assert place.books_left() == 0
    dear = fresh(gunicorn, "POST", "/orders", {**BOOK, "cents": 200_000}).json()["order"]
    assert fresh(gunicorn, "GET", f"/orders/{dear}?wait=60").json()["result"].startswith("undone")
    assert fresh(gunicorn, "GET", "/orders/999999").status_code == 404


def test_celery_tasks_in_forked_processes_place_orders(place: Place) -> None:
    place.start("worker", *WORKER)
    plain = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=WARNING")
    place.start("celery", "-m", "celery", "--app=shop.celery", "worker", "--pool=prefork", "--concurrency=2", *plain)
    script = """
from django.test import Client
client = Client()
order = {"sku": "book", "quantity": 1, "cents": 2900, "later": True, "voucher": "ONCE"}
answers = [client.post("/orders", order, content_type="application/json") for _ in range(2)]
order = {"sku": "book", "quantity": 1, "cents": 2900, "later": True}
answers += [client.post("/orders", order, content_type="application/json") for _ in range(4)]
say([answer.status_code for answer in answers])
"""

    assert place.django(script) == [202] * 6
    wait_for(lambda: place.orders() == ["confirmed"] * 5, "the orders of all tasks but one are confirmed")
    assert place.sagas() == 5
    assert place.books_left() == 5
