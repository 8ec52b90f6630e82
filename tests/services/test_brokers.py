"""The brokers that tests use: what they keep, how they are stopped, killed, paused and wiped, and that nothing is left."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from aiokafka.client import AIOKafkaClient  # type: ignore[import-untyped]
from aiokafka.errors import KafkaConnectionError  # type: ignore[import-untyped]
from broker_probes import PROBES, WAIT_SECONDS, InKafka, Probe, read_from_kafka

import servers
from services.broker import USER, Broker
from services.found import ROOT
from services.kafka import Kafka
from services.nats import Nats
from services.process import ServerFailed, free_port
from services.proxy import Proxy
from services.rabbitmq import Rabbitmq
from services.redis import Redis

LOOK_SECONDS = 2.0  # how long it is looked on that nothing happens
CHILD = """
import sys
from services.up import BROKERS
broker = BROKERS[sys.argv[1]]()
broker.start()
print(broker.directory, flush=True)
sys.stdin.read()
"""


@pytest.fixture(params=PROBES, ids=lambda probe: probe.kind.name)
def probe(request: pytest.FixtureRequest) -> Probe:
    """Every kind of broker, one after the other."""
    probe: Probe = request.param
    servers.need(probe.kind.find)
    return probe


@pytest.fixture
def broker(probe: Probe) -> Iterator[Broker]:
    """A private broker of the kind, running."""
    with probe.kind() as broker:
        yield broker


def of(directory: Path) -> list[psutil.Process]:
    """Every process that was started for a server, by it or by its helpers."""
    found = []
    for process in psutil.process_iter():
        try:
            where = process.environ().get("TMPDIR", process.cwd())  # Redis writes its title over the first
            if Path(where).is_relative_to(directory):
                found.append(process)
        except (psutil.AccessDenied, psutil.NoSuchProcess):
            continue
    return found


def wait_nothing_of(directory: Path) -> None:
    """Wait until no process and no file of a server is left."""
    until = time.monotonic() + WAIT_SECONDS
    while of(directory) or directory.exists():
        assert time.monotonic() < until, of(directory)
        time.sleep(0.05)


def test_a_killed_broker_comes_back_at_the_same_place_with_what_it_confirmed(probe: Probe, broker: Broker) -> None:
    url = broker.url
    probe.made(url, "kept")
    broker.restart()  # a queue that RabbitMQ was told of a moment ago may be lost by a kill, with all that is in it
    probe.kept(url, "kept", b"before")

    broker.kill()

    assert not broker.running
    assert of(broker.directory) == []
    broker.start()
    assert broker.url == url
    assert probe.found(url, "kept") == b"before"


def test_a_restarted_broker_has_what_it_kept_and_a_wiped_one_nothing(probe: Probe, broker: Broker) -> None:
    probe.put(broker.url, "kept", b"before")
    broker.restart()
    assert probe.found(broker.url, "kept") == b"before"

    broker.stop()
    broker.wipe()
    broker.start()

    assert probe.found(broker.url, "kept") is None
    probe.put(broker.url, "kept", b"after")
    assert probe.found(broker.url, "kept") == b"after"


def test_a_running_broker_is_not_wiped(probe: Probe, broker: Broker) -> None:
    probe.put(broker.url, "kept", b"before")

    with pytest.raises(ServerFailed, match="is running; stop it"):
        broker.wipe()

    assert probe.found(broker.url, "kept") == b"before"


def test_a_paused_broker_answers_nobody_until_it_goes_on(probe: Probe, broker: Broker) -> None:
    probe.put(broker.url, "kept", b"before")

    async def ask() -> bytes | None:
        broker.pause()
        asked = asyncio.create_task(probe.find(broker.url, "kept"))
        done, _ = await asyncio.wait([asked], timeout=LOOK_SECONDS)
        broker.resume()
        assert not done
        return await asked

    assert asyncio.run(asyncio.wait_for(ask(), WAIT_SECONDS)) == b"before"


def test_a_paused_broker_is_stopped_like_any_other(probe: Probe, broker: Broker) -> None:
    probe.put(broker.url, "kept", b"before")
    broker.pause()

    broker.restart()

    assert probe.found(broker.url, "kept") == b"before"


def test_two_brokers_know_nothing_of_each_other(probe: Probe, broker: Broker) -> None:
    probe.put(broker.url, "kept", b"first")

    with probe.kind() as other:
        assert probe.found(other.url, "kept") is None
        probe.put(other.url, "kept", b"second")
        other.kill()
        assert probe.found(broker.url, "kept") == b"first"


def test_a_closed_broker_leaves_no_process_and_no_file(probe: Probe) -> None:
    with probe.kind() as broker:
        assert psutil.Process(broker.pid) in of(broker.directory)
        assert "epmd" not in [process.name() for process in of(broker.directory)]
        broker.pause()

    assert of(broker.directory) == []
    assert not broker.directory.exists()


def test_a_killed_user_leaves_no_process_and_no_file(probe: Probe) -> None:
    command = [sys.executable, "-c", CHILD, probe.kind.name.lower()]
    with subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as user:
        assert user.stdout is not None
        directory = Path(user.stdout.readline().strip())
        started = of(directory)
        user.kill()

    assert started

    wait_nothing_of(directory)


def test_a_broker_is_reached_through_a_proxy(probe: Probe) -> None:
    broker = probe.kind()
    with Proxy(broker.url) as proxy:
        if isinstance(broker, Kafka):
            broker.advertise(proxy.port)
        with broker:
            url = proxy.url(broker.url)
            probe.put(url, "kept", b"through")

            async def ask() -> bytes | None:
                proxy.freeze()
                asked = asyncio.create_task(probe.find(url, "kept"))
                done, _ = await asyncio.wait([asked], timeout=LOOK_SECONDS)
                proxy.thaw()
                assert not done
                return await asked

            assert asyncio.run(asyncio.wait_for(ask(), WAIT_SECONDS)) == b"through"


def test_kafka_sends_those_who_came_to_it_to_the_proxy() -> None:
    servers.need(Kafka.find)
    with Kafka(advertised_port=free_port()) as broker:

        async def told() -> list[int]:
            client = AIOKafkaClient(bootstrap_servers=broker.address)
            await client.bootstrap()
            await client.close()
            return [node.port for node in client.cluster.brokers()]

        assert asyncio.run(told()) == [broker.advertised_port]


def test_kafka_takes_user_and_password() -> None:
    servers.need(Kafka.find)
    with Kafka(sasl=True) as broker:
        InKafka().put(broker.url, "kept", b"for members")

        def read(password: str) -> bytes | None:
            given = {"sasl_plain_username": USER, "sasl_plain_password": password}
            address = broker.sasl_url.rpartition("@")[2]
            options = {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN", **given}
            return asyncio.run(asyncio.wait_for(read_from_kafka("kept", address, **options), WAIT_SECONDS))

        assert read(broker.password) == b"for members"
        with pytest.raises(KafkaConnectionError):
            read("guessed")


def test_the_brokers_of_a_run_are_shared_and_a_prefix_keeps_tests_apart(
    rabbitmq_url: str, nats_url: str, redis_url: str, kafka_url: str, broker_prefix: str
) -> None:
    urls = (rabbitmq_url, nats_url, redis_url, kafka_url)

    for probe, url in zip(PROBES, urls, strict=True):
        assert probe.found(url, broker_prefix) is None
        probe.put(url, broker_prefix, b"mine")
        assert probe.found(url, broker_prefix) == b"mine"


def test_private_brokers_run(
    rabbitmq_server: Rabbitmq, nats_server: Nats, redis_server: Redis, kafka_server: Kafka
) -> None:
    for probe, broker in zip(PROBES, (rabbitmq_server, nats_server, redis_server, kafka_server), strict=True):
        assert isinstance(broker, probe.kind)
        assert broker.running


def test_a_broker_is_reached_over_tls_by_who_trusts_its_authority(probe: Probe) -> None:
    with probe.kind(tls=True) as broker:
        assert probe.found(broker.tls_url, "nothing", broker.certificates.context()) is None


def test_who_trusts_another_authority_does_not_get_in(probe: Probe) -> None:
    with (
        probe.kind(tls=True) as broker,
        contextlib.closing(probe.kind(tls=True)) as other,
        pytest.raises(Exception, match=r"(?i)certificate|ssl|unable to bootstrap|no servers"),
    ):
        probe.found(broker.tls_url, "nothing", other.certificates.context())
