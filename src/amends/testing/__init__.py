"""What amends is tested with, shipped to those who build on it.

Stage: beside all others. A virtual clock, an in-memory orchestrator, a context made by hand,
seeded simulations, and the suite that every store must pass.
May import: everything. Must never: be imported by the rest of amends.
"""

from amends.testing.by_hand import context
from amends.testing.sandbox import NewSandbox, Sandbox, Started

__all__ = ["NewSandbox", "Sandbox", "Started", "context"]
