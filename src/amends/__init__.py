"""Durable sagas: every saga completes, or makes amends.

What defines sagas is loaded at once; what runs them (asyncio, sqlite3, sockets) when its name
is first asked for, so that a module of definitions is quick to import.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from amends.define.context import Context
from amends.define.contract import Service
from amends.define.flow import Flow
from amends.define.node import Resource
from amends.define.nodes import (
    Signal,
    for_each,
    parallel,
    pivot,
    result_of,
    saga_input,
    sequence,
    sleep,
    wait_for,
    when,
)
from amends.define.outcome import Compensated, Completed, Parked, Rejected, Unsettled
from amends.define.policy import Park, Reject, Retry
from amends.define.saga import Saga
from amends.define.secret import Secret, secret
from amends.define.step import Step, step
from amends.errors import AmendsError

if TYPE_CHECKING:
    from amends.run.orchestrator import Handle, Orchestrator
    from amends.run.participant import Participant
    from amends.run.settings import Settings
    from amends.run.watcher import Watcher

__all__ = [
    "AmendsError",
    "Compensated",
    "Completed",
    "Context",
    "Flow",
    "Handle",
    "Orchestrator",
    "Park",
    "Parked",
    "Participant",
    "Reject",
    "Rejected",
    "Resource",
    "Retry",
    "Saga",
    "Secret",
    "Service",
    "Settings",
    "Signal",
    "Step",
    "Unsettled",
    "Watcher",
    "for_each",
    "parallel",
    "pivot",
    "result_of",
    "saga_input",
    "secret",
    "sequence",
    "sleep",
    "step",
    "wait_for",
    "when",
]

_LATER = {
    "Handle": "amends.run.orchestrator",
    "Orchestrator": "amends.run.orchestrator",
    "Participant": "amends.run.participant",
    "Settings": "amends.run.settings",
    "Watcher": "amends.run.watcher",
}


def __getattr__(name: str) -> object:
    """Load what runs sagas on first use."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_LATER[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
