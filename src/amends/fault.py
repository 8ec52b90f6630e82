"""Named fault points, compiled in and off by default.

`AMENDS_FAULT=commit.after:3` kills this process with SIGKILL the third time it passes the
point, `commit.after:3:stop` has it stop there with SIGSTOP until somebody continues it; a test or
a simulation may put a function in `hook` instead. Crash sweeps need no patched code, so what is
tested is what runs.

Guarantees: a point that nobody watches costs one comparison.
Must not: do anything else than what was asked for by name.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping

POINTS: dict[str, str] = {
    "start.before": "a start was accepted in memory, nothing is written",
    "commit.before": "a batch is about to be written",
    "commit.inside": "a batch is written, its transaction still open",
    "commit.after": "a batch is on disk, nobody knows",
    "attempt.before": "an attempt is about to call the function",
    "attempt.after": "the function returned, nothing is written",
    "send.before": "messages are about to go to the broker",
    "send.after": "the broker has confirmed messages, nobody knows",
    "reply.written": "the decision on a reply is on disk, the broker does not know",
    "tx.before": "a transactional step ran, its transaction still open",
    "tx.after": "a transactional step is on disk, the journal does not know",
    "claim.after": "sagas were claimed, nothing is decided",
    "adopt.after": "sagas of a dead worker were taken over, nothing is decided",
    "release.after": "a saga that only waits was let go",
    "mail.after": "a signal, cancel or act is in the mailbox, nobody has taken it",
    "migrate.inside": "a migration is applied, its transaction still open",
    "reply.after": "a service's reply is confirmed by the broker, its command not acked",
    "hop.before": "what follows from a hop that had no effect is decided, nothing is written",
    "hop.after": "what follows from a hop that had no effect is on disk, nothing of it has gone out",
    "publish.after": "an event is confirmed by the broker, its outbox row not settled",
    "drain.before": "the worker was asked to stop",
}

hook: Callable[[str], None] | None = None


def point(name: str) -> None:
    """Pass a fault point."""
    if hook is not None:
        hook(name)


def killer(spec: str) -> Callable[[str], None]:
    """The hook for `name`, `name:count` or `name:count:stop`: SIGKILL, or SIGSTOP, at the count-th
    pass, 1 by default.

    Raises ValueError for a name that is no fault point, and a count that is none.
    """
    name, colon, rest = spec.partition(":")
    count, _, word = rest.partition(":")
    if name not in POINTS:
        raise ValueError(f"AMENDS_FAULT={spec}: no such fault point; known: {', '.join(sorted(POINTS))}")
    if colon and not (count.isdecimal() and int(count) > 0):
        raise ValueError(f"AMENDS_FAULT={spec}: name:3 is the third pass of the point, and {count!r} is no number")
    if word not in ("", "stop"):
        raise ValueError(f"AMENDS_FAULT={spec}: name:3:stop stops the process there, and {word!r} is nothing")
    left = int(count or 1)
    by = signal.SIGSTOP if word else signal.SIGKILL

    def kill(passed: str) -> None:
        nonlocal left
        if passed == name:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), by)

    return kill


def from_environment(environment: Mapping[str, str]) -> Callable[[str], None] | None:
    """The hook that the environment asks for, if it does."""
    spec = environment.get("AMENDS_FAULT", "")
    return killer(spec) if spec else None


hook = from_environment(os.environ)
