"""The brokers of the tests: what they keep; that they are stopped, killed, paused, wiped; that nothing is left."""

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
from services.up import BROKERS

LOOK_SECONDS = 2.0  # how long it is looked on that nothing happens
CHILD = """
import sys
from services.up import BROKERS
broker = BROKERS[sys.argv[1]]()
broker.start()
print(broker.directory, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module", params=PROBES, ids=lambda probe: probe.kind.name)
def probe(request: pytest.FixtureRequest) -> Probe:
    """Every kind of broker, one after the other."""
    probe: Probe = request.param
    servers.need(probe.kind.find)
    return probe


@pytest.fixture(scope="module")
def kept_broker(probe: Probe) -> Iterator[Broker]:
    """One private broker of a kind; to start one for every test would take minutes."""
    with probe.kind() as broker:
        yield broker


@pytest.fixture
def broker(kept_broker: Broker) -> Broker:
    """A private broker of the kind, running, whatever the test before did to it."""
    kept_broker.start()
    return kept_broker


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


def test_a_broker_comes_back_from_a_restart_and_from_a_kill_with_what_it_confirmed(
    probe: Probe, broker: Broker, broker_prefix: str
) -> None:
    url = broker.url
    probe.put(url, broker_prefix, b"kept")
    broker.restart()  # and no kill first: what RabbitMQ was told of a queue takes a moment to be durable
    assert probe.found(url, broker_prefix) == b"kept"
    probe.kept(url, broker_prefix, b"kept")

    broker.kill()

    assert not broker.running
    assert of(broker.directory) == []
    broker.start()
    assert broker.url == url
    assert probe.found(url, broker_prefix) == b"kept"


def test_a_wiped_broker_has_forgotten_everything_and_keeps_again(
    probe: Probe, broker: Broker, broker_prefix: str
) -> None:
    probe.put(broker.url, broker_prefix, b"before")
    broker.stop()

    broker.wipe()

    broker.start()
    assert probe.found(broker.url, broker_prefix) is None
    probe.put(broker.url, broker_prefix, b"after")
    assert probe.found(broker.url, broker_prefix) == b"after"


def test_a_running_broker_is_not_wiped(probe: Probe, broker: Broker, broker_prefix: str) -> None:
    probe.put(broker.url, broker_prefix, b"kept")

    with pytest.raises(ServerFailed, match="is running; stop it"):
        broker.wipe()

    assert probe.found(broker.url, broker_prefix) == b"kept"


def test_a_paused_broker_answers_nobody_until_it_goes_on(probe: Probe, broker: Broker, broker_prefix: str) -> None:
    probe.put(broker.url, broker_prefix, b"kept")

    async def ask() -> bytes | None:
        broker.pause()
        asked = asyncio.create_task(probe.find(broker.url, broker_prefix))
        done, _ = await asyncio.wait([asked], timeout=LOOK_SECONDS)
        broker.resume()
        assert not done
        return await asked

    assert asyncio.run(asyncio.wait_for(ask(), WAIT_SECONDS)) == b"kept"


def test_a_paused_broker_is_stopped_like_any_other(probe: Probe, broker: Broker, broker_prefix: str) -> None:
    probe.put(broker.url, broker_prefix, b"kept")
    broker.pause()

    broker.restart()

    assert probe.found(broker.url, broker_prefix) == b"kept"


def test_two_brokers_know_nothing_of_each_other_and_a_closed_one_leaves_nothing(
    probe: Probe, broker: Broker, broker_prefix: str
) -> None:
    probe.put(broker.url, broker_prefix, b"first")

    with probe.kind() as other:
        assert probe.found(other.url, broker_prefix) is None
        probe.put(other.url, broker_prefix, b"second")
        names = [process.name() for process in of(other.directory)]
        other.pause()

    assert probe.found(broker.url, broker_prefix) == b"first"
    assert names
    assert "epmd" not in names
    assert of(other.directory) == []
    assert not other.directory.exists()


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


@pytest.mark.parametrize("name", ["RABBITMQ", "NATS", "REDIS", "KAFKA"])
def test_a_broker_that_was_given_is_the_one_that_tests_use(
    name: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"AMENDS_TEST_{name}", "there://already")
    kind = BROKERS[name.lower()]

    assert list(servers._shared_url(request, tmp_path_factory, kind)) == ["there://already"]


def test_private_brokers_run(
    rabbitmq_server: Rabbitmq, nats_server: Nats, redis_server: Redis, kafka_server: Kafka
) -> None:
    for probe, broker in zip(PROBES, (rabbitmq_server, nats_server, redis_server, kafka_server), strict=True):
        assert isinstance(broker, probe.kind)
        assert broker.running


def test_over_tls_gets_in_who_trusts_the_authority_of_the_broker_and_nobody_else(probe: Probe) -> None:
    with probe.kind(tls=True) as broker, contextlib.closing(probe.kind(tls=True)) as other:
        probe.knock(broker.tls_url, broker.certificates.context())
        assert probe.found(broker.tls_url, "nothing", broker.certificates.context()) is None

        with pytest.raises(Exception, match=r"(?i)certificate|ssl|unable to bootstrap"):
            probe.knock(broker.tls_url, other.certificates.context())
