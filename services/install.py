"""Gets the servers' programs that are missing, as Debian packages unpacked into `.services/` of the checkout.

No privilege is needed and nothing outside the checkout is touched: apt says what is missing on this machine and
downloads it, dpkg unpacks it. Where that does not work and we are root, apt installs.

Guarantees: what is on the machine already is left as it is; afterwards every program is there, or an error says why.
Must not: start anything, nor import what has to be installed first: the standard library only.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from services.found import (
    UNPACKED,
    ServiceMissing,
    java_program,
    nats_program,
    pgbouncer_program,
    postgres_bin,
    rabbitmq_home,
    redis_program,
)

_SERVICES = UNPACKED.parent
_APT = _SERVICES / "apt"  # package lists of our own, for machines whose lists are missing or old
_PROGRAMS = {  # package -> finds its program
    "postgresql": postgres_bin,
    "pgbouncer": pgbouncer_program,
    "rabbitmq-server": rabbitmq_home,
    "nats-server": nats_program,
    "redis-server": redis_program,
    "default-jre-headless": java_program,
}


class CannotInstall(Exception):
    """A package cannot be had. The message says what was tried."""


def missing(wanted: Sequence[str] = tuple(_PROGRAMS)) -> list[str]:
    """Those of the packages whose programs are not on this machine."""
    absent = []
    for package, find in _PROGRAMS.items():
        if package not in wanted:
            continue
        try:
            find()
        except ServiceMissing:
            absent.append(package)
    return absent


def install(wanted: Sequence[str] = tuple(_PROGRAMS)) -> list[str]:
    """Get what is missing of some packages. Gives those that were; raises CannotInstall."""
    packages = missing(wanted)
    if not packages:
        return []
    install_packages(packages)
    still = missing(packages)
    if still:
        raise CannotInstall(f"installed, and yet its program is not there: {' '.join(still)}")
    return packages


def install_packages(packages: Sequence[str]) -> None:
    """Get packages and what they need. Raises CannotInstall."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise CannotInstall(f"this needs apt; elsewhere install by hand: {' '.join(packages)}")
    try:
        _unpack(packages)
    except CannotInstall:
        if os.geteuid() != 0:
            raise
        _apt(["update"])
        _apt(["install", "--yes", "--no-install-recommends", *packages])


def _unpack(packages: Sequence[str]) -> None:
    """Download the packages and what they need that is not here, and unpack them all; raises CannotInstall."""
    downloads = _SERVICES / "downloads"
    downloads.mkdir(parents=True, exist_ok=True)
    try:
        _download(packages, downloads, [])
    except CannotInstall:  # no package lists, or old ones: get some of our own
        for folder in ("lists/partial", "cache/archives/partial"):
            (_APT / folder).mkdir(parents=True, exist_ok=True)
        own = ["-o", f"Dir::State::Lists={_APT / 'lists'}", "-o", f"Dir::Cache={_APT / 'cache'}"]
        _apt([*own, "update"])
        _download(packages, downloads, own)
    for archive in sorted(downloads.glob("*.deb")):
        _run(["dpkg-deb", "--extract", str(archive), str(UNPACKED)])
    _lead_home(UNPACKED)
    shutil.rmtree(downloads)
    shutil.rmtree(_APT, ignore_errors=True)


def _lead_home(root: Path) -> None:
    """Links that lead to a place in the file system, and nowhere now, lead to it in the unpacked one."""
    links = [path for path in root.rglob("*") if path.is_symlink() and path.readlink().is_absolute()]
    for link in links:
        inside = root / link.readlink().relative_to("/")
        if not link.exists() and (inside.exists() or inside.is_symlink()):
            link.unlink()
            link.symlink_to(os.path.relpath(inside, link.parent))


def _download(packages: Sequence[str], into: Path, options: Sequence[str]) -> None:
    plan = _apt([*options, "--simulate", "--no-install-recommends", "install", *packages])
    wanted = re.findall(r"^Inst (\S+) (?:\[\S+\] )?\((\S+) ", plan, re.M)
    if not wanted:
        raise CannotInstall(f"apt has nothing to install for {' '.join(packages)}:\n{plan}")
    _apt([*options, "download", *(f"{name}={version}" for name, version in wanted)], into)


def _apt(arguments: Sequence[str], directory: Path = _SERVICES) -> str:
    command = ["apt-get", "-q", "-o", "Acquire::Retries=3"]
    if os.geteuid() == 0:
        command += ["-o", "APT::Sandbox::User=root"]  # its own user may have no way into the checkout
    return _run([*command, *arguments], directory)


def _run(command: Sequence[str], directory: Path = _SERVICES) -> str:
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CannotInstall(f"`{' '.join(command)}` ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout
