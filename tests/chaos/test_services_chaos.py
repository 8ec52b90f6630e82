"""Services, orchestrators and a broker of each kind under all faults at once, and a checker that trusts none of them.

AMENDS_CHAOS_SERVICES_SECONDS: how long there are faults (0 skips this); half a minute, and from a minute on in `make
soak`, which wants to see all that befalls messages.
AMENDS_CHAOS_SEED: which faults, as far as processes on a shared machine repeat themselves.
`python tests/chaos/services_chaos.py` runs the same alone, for hours.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from services_run import holds

from servers import need
from services.broker import Broker
from services.found import postgres_bin
from services.kafka import Kafka
from services.nats import Nats
from services.rabbitmq import Rabbitmq
from services.redis import Redis

SECONDS = float(os.environ.get("AMENDS_CHAOS_SERVICES_SECONDS", "32"))


@pytest.mark.skipif(SECONDS <= 0, reason="AMENDS_CHAOS_SERVICES_SECONDS=0")
@pytest.mark.parametrize("broker", [Kafka, Rabbitmq, Nats, Redis])
def test_services_lose_double_and_hang_nothing_whatever_happens_to_messages_processes_and_broker(
    broker: type[Broker], tmp_path: Path
) -> None:
    need(postgres_bin)
    need(broker.find)

    holds(broker.name.lower(), SECONDS, tmp_path)
