"""A private RabbitMQ: one node, on loopback, that no other Erlang on this machine knows of.

    with Rabbitmq() as broker:
        connection = await aio_pika.connect(broker.url)

It is started as `rabbitmq-server` would start it, without the script, so that the process is the broker itself. Its
node needs no port mapper: the port for other nodes is told, and so no `epmd` is started that would outlive it.

Guarantees: what `Broker` guarantees; its settings are RabbitMQ's defaults.
Must not: read or write the machine's own RabbitMQ, its cookie or its node names.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from services.broker import USER, Broker
from services.found import UNPACKED, erlang_start, rabbitmq_home
from services.process import free_port

_HELLO = b"AMQP\x00\x00\x09\x01"
_START = b"\x01\x00\x00"  # a method on channel 0: connection.start
_CONFIGURATION = """
listeners.tcp.1 = 127.0.0.1:{port}
default_user = {user}
default_pass = {password}
log.console = true
log.file = false
"""
_TLS_CONFIGURATION = """
listeners.ssl.1 = 127.0.0.1:{port}
ssl_options.cacertfile = {certificates.authority}
ssl_options.certfile = {certificates.certificate}
ssl_options.keyfile = {certificates.key}
ssl_options.verify = verify_none
"""


class Rabbitmq(Broker):
    """One node and its broker."""

    name = "RabbitMQ"

    def __init__(self, *, tls: bool = False) -> None:
        """tls: listen with TLS as well."""
        home, start = self.find(), erlang_start()
        super().__init__(tls=tls)
        self._home = self.place.reachable(home / "sbin" / "rabbitmq-server").parents[1]
        self._erlexec = self.place.reachable(start)

    @staticmethod
    def find() -> Path:
        """Its code."""
        return rabbitmq_home()

    @property
    def url(self) -> str:
        """The way in, to the virtual host `/`."""
        return f"amqp://{USER}:{self.password}@127.0.0.1:{self.port}"

    @property
    def tls_url(self) -> str:
        """The way in over TLS."""
        return f"amqps://{USER}:{self.password}@127.0.0.1:{self.tls_port}"

    @property
    def node(self) -> str:
        """What it is called among Erlang's nodes."""
        return f"amends-{self.directory.name.rpartition('-')[2]}@localhost"

    def choose_ports(self) -> None:
        """One more, for other nodes: there are none, but a node has it."""
        super().choose_ports()
        self._node_port, self._mapper_port = free_port(), free_port()

    def configure(self) -> None:
        """Write what it reads."""
        self.make_data_directory()
        text = _CONFIGURATION.format(port=self.port, user=USER, password=self.password)
        if self.tls:
            text += _TLS_CONFIGURATION.format(port=self.tls_port, certificates=self.certificates)
        self.place.write("rabbitmq.conf", text)
        self.place.write("plugins", "[].")
        self.place.environment = self._told()

    def command(self) -> Sequence[str]:
        """Erlang itself, which becomes the broker."""
        return [
            *(str(self._erlexec), "-noinput", "-boot", "start_sasl", "-s", "rabbit", "boot"),
            *("-sname", self.node, "-setcookie", self.password, "-kernel", "inet_dist_use_interface", "{127,0,0,1}"),
            *("-kernel", "prevent_overlapping_partitions", "false"),
            *("-syslog", "logger", "[]", "-syslog", "syslog_error_logger", "false"),
            *("+W", "w", "+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none"),  # an idle broker is to be idle
        ]

    def answers(self) -> bool:
        """Whether it greets who speaks AMQP."""
        return self.exchange(_HELLO, len(_START)) == _START

    def _told(self) -> dict[str, str]:
        """Where everything is. The last two hold for the Erlang that RabbitMQ starts to wake a port mapper, too."""
        libraries = [self._home / "plugins", self._unpacked_libraries()]
        return {
            "HOME": str(self.directory),
            "ROOTDIR": str(self._erlexec.parents[2]),
            "BINDIR": str(self._erlexec.parent),
            "EMU": "beam",
            "PROGNAME": "erl",
            "ERL_LIBS": ":".join(str(path) for path in libraries if path.exists()),
            "ERL_CRASH_DUMP": "/dev/null",
            "RABBITMQ_HOME": str(self._home),
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_DIST_PORT": str(self._node_port),
            "RABBITMQ_MNESIA_BASE": str(self.data),
            "RABBITMQ_CONFIG_FILE": str(self.directory / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.directory / "plugins"),
            "RABBITMQ_CONF_ENV_FILE": str(self.directory / "none"),
            "RABBITMQ_LOG_BASE": str(self.directory),
            "RABBITMQ_LOGS": "-",
            "SYS_PREFIX": str(self.directory),
            "ERL_EPMD_PORT": str(self._mapper_port),
            "ERL_ZFLAGS": f"-start_epmd false -erl_epmd_port {self._node_port}",
        }

    def _unpacked_libraries(self) -> Path:
        """What of Erlang was unpacked because the machine's own had it not."""
        if self._home.is_relative_to(self.directory):
            return self.directory / UNPACKED.parent.name / UNPACKED.name / "usr/lib/erlang/lib"
        return UNPACKED / "usr/lib/erlang/lib"
