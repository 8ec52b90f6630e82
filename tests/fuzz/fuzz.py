"""Spoils what is well formed for as long as it is told to, and ends at the first rule that breaks.

    python tests/fuzz/fuzz.py --seconds 600 --seed 7
    python tests/fuzz/fuzz.py --target envelope --seconds 60
    python tests/fuzz/fuzz.py --file tests/fuzz/corpus/baton/found-no-rows

What broke a rule is written to `tests/fuzz/corpus/<target>/`, and stays there when it is mended: every file in the
corpus is tried by `make test`, and is what is spoiled next time.

Guarantees: prints the seed before it begins; its exit code is 1 where a rule broke.
Must not: be imported; `fuzz_run.py` is the fuzzer.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).parents[2]
for name in ("tests/fuzz", "tests/run", "tests/define", "tests"):
    sys.path.insert(0, str(ROOT / name))

from fuzz_run import CORPUS, Broken, Report, attempt, fuzz  # noqa: E402  # run as a script it finds its neighbours first
from fuzz_targets import targets  # noqa: E402


def main() -> int:
    """Fuzz; 1 where a rule broke."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--target", help="Only those whose names begin so.")
    parser.add_argument("--file", type=Path, help="Only this input, of the target that its directory is called after.")
    options = parser.parse_args()
    found = [target for target in targets() if target.name.startswith(options.target or "")]
    try:
        if options.file is not None:
            named = [target for target in found if target.name.replace(" ", "-") == options.file.parent.name]
            attempt(named[0], options.file.read_bytes(), Report(), "a file", None)
            return 0
        sys.stdout.write(f"seed {options.seed}\n")
        sys.stdout.flush()
        report = fuzz(found, options.seed, seconds=options.seconds, keep=CORPUS)
    except Broken as broken:
        traceback.print_exception(broken)
        sys.stdout.write(f"FAILED: {broken}\n")
        return 1
    sys.stdout.write("\n".join(["nothing broke", *report.lines()]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
