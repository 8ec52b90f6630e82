"""A private Apache Kafka in KRaft mode: one node, which is broker and controller, on loopback.

    with Kafka() as broker:
        producer = AIOKafkaProducer(bootstrap_servers=broker.address)

A client is told by Kafka itself where to connect to, so one that is to come through a proxy needs a Kafka that tells
it the proxy's address:

    broker = Kafka()
    with Proxy(broker.url) as proxy:
        broker.advertise(proxy.port)
        with broker: ...

Guarantees: what `Broker` guarantees; topics are made by those who ask for them, and by no mistake; Kafka's own talk
with itself goes through no proxy.
Must not: be part of a cluster; wait where a single node has nothing to wait for.
"""

from __future__ import annotations

import base64
import contextlib
import secrets
import shutil
import struct
from collections.abc import Sequence
from pathlib import Path

from services.broker import USER, Broker
from services.found import java_program, kafka_jars
from services.process import free_port

_NAME = b"amends"
_ASK_FOR_VERSIONS = struct.pack("!hhih", 18, 0, 1, len(_NAME)) + _NAME
_ANSWER_BYTES = 10  # length, correlation id, error code
_CONFIGURATION = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
inter.broker.listener.name=BROKER
listeners={listeners}
advertised.listeners={advertised}
listener.security.protocol.map=CLIENT:PLAINTEXT,BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT,TLS:SSL,SASL:SASL_PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=3
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=3
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
num.network.threads=2
num.io.threads=4
log.cleaner.dedupe.buffer.size=4194304
"""
# After a kill the controller holds the killed broker for alive for as long as its session lasts, and lets no other in.
_TLS_CONFIGURATION = """
listener.name.tls.ssl.keystore.type=PEM
listener.name.tls.ssl.keystore.location={keys}
"""
_SASL_CONFIGURATION = """
listener.name.sasl.sasl.enabled.mechanisms=PLAIN
listener.name.sasl.plain.sasl.jaas.config=\
org.apache.kafka.common.security.plain.PlainLoginModule required user_{user}="{password}";
"""
_LOGGING = """
log4j.rootLogger=WARN, console
log4j.logger.kafka.coordinator=INFO
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=%d{ISO8601} %p %c{1} %m%n
"""


class Kafka(Broker):
    """One node."""

    name = "Kafka"

    def __init__(self, *, tls: bool = False, sasl: bool = False, advertised_port: int | None = None) -> None:
        """tls, sasl: listen with TLS, or for user and password, as well. advertised_port: see `advertise`."""
        jars, java = self.find(), java_program()
        super().__init__(tls=tls)
        self._java = self.place.reachable(java)
        self._jars = self.place.reachable(next(jars.glob("kafka_*.jar"))).parent
        self._classes = self._jars / "classes.jsa"
        self._own_classes = self.directory / "classes.jsa"
        self._sasl = sasl
        self.advertised_port = advertised_port  # None: its own

    @staticmethod
    def find() -> Path:
        """The directory with what it consists of."""
        return kafka_jars()

    @property
    def address(self) -> str:
        """Host and port, as clients want them."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The way in, which asks for no password."""
        return f"kafka://{self.address}"

    @property
    def tls_url(self) -> str:
        """The way in over TLS."""
        return f"kafkas://127.0.0.1:{self.tls_port}"

    @property
    def sasl_url(self) -> str:
        """The way in with user and password (the mechanism PLAIN), in the clear."""
        return f"kafka://{USER}:{self.password}@127.0.0.1:{self.sasl_port}"

    def advertise(self, port: int) -> None:
        """From its next start on, send the clients that came by `url` to this port of loopback, a proxy's."""
        self.advertised_port = port

    def choose_ports(self) -> None:
        """Some more, for what it says to itself."""
        super().choose_ports()
        self.sasl_port, self._broker_port, self._controller_port = free_port(), free_port(), free_port()

    def configure(self) -> None:
        """Write what it reads, and prepare the data directory if there is none."""
        ways_in = {"CLIENT": self.port, "BROKER": self._broker_port}
        text = _CONFIGURATION
        if self.tls:
            ways_in["TLS"] = self.tls_port
            text += _TLS_CONFIGURATION
        if self._sasl:
            ways_in["SASL"] = self.sasl_port
            text += _SASL_CONFIGURATION
        told = {**ways_in, "CLIENT": self.advertised_port or self.port}
        text = text.format(
            controller=self._controller_port,
            listeners=_listeners({**ways_in, "CONTROLLER": self._controller_port}),
            advertised=_listeners(told),
            data=self.data,
            keys=self._keys() if self.tls else "",
            user=USER,
            password=self.password,
        )
        self.place.write("server.properties", text)
        self.place.write("log4j.properties", _LOGGING)
        if not self.data.exists():
            self.make_data_directory()
            self.place.run(self._run("kafka.tools.StorageTool", "format", "--cluster-id", _new_id(), "--config"))

    def command(self) -> Sequence[str]:
        """The command of the process."""
        return self._run("kafka.Kafka")

    def stop(self) -> None:
        """Stop it as its administrator would. The first one leaves to all later ones what Java had to work out."""
        super().stop()
        if self._own_classes.exists() and not self._classes.exists():
            self._hand_on()

    def answers(self) -> bool:
        """Whether it says what it speaks: it answers nothing before it is ready for everything."""
        asked = struct.pack("!i", len(_ASK_FOR_VERSIONS)) + _ASK_FOR_VERSIONS
        return self.exchange(asked, _ANSWER_BYTES)[4:] == struct.pack("!ih", 1, 0)

    def _hand_on(self) -> None:
        """All or nothing: Java takes the length of an archive on trust. What is not ours to write to stays as it is."""
        new = self._classes.with_name(f"{self.directory.name}.new")
        with contextlib.suppress(OSError):
            try:
                shutil.copyfile(self._own_classes, new)
                new.replace(self._classes)
            finally:
                new.unlink(missing_ok=True)

    def _keys(self) -> Path:
        """Certificate and key in one file, as Kafka wants them."""
        parts = (self.certificates.key, self.certificates.certificate)
        return self.place.write("keys.pem", "".join(part.read_text() for part in parts))

    def _class_option(self) -> str:
        """Take the classes from an archive, or write one: it halves the time of a start. Java refuses what is stale."""
        if self._classes.exists():
            return f"-XX:SharedArchiveFile={self._classes}"
        return f"-XX:ArchiveClassesAtExit={self._own_classes}"

    def _run(self, main: str, *arguments: str) -> list[str]:
        """The command for one of its programs. Quickly compiled code is enough, and is there sooner."""
        return [
            *(str(self._java), "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"),
            *("-Xlog:cds*=off", self._class_option() if main == "kafka.Kafka" else "-Xshare:auto"),
            *(f"-Djava.io.tmpdir={self.directory}", f"-Dlog4j.configuration=file:{self.directory}/log4j.properties"),
            *("-cp", f"{self._jars}/*", main, *arguments, str(self.directory / "server.properties")),
        ]


def _listeners(ports: dict[str, int]) -> str:
    """As its configuration says it."""
    return ",".join(f"{name}://127.0.0.1:{port}" for name, port in ports.items())


def _new_id() -> str:
    """A cluster's id; one that begins with a dash would be taken for an option."""
    return "A" + base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")[1:]
