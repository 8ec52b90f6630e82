"""What all message brokers have in common: a URL, a data directory that can be wiped, pauses.

Guarantees: what `Server` guarantees; what a broker has kept is in its data directory and nowhere else.
Must not: know any particular broker.
"""

from __future__ import annotations

import secrets
import shutil
import signal
import socket
import time
from abc import abstractmethod
from pathlib import Path

import psutil

from services.certificates import Certificates, make_certificates
from services.process import ServerFailed, free_port
from services.server import Server

USER = "amends"
ANSWER_SECONDS = 5.0
ORPHAN_SECONDS = 30.0  # what the children of a killed broker may take to notice, before they are killed too


class Broker(Server):
    """One broker, of one node."""

    end_signal = signal.SIGKILL  # its directory goes with it; and it ends one that is paused

    def __init__(self, *, tls: bool = False) -> None:
        """tls: listen with TLS as well; `tls_url` and `certificates` then say how to get in."""
        super().__init__()
        self.data = self.directory / "data"
        self.password = secrets.token_hex(12)
        self._certificates = make_certificates(self.place) if tls else None

    def choose_ports(self) -> None:
        """One port for each way in."""
        super().choose_ports()
        self.tls_port = free_port()

    @staticmethod
    @abstractmethod
    def find() -> Path:
        """Its program; raises ServiceMissing."""

    @property
    @abstractmethod
    def url(self) -> str:
        """The way in, with user and password where the broker has them."""

    @property
    @abstractmethod
    def tls_url(self) -> str:
        """The way in over TLS, for those who trust `certificates`."""

    @property
    def tls(self) -> bool:
        """Whether it listens with TLS as well."""
        return self._certificates is not None

    @property
    def certificates(self) -> Certificates:
        """What it shows who it is with."""
        if self._certificates is None:
            raise ServerFailed(f"this {self.name} was started without TLS")
        return self._certificates

    def stop(self) -> None:
        """Stop it as its administrator would."""
        if self.running:
            self.resume()
        self.end(signal.SIGTERM)

    def restart(self) -> None:
        """Stop it and start it again. After kill(), start() is enough."""
        self.stop()
        self.start()

    def kill(self) -> None:
        """kill -9 of its process; comes back when the helpers that it had are gone, too."""
        helpers = psutil.Process(self.pid).children(recursive=True)
        super().kill()
        _, left = psutil.wait_procs(helpers, timeout=ORPHAN_SECONDS)
        for process in left:
            process.kill()
        psutil.wait_procs(left)

    def pause(self) -> None:
        """Let it do nothing any more, while every connection to it stays open."""
        self._send(signal.SIGSTOP)
        paused, until = psutil.Process(self.pid), time.monotonic() + ANSWER_SECONDS
        while paused.status() != psutil.STATUS_STOPPED and time.monotonic() < until:
            time.sleep(0.001)  # it is stopped a moment after it is told to

    def resume(self) -> None:
        """Let it go on where it was paused."""
        self._send(signal.SIGCONT)

    def wipe(self) -> None:
        """Remove everything that it has kept, while it is down: the next start finds an empty broker."""
        if self.running:
            raise ServerFailed(f"{self.name} is running; stop it before its data is removed")
        if self.data.exists():
            shutil.rmtree(self.data)

    def make_data_directory(self) -> None:
        """There it keeps what it has to keep."""
        self.data.mkdir(mode=0o700, exist_ok=True)
        self.place.own(self.data)

    def exchange(self, sent: bytes, expected: int) -> bytes:
        """What it says in answer, up to so many bytes; nothing if it takes no connections."""
        got = b""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=ANSWER_SECONDS) as line:
                line.sendall(sent)
                while len(got) < expected and (more := line.recv(expected - len(got))):
                    got += more
        except OSError:
            return b""
        return got

    def _send(self, what: signal.Signals) -> None:
        if not self.running:
            raise ServerFailed(f"{self.name} is not running")
        psutil.Process(self.pid).send_signal(what)
