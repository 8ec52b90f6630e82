"""`python -m services install` and `python -m services up [NAME …]`."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from collections.abc import Sequence

from services.install import CannotInstall, install
from services.javascript import fetch_packages
from services.kafka_jars import fetch_kafka
from services.maven import CannotFetch
from services.versions import fetch

NAMES = ("postgres", "pgbouncer", "rabbitmq", "nats", "redis", "kafka")


def get() -> bool:
    """Get what is missing, and say what that was. Whether everything is there that `up` starts."""
    complete = True
    for of_what in (install, fetch_kafka, fetch_packages, fetch):
        try:
            got = of_what()
        except (CannotInstall, CannotFetch) as error:
            print(error, file=sys.stderr)
            # Tests of the other versions, and of the participant in JavaScript, say themselves that they did not run.
            complete = complete and of_what in (fetch, fetch_packages)
        else:
            for name in got:
                print(f"unpacked: {name}")
    return complete


def up(names: Sequence[str]) -> None:
    """Servers in the foreground, until Ctrl-C."""
    from services.up import started  # this needs the development tools, `install` needs nothing

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
    if not get():
        return 1
    if given.act == "up":
        up(names or NAMES)
    else:
        print(f"everything is there: {', '.join(NAMES)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
