"""Services, their homes and a watcher over a broker of each kind under all faults at once, with nobody in the middle.

AMENDS_CHAOS_CHOREOGRAPHED_SECONDS: how long there are faults (0 skips this); some seconds and over one broker, and from
a minute on, as in `make soak`, over every one.
AMENDS_CHAOS_SEED: which faults, as far as processes on a shared machine repeat themselves.
`python tests/chaos/services_chaos.py --style choreographed` runs the same alone, for hours.
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

SECONDS = float(os.environ.get("AMENDS_CHAOS_CHOREOGRAPHED_SECONDS", "20"))
BROKERS: list[type[Broker]] = [Nats] if SECONDS < 60 else [Kafka, Rabbitmq, Nats, Redis]


@pytest.mark.skipif(SECONDS <= 0, reason="AMENDS_CHAOS_CHOREOGRAPHED_SECONDS=0")
@pytest.mark.parametrize("broker", BROKERS)
def test_sagas_with_nobody_in_the_middle_are_neither_lost_nor_doubled_nor_hang_whatever_happens(
    broker: type[Broker], tmp_path: Path
) -> None:
    need(postgres_bin)
    need(broker.find)

    holds(broker.name.lower(), SECONDS, tmp_path, "choreographed")
