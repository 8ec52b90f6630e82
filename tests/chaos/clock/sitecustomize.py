"""A wall clock that jumps, for the processes of the chaos test: Python imports this by itself.

What it is: `time.time` with the seconds added that stand in the file named by CHAOS_CLOCK. The steady clock is the
machine's. (libfaketime breaks `time.sleep` on the way, which a machine's clock never does.)
Must not: be on the path of anything else.
"""

import os
import time

_real, _path = time.time, os.environ.get("CHAOS_CLOCK", "")
_known: list[float] = [0.0, 0.0]  # when it was read, what it said


def _jumping() -> float:
    steady = time.monotonic()
    if steady - _known[0] > 0.05:
        _known[0] = steady
        try:
            with open(_path) as file:
                _known[1] = float(file.read() or 0)
        except (OSError, ValueError):
            pass
    return _real() + _known[1]


if _path:
    time.time = _jumping
