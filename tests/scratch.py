"""Where the tests of a run write: `TMPDIR=$(python tests/scratch.py)`.

In memory, where there is room for it: nothing of it is to outlive them, a process that is killed leaves its pages
there as anywhere, and a disk would be asked to sync every commit of every test. `make soak` writes to the disk.

Guarantees: the directory is new, its path is short, as those of sockets have to be, and other users, as that of
PostgreSQL's processes, get through it.
Must not: remove anything; whoever asked for the place does.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import psutil

MEMORY = Path("/dev/shm")  # noqa: S108  # a new directory in it
ROOM_BYTES = 6 * 2**30


def roomy(place: Path) -> bool:
    """Whether a place is there, takes that much, of which half the memory is left, and lets programs be run."""
    return (
        place.is_dir()
        and shutil.disk_usage(place).free > ROOM_BYTES
        and psutil.virtual_memory().available > 2 * ROOM_BYTES
        and not os.statvfs(place).f_flag & os.ST_NOEXEC
    )


def main() -> None:
    """Make one, and say where."""
    made = Path(tempfile.mkdtemp(prefix="at-", dir=MEMORY if roomy(MEMORY) else None))
    made.chmod(0o755)
    sys.stdout.write(f"{made}\n")


if __name__ == "__main__":
    main()
