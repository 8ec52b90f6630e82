"""How many runs an exploration makes where nobody says so: `pytest --amends-explore=RUNS` changes it.

Guarantees: imports nothing, since the plugin is loaded by every session of pytest.
Must not: be changed by anything but the plugin.
"""

from __future__ import annotations

RUNS = 2_000


class Budget:
    """The number in force."""

    def __init__(self) -> None:
        self.runs: int = RUNS


BUDGET = Budget()
