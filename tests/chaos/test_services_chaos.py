"""Services, orchestrators and a broker of each kind under all faults at once, and a checker that trusts none of them.

AMENDS_CHAOS_SERVICES_SECONDS: how long there are faults (0 skips this); a minute, and longer in `make soak`.
AMENDS_CHAOS_SEED: which faults, as far as processes on a shared machine repeat themselves.
`python tests/chaos/services_chaos.py` runs the same alone, for hours.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from servers import need
from services.broker import Broker
from services.found import postgres_bin
from services.kafka import Kafka
from services.nats import Nats
from services.rabbitmq import Rabbitmq
from services.redis import Redis

CHAOS = Path(__file__).with_name("services_chaos.py")
SECONDS = float(os.environ.get("AMENDS_CHAOS_SERVICES_SECONDS", "60"))
SEED = int(os.environ.get("AMENDS_CHAOS_SEED", "0")) or random.randrange(1, 10**6)
SPARE_SECONDS = 300.0  # to begin, to end, and to look at everything


@pytest.mark.skipif(SECONDS <= 0, reason="AMENDS_CHAOS_SERVICES_SECONDS=0")
@pytest.mark.parametrize("broker", [Kafka, Rabbitmq, Nats, Redis])
def test_services_lose_double_and_hang_nothing_whatever_happens_to_messages_processes_and_broker(
    broker: type[Broker], tmp_path: Path
) -> None:
    need(postgres_bin)
    need(broker.find)
    kind = broker.name.lower()

    report = _ran(kind, SEED, tmp_path / "chaos")
    if report["invalid"]:  # nothing is wrong, and it proves too little: other dice
        report = _ran(kind, SEED + 1, tmp_path / "again")

    assert report["invalid"] == [], "\n".join([_again(kind, SEED + 1), "it proves nothing:", *report["invalid"]])


def _ran(kind: str, seed: int, directory: Path) -> dict[str, Any]:
    """One run, in which every promise was kept."""
    told = [f"--broker={kind}", f"--seconds={SECONDS}", f"--seed={seed}", f"--directory={directory}", "--json"]
    child = subprocess.Popen(
        [sys.executable, str(CHAOS), *told],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        said, story = child.communicate(timeout=SECONDS + SPARE_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, 9)
        said, story = child.communicate()

    assert said, f"{_again(kind, seed)}\n{story}"
    report: dict[str, Any] = json.loads(said)
    assert report["troubles"] == [], "\n".join([_again(kind, seed), story, *report["troubles"]])
    assert child.returncode in (0, 2), f"{_again(kind, seed)}\n{story}"
    assert not _left_behind(child.pid), f"{_again(kind, seed)}: a process was left behind"
    return report


def _again(kind: str, seed: int) -> str:
    return f"again: python tests/chaos/services_chaos.py --broker {kind} --seconds {SECONDS:g} --seed {seed}"


def _left_behind(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
