"""Durable sagas: every saga completes, or makes amends."""

from amends.define.context import Context
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
from amends.define.step import Step, step
from amends.errors import AmendsError
from amends.run.orchestrator import Handle, Orchestrator
from amends.run.settings import Settings

__all__ = [
    "AmendsError",
    "Compensated",
    "Completed",
    "Context",
    "Handle",
    "Orchestrator",
    "Park",
    "Parked",
    "Reject",
    "Rejected",
    "Resource",
    "Retry",
    "Saga",
    "Settings",
    "Signal",
    "Step",
    "Unsettled",
    "for_each",
    "parallel",
    "pivot",
    "result_of",
    "saga_input",
    "sequence",
    "sleep",
    "step",
    "wait_for",
    "when",
]
