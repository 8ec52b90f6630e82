"""Steps that write through Django's models: `atomic()` is the step's transaction."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).with_name("tx_django.py")
RULES = ("done", "undone", "again", "rejected", "constraint", "lost", "torn", "slow")


def test_what_models_write_in_a_step_is_part_of_its_transaction(postgres_url: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parent)}

    done = subprocess.run(
        [sys.executable, str(SCRIPT), postgres_url],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{rule} holds" for rule in RULES], done.stderr
