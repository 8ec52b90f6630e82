"""Hours of what `make test` does for minutes, with seeds that were never run before.

    python tests/soak.py --hours 8

Each round runs fresh seeds of the simulation, a deeper state machine of the core, ten minutes of fuzzing, the large
model of the barrier, the long crash sweeps, a quarter of an hour of chaos on PostgreSQL, and five minutes each on
a file and of services over every broker, in both styles. It ends at the first failure, whose text holds
the command that repeats it.

Guarantees: ends by itself; the last line says how much was run.
Must not: run what `make test` would not understand.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
SEEDS_A_ROUND = 2_000
FLEET_SECONDS = "900"
FUZZ_SECONDS = "600"
SERVICES = tuple(f"tests/chaos/test_services_{name}.py" for name in ("brokers", "chaos", "choreographed"))
SERVICES_SECONDS = ("AMENDS_CHAOS_SERVICES_SECONDS", "AMENDS_CHAOS_CHOREOGRAPHED_SECONDS")
EACH = "300"  # seconds


def run(*command: str, **environment: str) -> bool:
    """Run a command in the project; whether it ended well."""
    sys.stdout.write(f"$ {' '.join(command)}\n")
    sys.stdout.flush()
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, check=False).returncode == 0


def one_round(first: int, jobs: int) -> bool:
    """One round; False at the first failure."""
    python = sys.executable
    seeds = f"{first}:{first + SEEDS_A_ROUND}"
    return (
        run(python, "-m", "amends.testing.simulate", "--seeds", seeds, "--jobs", str(jobs))
        and run(python, "-m", "pytest", "tests/decide/test_machine.py", AMENDS_EXAMPLES="20")
        and run(python, "tests/fuzz/fuzz.py", "--seconds", FUZZ_SECONDS, "--seed", str(first % 1_000_000_007))
        and run(python, "-m", "pytest", "tests/decide/test_barrier_model.py", AMENDS_BARRIER="large")
        and run(python, "-m", "pytest", "tests/testing/test_explore_engine.py", AMENDS_EXPLORE="large")
        and run(python, "-m", "pytest", "tests/testing/test_explore_styles.py", AMENDS_EXPLORE="large")
        and run(python, "-m", "pytest", "-n", str(jobs), "tests/run/test_crash_sweep.py", AMENDS_SWEEP="full")
        and run(python, "tests/chaos/fleet.py", "--seconds", FLEET_SECONDS, "--seed", str(first % 1_000_000_007))
        and run(python, "-m", "pytest", "tests/chaos/test_chaos.py", AMENDS_CHAOS_SECONDS=EACH)
        and run(python, "-m", "pytest", *SERVICES, **dict.fromkeys(SERVICES_SECONDS, EACH))
    )


def main() -> int:
    """Rounds until the time is up."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    until = time.monotonic() + options.hours * 3600
    first = int(time.time()) * 1_000  # never run before
    rounds = 0
    while time.monotonic() < until:
        if not one_round(first, options.jobs):
            sys.stdout.write(f"FAILED in round {rounds + 1}; seeds from {first}\n")
            return 1
        rounds += 1
        first += SEEDS_A_ROUND
    sys.stdout.write(f"{rounds} rounds held, {rounds * SEEDS_A_ROUND:,} fresh seeds\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
