"""`python -m services up`: what was named is started, said and ended."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import servers
from services import __main__, install
from services.__main__ import NAMES, main
from services.found import ROOT
from services.nats import Nats
from services.redis import Redis
from services.up import BROKERS

WAIT_SECONDS = 60.0


def test_what_was_named_runs_until_it_is_ended_and_nothing_else() -> None:
    for kind in (Nats, Redis):
        servers.need(kind.find)
    command = [sys.executable, "-m", "services", "up", "redis", "nats"]
    with subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        told: list[str] = []
        while "AMENDS_TEST_REDIS" not in (line := running.stdout.readline()):
            assert line, told
            told.append(line)
        running.send_signal(signal.SIGTERM)
        rest, _ = running.communicate(timeout=WAIT_SECONDS)

    logs = [Path(line.split()[1]) for line in told if line.split()[0] == "log"]
    names = [line.split()[0] for line in told if "://" in line and "export" not in line]
    assert names == ["NATS", "Redis"]
    assert "export AMENDS_TEST_NATS=nats://" in "".join(told)
    assert rest == "stopped\n"
    assert [log for log in logs if log.parent.exists()] == []


def test_a_name_that_there_is_not_is_refused_with_those_that_there_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["services", "up", "kafka", "pulsar"])

    with pytest.raises(SystemExit):
        main()

    assert "there is no pulsar; there are postgres, pgbouncer, rabbitmq, nats, redis, kafka" in capsys.readouterr().err


def test_every_broker_can_be_named() -> None:
    assert set(NAMES) == {"postgres", "pgbouncer", *BROKERS}


def test_without_the_tools_it_says_so_before_it_gets_anything(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["services", "up", "nats"])
    monkeypatch.setitem(sys.modules, "services.up", None)
    monkeypatch.setattr(__main__, "get", lambda wanted: pytest.fail(f"gets {wanted}"))

    code = main()

    told = capsys.readouterr().err
    assert code == 1
    assert 'make services UP="nats"' in told
    assert "pip install" in told


def test_what_was_not_named_is_not_got(monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[str] = []

    def take(wanted: Sequence[str] = ("kafka",)) -> list[str]:
        got.extend(wanted)
        return []

    monkeypatch.setattr(__main__, "install", take)
    monkeypatch.setattr(__main__, "fetch_kafka", take)

    __main__.get(["nats", "pgbouncer"])
    __main__.get(["kafka"])

    assert got == ["nats-server", "pgbouncer", "postgresql", "default-jre-headless", "kafka"]


def test_every_package_of_a_server_is_one_that_can_be_got() -> None:
    assert {package for packages in __main__.PACKAGES.values() for package in packages} == set(install._PROGRAMS)
    assert set(__main__.PACKAGES) == set(NAMES)
