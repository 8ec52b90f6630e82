"""`python -m services install` and `python -m services up [NAME …]`."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from services.browser import fetch_browser
from services.install import CannotInstall, install
from services.javascript import fetch_packages
from services.kafka_jars import fetch_kafka
from services.maven import CannotFetch
from services.versions import fetch

NAMES = ("postgres", "pgbouncer", "rabbitmq", "nats", "redis", "kafka")


PACKAGES = {  # what a server is run by
    "postgres": ("postgresql",),
    "pgbouncer": ("pgbouncer", "postgresql"),
    "rabbitmq": ("rabbitmq-server",),
    "nats": ("nats-server",),
    "redis": ("redis-server",),
    "kafka": ("default-jre-headless",),
}


def get(wanted: Sequence[str]) -> bool:
    """Get what is missing of these servers, and say what that was. Whether all of it is there."""
    packages = sorted({package for name in wanted for package in PACKAGES[name]})
    complete = _got(lambda: install(packages))
    if "kafka" in wanted:
        complete = _got(fetch_kafka) and complete
    return complete


def get_more() -> None:
    """Get what only tests want besides: they say themselves that they did not run where it is not there."""
    for of_what in (fetch_packages, fetch, fetch_browser):
        _got(of_what)


def _got(of_what: Callable[[], list[str]]) -> bool:
    try:
        got = of_what()
    except (CannotInstall, CannotFetch) as error:
        print(error, file=sys.stderr)
        return False
    for name in got:
        print(f"unpacked: {name}")
    return True


def tools_are_there(names: Sequence[str]) -> bool:
    """Whether this Python has what servers are started with; says how to come to it. `install` needs nothing."""
    try:
        import_module("services.up")
    except ModuleNotFoundError as error:
        print(
            f"to start servers this Python lacks {error.name}: {sys.executable} -m pip install {error.name}\n"
            f'or, with a Python of the checkout that has all: make services UP="{" ".join(names)}"',
            file=sys.stderr,
        )
        return False
    return True


def up(names: Sequence[str]) -> None:
    """Servers in the foreground, until Ctrl-C."""
    from services.up import started

    for end in (signal.SIGINT, signal.SIGTERM):  # a shell has its background processes ignore the first
        signal.signal(end, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt), started(names) as servers:
        for server in servers:
            print(f"{server.name:<11} {server.way_in}\n            log {server.log}")
        print("stop        Ctrl-C here; everything in them goes. Tests use them with")
        for server in servers:
            if server.variable:
                print(f"            export {server.variable}={server.way_in}")
        sys.stdout.flush()
        signal.pause()
    print("stopped")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m services", description="Servers for tests and for trying things.")
    acts = parser.add_subparsers(dest="act", required=True)
    acts.add_parser("install", help="get what is missing")
    starting = acts.add_parser("up", help="start them in the foreground, and get what is missing first")
    starting.add_argument("names", nargs="*", metavar="NAME", help=f"only these: {', '.join(NAMES)}")
    given = parser.parse_args()
    names = given.names if given.act == "up" else []
    unknown = set(names) - set(NAMES)
    if unknown:
        parser.error(f"there is no {' and no '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    if given.act == "up" and not tools_are_there(names):
        return 1
    if not get(names or NAMES):
        return 1
    if given.act == "up":
        up(names or NAMES)
    else:
        get_more()
        print(f"everything is there: {', '.join(NAMES)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
