"""How far an exploration goes where nobody says so: `pytest --amends-explore=RUNS`, or `=30s`, changes it.

Guarantees: imports nothing, since the plugin is loaded by every session of pytest.
Must not: be changed by anything but the plugin.
"""

from __future__ import annotations

RUNS = 2_000
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


class Budget:
    """What is in force. runs, seconds: whichever is over first; None is without end. only: the faults of the one run
    that is made."""

    def __init__(self) -> None:
        self.runs: int | None = RUNS
        self.seconds: float | None = None
        self.only: str = ""


BUDGET = Budget()


def limit_of(text: str) -> tuple[int | None, float | None]:
    """Runs, or seconds: `20000`, `30s`, `10m`, `8h`. Raises ValueError."""
    number, unit = text[:-1], text[-1:]
    seconds = float(number) * UNITS[unit] if unit in UNITS else None
    runs = int(text) if seconds is None else None
    if not 0 < (runs or seconds or 0) < float("inf"):
        raise ValueError(text)
    return runs, seconds
