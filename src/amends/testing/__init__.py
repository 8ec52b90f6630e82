"""What amends is tested with, shipped to those who build on it.

Stage: beside all others. A virtual clock, an in-memory orchestrator, a context made by hand,
exploring a saga through every fault, seeded simulations, and the suite that every store must pass.
May import: everything. Must never: be imported by the rest of amends.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from amends.testing.by_hand import context
    from amends.testing.exploration import Counterexample, Exploration, explore
    from amends.testing.explore_acts import Beside
    from amends.testing.explore_report import Report
    from amends.testing.explore_world import Clock
    from amends.testing.sandbox import NewSandbox, Sandbox, Started
    from amends.testing.sandbox_fakes import Fake, fake, host
    from amends.testing.specification import (
        cancels,
        compensates,
        fails,
        given,
        rejects,
        replies,
        runs,
        signals,
        undo,
    )

__all__ = [
    "Beside",
    "Clock",
    "Counterexample",
    "Exploration",
    "Fake",
    "NewSandbox",
    "Report",
    "Sandbox",
    "Started",
    "cancels",
    "compensates",
    "context",
    "explore",
    "fails",
    "fake",
    "given",
    "host",
    "rejects",
    "replies",
    "runs",
    "signals",
    "undo",
]

_MODULES = {
    "Beside": "explore_acts",
    "Clock": "explore_world",
    "Counterexample": "exploration",
    "Exploration": "exploration",
    "Fake": "sandbox_fakes",
    "NewSandbox": "sandbox",
    "Report": "explore_report",
    "Sandbox": "sandbox",
    "Started": "sandbox",
    "cancels": "specification",
    "compensates": "specification",
    "context": "by_hand",
    "explore": "exploration",
    "fails": "specification",
    "fake": "sandbox_fakes",
    "given": "specification",
    "host": "sandbox_fakes",
    "rejects": "specification",
    "replies": "specification",
    "runs": "specification",
    "signals": "specification",
    "undo": "specification",
}


def __getattr__(name: str) -> Any:
    """Imported on first use: every run of pytest loads the plugin, and few need the sandbox."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"amends.testing.{_MODULES[name]}"), name)
    globals()[name] = found
    return found
