"""What amends is tested with, shipped to those who build on it.

Stage: beside all others. A virtual clock, an in-memory orchestrator, a context made by hand,
seeded simulations, and the suite that every store must pass.
May import: everything. Must never: be imported by the rest of amends.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from amends.testing.by_hand import context
    from amends.testing.sandbox import NewSandbox, Sandbox, Started

__all__ = ["NewSandbox", "Sandbox", "Started", "context"]


def __getattr__(name: str) -> Any:
    """Imported on first use: every run of pytest loads the plugin, and few need the sandbox."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "context":
        from amends.testing.by_hand import context as found
    else:
        from amends.testing import sandbox

        found = getattr(sandbox, name)
    globals()[name] = found
    return found
