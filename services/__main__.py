"""`python -m services install` and `python -m services up`."""

from __future__ import annotations

import argparse
import signal
import sys

from services.install import CannotInstall, install
from services.versions import CannotFetch, fetch


def up() -> None:
    """PostgreSQL and PgBouncer in the foreground, until Ctrl-C."""
    from services.pgbouncer import Pgbouncer  # these need the development tools, `install` needs nothing
    from services.postgres import Postgres

    for end in (signal.SIGINT, signal.SIGTERM):  # a shell has its background processes ignore the first
        signal.signal(end, signal.default_int_handler)
    try:
        with Postgres() as postgres, Pgbouncer(postgres.admin_url) as pgbouncer:
            print(f"PostgreSQL  {postgres.admin_url}")
            print(f"PgBouncer   {pgbouncer.url(postgres.admin_url)}")
            print(f"logs        {postgres.log}, {pgbouncer.log}")
            print(
                f"stop        Ctrl-C here; everything in them goes. Tests use it with\n"
                f"            export AMENDS_TEST_POSTGRES={postgres.admin_url}",
                flush=True,
            )
            signal.pause()
    except KeyboardInterrupt:
        print("stopped")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m services", description="Servers for tests and for trying things.")
    parser.add_argument("act", choices=["install", "up"], help="get what is missing; or start them in the foreground")
    act = parser.parse_args().act
    try:
        got = install()
    except CannotInstall as error:
        print(error, file=sys.stderr)
        return 1
    if act == "install":
        print(f"unpacked into .services: {', '.join(got)}" if got else "PostgreSQL and PgBouncer are there")
        try:
            others = fetch()
        except CannotFetch as error:  # the tests with other versions say themselves that they were not run
            print(error, file=sys.stderr)
        else:
            print(f"PostgreSQL {', '.join(map(str, others))} too" if others else "so are its other versions")
    else:
        up()
    return 0


if __name__ == "__main__":
    sys.exit(main())
