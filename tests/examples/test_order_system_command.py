"""The one command of the order system: on servers that are given, what it prints, and how it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from order_system.__main__ import main, show
from order_system.checker import Totals, Trouble
from order_system.servers import SERVICES
from order_system.story import Report

from services.databases import Databases

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 240


def test_it_runs_on_databases_that_are_given_and_ends_with_nothing_wrong(postgres_databases: Databases) -> None:
    made = {f"{name.upper()}_DATABASE": postgres_databases.create() for name in SERVICES}
    command = [sys.executable, "-m", "examples.order_system", "--orders=5", "--no-faults"]
    given = {name: value for name, value in os.environ.items() if name not in ("BROKER", "BROKER_URL")}

    done = subprocess.run(
        command, cwd=ROOT, env=given | made, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    for url in made.values():
        postgres_databases.drop(url)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "15 orders" in done.stdout
    assert "everything balances" in done.stdout


def test_whatever_does_not_fit_is_printed_with_its_order(capsys: pytest.CaptureFixture[str]) -> None:
    troubles = [Trouble("order-7", "it is completed, and nobody paid"), Trouble("", "the books do not balance")]

    show(Report(totals=Totals(100, 0, 200), troubles=troubles, shown=["$ amends show order-7\n…"]))

    printed = capsys.readouterr().out
    assert "VIOLATION order-7: it is completed, and nobody paid" in printed
    assert "VIOLATION (all): the books do not balance" in printed
    assert "$ amends show order-7" in printed
    assert "NOT BALANCED" in printed


def test_a_broker_that_nobody_knows_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["order_system", "--broker=pigeons"])

    with pytest.raises(SystemExit):
        main()

    assert "pigeons" in capsys.readouterr().err
