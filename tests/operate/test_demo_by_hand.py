"""The demo with a dashboard: whoever follows what it prints mends all of it, and the histories prove who did."""

from __future__ import annotations

import getpass
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from amends.operate.demo.by_hand import HINTS
from amends.operate.demo.weather import SIBLINGS, SIBLINGS_AMONG, Trouble, orders_to_mend

DEMO = (sys.executable, "-m", "amends.operate.demo", "--web", "--speed", "20")
PATIENCE_SECONDS = 150.0


class Visitor:
    """A newcomer with the token that the demo printed."""

    def __init__(self, demo: subprocess.Popen[str]) -> None:
        self.demo = demo
        self.heard: list[str] = []
        self.origin, self._token = self.read_until(r"later (http://127\.0\.0\.1:\d+)/ with the token (\S+)\)").groups()

    def read_until(self, pattern: str) -> re.Match[str]:
        """Read what the demo prints, up to a line that fits."""
        assert self.demo.stdout is not None
        for line in self.demo.stdout:
            self.heard.append(line)
            if found := re.search(pattern, line):
                return found
        raise AssertionError("".join(self.heard))

    def ask(self, path: str, body: object = None) -> Any:
        """What the dashboard's API says."""
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        with urlopen(Request(f"{self.origin}/api/v1{path}", data, headers), timeout=30) as answer:  # noqa: S310  # ours
            return json.load(answer)

    def first_page(self) -> str:
        """What a browser would show first."""
        request = Request(f"{self.origin}/", headers={"Authorization": f"Bearer {self._token}"})  # noqa: S310  # ours
        with urlopen(request, timeout=30) as answer:  # noqa: S310  # ours
            return unescape(answer.read().decode())


@contextmanager
def begun(home: Path, *options: str) -> Iterator[Visitor]:
    """The demo, until its dashboard is there."""
    environment = {**os.environ, "TMPDIR": str(home), "PYTHONUNBUFFERED": "1"}
    demo = subprocess.Popen(
        [*DEMO, *options], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield Visitor(demo)
    finally:
        demo.kill()
        demo.communicate(timeout=60)


def test_the_parked_are_found_understood_and_mended_in_bulk_and_their_histories_say_by_whom(tmp_path: Path) -> None:
    with begun(tmp_path) as visitor:
        group = next(found for found in visitor.ask("/groups")["groups"] if "certificate" in found["reason"])
        first_page = visitor.first_page()
        siblings = f"/sagas?status=parked&fingerprint={group['fingerprint']}"
        parked = visitor.ask(siblings)["sagas"]
        mended = visitor.ask(
            "/bulks",
            {
                "verb": "unpark",
                "reason": "certificate renewed",
                "search": {"fingerprint": [group["fingerprint"]]},
                "per_second": 100,
            },
        )
        until = time.monotonic() + PATIENCE_SECONDS
        while visitor.ask(f"/bulks/{mended['id']}")["state"] != "done" or visitor.ask(siblings)["sagas"]:
            assert time.monotonic() < until, visitor.ask(f"/bulks/{mended['id']}")
            time.sleep(0.1)
        visitor.read_until("is compensated")
        visitor.demo.send_signal(signal.SIGINT)
        visitor.read_until(r"\d+ orders: ")
        assert visitor.demo.stdout is not None
        last_words = visitor.demo.stdout.read()
        visitor.demo.wait(PATIENCE_SECONDS)

    assert all(hint in first_page and any(hint in line for line in visitor.heard) for hint in HINTS)
    assert group["count"] == len(parked) == SIBLINGS
    assert "refuses our certificate" in group["reason"]
    assert {line["error_fingerprint"] for line in parked} == {group["fingerprint"]}
    for line in parked:
        assert re.search(rf"{line['id']}  {getpass.getuser()}: \w+.*certificate renewed", last_words), last_words
    assert visitor.demo.returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_it_ends_by_itself_and_says_what_was_left(tmp_path: Path) -> None:
    with begun(tmp_path, "--minutes", "0.01") as visitor:
        visitor.read_until("nobody has mended anything")
        assert visitor.demo.wait(PATIENCE_SECONDS) == 0

    assert any(f"{SIBLINGS} of them are parked" in line for line in visitor.heard)
    assert list(tmp_path.iterdir()) == []


def test_the_first_orders_have_the_siblings_and_the_later_none() -> None:
    placed = orders_to_mend(200, 3)

    assert placed == orders_to_mend(200, 3)
    assert sum(trouble is Trouble.NO_REFUND for _, trouble in placed[:SIBLINGS_AMONG]) == SIBLINGS
    assert Trouble.NO_REFUND not in {trouble for _, trouble in placed[SIBLINGS_AMONG:]}
    assert len({order.id for order, _ in placed}) == 200
