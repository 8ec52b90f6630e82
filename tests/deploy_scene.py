"""What a deploy has on its machines, for tests: roles, the unit and the manifests as they stand, and their processes.

Guarantees: what runs is what the files in `examples/deploy` say; only paths are others.
Must not: leave a process behind.
"""

from __future__ import annotations

import configparser
import contextlib
import http.client
import importlib.util
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import yaml
from psycopg import sql

from services.postgres import Postgres

DEPLOY = Path(__file__).parents[1] / "examples" / "deploy"
PATIENCE_SECONDS = 60.0
BIN = Path(sys.executable).parent


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition, in bounded time."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end, f"it did not come to pass that {what}"
        time.sleep(0.02)


@dataclass(frozen=True)
class Site:
    """A database as its administrator prepares it: one role owns the schema, another may only use it."""

    admin: str
    owner: str
    app: str

    def value(self, statement: str, *values: object) -> Any:
        """One value, read now."""
        with psycopg.connect(self.admin, autocommit=True) as connection:
            row = connection.execute(statement, values).fetchone()
            return None if row is None else row[0]


def site(server: Postgres) -> Site:
    """A fresh database with the two roles of the guide, and not yet a table in it."""
    url = server.create_database()
    name = sql.Identifier(urlsplit(url).path.removeprefix("/"))
    for role in ("shop_owner", "shop_app"):
        server.databases.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'secret'").format(sql.Identifier(role)))
    server.databases.execute(sql.SQL("GRANT CREATE ON DATABASE {} TO shop_owner").format(name))
    return Site(url, of_role(url, "shop_owner"), of_role(url, "shop_app"))


def of_role(url: str, role: str) -> str:
    """The same database for another role."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{role}:secret@{parts.netloc.rpartition('@')[2]}"))


def amends(*arguments: str, database: str, release: str = "release-2") -> subprocess.CompletedProcess[str]:
    """A command of somebody who stands in a release's directory."""
    return subprocess.run(
        [str(BIN / "amends"), *arguments],
        cwd=DEPLOY / release,
        env={**os.environ, "AMENDS_DATABASE": database},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def prepare(place: Site) -> None:
    """What comes once, before the first worker: the schema, and the rights of the others."""
    done = amends(
        *manifest("upgrade.yaml", "Job")["spec"]["template"]["spec"]["containers"][0]["command"][1:],
        database=place.owner,
    )
    assert done.returncode == 0, done.stderr
    with psycopg.connect(place.owner, autocommit=True) as connection:
        connection.execute((DEPLOY / "privileges.sql").read_bytes())


def shop(release: str) -> ModuleType:
    """The module of a release, under a name of its own."""
    name = f"shop_of_{release.replace('-', '_')}"
    spec = importlib.util.spec_from_file_location(name, DEPLOY / release / "shop.py")
    assert spec is not None
    assert spec.loader is not None
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass
class Running:
    """A worker process, and what it said."""

    child: subprocess.Popen[bytes]
    log: Path
    grace_seconds: float

    def stop(self) -> int:
        """SIGTERM, and kill -9 after the grace; its exit code, so that -9 says it was not in time."""
        self.child.send_signal(signal.SIGTERM)
        try:
            return self.child.wait(self.grace_seconds)
        except subprocess.TimeoutExpired:
            self.child.kill()
            return self.child.wait()

    def close(self) -> None:
        """End it, whatever it does."""
        self.child.kill()
        self.child.wait()


@dataclass
class Machine:
    """Starts what the files say."""

    folder: Path
    database: str
    running: list[Running] = field(default_factory=list)

    def start(self, command: list[str], release: str, grace_seconds: float, **environment: str) -> Running:
        """A process in the directory of a release."""
        log = self.folder / f"{len(self.running)}.log"
        with log.open("wb") as file:
            child = subprocess.Popen(
                command,
                cwd=DEPLOY / release,
                env={**os.environ, "AMENDS_DATABASE": self.database, **environment},
                stdout=file,
                stderr=file,
            )
        self.running.append(Running(child, log, grace_seconds))
        return self.running[-1]

    def close(self) -> None:
        """End all."""
        for process in self.running:
            process.close()


@contextmanager
def machine(folder: Path, database: str) -> Iterator[Machine]:
    """It, until the block ends."""
    found = Machine(folder, database)
    try:
        yield found
    finally:
        found.close()


# systemd


def unit(name: str = "amends-worker@.service") -> dict[str, str]:
    """A unit's section Service."""
    parser = configparser.ConfigParser(interpolation=None, comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # as configparser's own docs say
    parser.read(DEPLOY / "systemd" / name)
    return dict(parser["Service"])


def systemctl_start(on: Machine, release: str) -> Running:
    """`systemctl start`: returns when the worker says that it is ready, as Type=notify has it."""
    service = unit()
    assert service["Type"] == "notify"
    command = shlex.split(service["ExecStart"].replace("/srv/shop/current/venv/bin", str(BIN)))
    address = f"@amends-deploy-{os.getpid()}-{len(on.running)}"
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as notify:
        notify.settimeout(PATIENCE_SECONDS)
        notify.bind(address.replace("@", "\0"))
        process = on.start(command, release, float(service["TimeoutStopSec"]), NOTIFY_SOCKET=address)
        while "READY=1" not in notify.recv(4096).decode().split("\n"):
            continue
    return process


# Kubernetes


def manifest(name: str, kind: str) -> Any:
    """One object of a manifest."""
    objects = yaml.safe_load_all((DEPLOY / "kubernetes" / name).read_text())
    return next(found for found in objects if found["kind"] == kind)


@dataclass
class Pod:
    """A pod of the worker's deployment."""

    process: Running
    spec: Any
    run: Path

    def probe(self, name: str) -> bool:
        """What the kubelet would hear."""
        command = here(self.spec["containers"][0][f"{name}Probe"]["exec"]["command"], self.run)
        return subprocess.run(command, capture_output=True, timeout=PATIENCE_SECONDS, check=False).returncode == 0


def here(command: list[str], run: Path) -> list[str]:
    """A command of a manifest with this pod's own /run/amends."""
    return [word.replace("/run/amends", str(run)) for word in command]


def pod(on: Machine, release: str) -> Pod:
    """A pod, just scheduled."""
    spec = manifest("worker.yaml", "Deployment")["spec"]["template"]["spec"]
    run = on.folder / f"run-{len(on.running)}"
    run.mkdir()
    program, *arguments = here(spec["containers"][0]["command"], run)
    process = on.start([str(BIN / program), *arguments], release, float(spec["terminationGracePeriodSeconds"]))
    return Pod(process, spec, run)


# The dashboard


@dataclass
class Served:
    """A dashboard that answers."""

    process: Running
    port: int

    def get(self, path: str, token: str = "", host: str = "ops.example.com") -> int:
        """The status of an answer to somebody who asks by a host's name."""
        headers = {"Host": host, **({"Authorization": f"Bearer {token}"} if token else {})}
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)) as asked:
            asked.request("GET", path, headers=headers)
            return asked.getresponse().status


def dashboard_of_the_unit(on: Machine, tokens: Path) -> Served:
    """`systemctl start amends-dashboard`."""
    service = unit("amends-dashboard.service")
    command = shlex.split(service["ExecStart"].replace("/srv/shop/current/venv/bin", str(BIN)))
    command = [word.replace("/etc/shop/dashboard.tokens", str(tokens)) for word in command]
    return _served(on, command, float(service["TimeoutStopSec"]))


def dashboard_of_the_pod(on: Machine, tokens: Path) -> Served:
    """A pod, with the tokens as the kubelet gives a secret to a group: readable by it."""
    spec = manifest("dashboard.yaml", "Deployment")["spec"]["template"]["spec"]
    run = on.folder / "run"
    run.mkdir()
    tokens.chmod(0o440)
    copy = spec["initContainers"][0]["command"]
    subprocess.run([word.replace("/run/secret/tokens", str(tokens)) for word in here(copy, run)], check=True)
    program, *arguments = here(spec["containers"][0]["command"], run)
    return _served(on, [str(BIN / program), *arguments], float(spec["terminationGracePeriodSeconds"]))


def _served(on: Machine, command: list[str], grace_seconds: float) -> Served:
    """It, on a port that is free."""
    process = on.start([*command, "--port=0"], "release-2", grace_seconds)
    at = re.compile(r"^The dashboard is at http://\S+:(\d+)/$", re.M)
    wait_for(lambda: at.search(process.log.read_text()) is not None, "the dashboard says where it is")
    found = at.search(process.log.read_text())
    assert found is not None
    return Served(process, int(found[1]))
