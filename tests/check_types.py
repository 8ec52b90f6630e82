"""mypy --strict over everything: the package, then each folder of tests, examples, benchmarks, services.

The folders go one by one, since each has a conftest of its own. Ends at the first that fails.

Guarantees: no Python file of the project is left out but the misuses, whose errors are the point.
Must not: have settings of its own; they are in pyproject.toml.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main() -> int:
    """Run mypy as often as it takes."""
    folders = sorted(path for path in (ROOT / "tests").iterdir() if path.is_dir() and any(path.glob("*.py")))
    single = [str(path) for path in sorted((ROOT / "tests").glob("*.py"))]
    releases = sorted((ROOT / "examples/deploy").glob("release-*"))  # of one program: their modules have equal names
    apart = "--exclude=examples/deploy/release-"
    beside = [str(ROOT / name) for name in ("examples", "bench", "services")]
    parts = [[], *([str(folder)] for folder in folders), [apart, *single, *beside], *([str(path)] for path in releases)]
    inner = sorted({path.parent for folder in folders for path in folder.glob("*/**/*.py")})
    where = ":".join(str(path) for path in (ROOT, ROOT / "src", ROOT / "examples", ROOT / "tests", *folders, *inner))
    for part in parts:
        command = [sys.executable, "-m", "mypy", *part]
        done = subprocess.run(command, cwd=ROOT, env={**os.environ, "MYPYPATH": where}, check=False)
        if done.returncode != 0:
            return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
