"""A wall clock that jumps, or is off for good, for the processes of the chaos test: Python imports this by itself.

What it is: `time.time` and `time.time_ns` with the seconds added that stand in the file named by CHAOS_CLOCK, and
those of CHAOS_SKEW. The steady clock is the machine's. (libfaketime breaks `time.sleep` on the way, which a machine's
clock never does. A test sees to it that amends reads the wall clock in no other way than these.)
Must not: be on the path of anything else.
"""

import os
import time

_real, _path, _skew = time.time, os.environ.get("CHAOS_CLOCK", ""), float(os.environ.get("CHAOS_SKEW", "0"))
_known: list[float] = [0.0, 0.0]  # when it was read, what it said


def _jumping() -> float:
    steady = time.monotonic()
    if _path and steady - _known[0] > 0.05:
        _known[0] = steady
        try:
            with open(_path) as file:
                _known[1] = float(file.read() or 0)
        except (OSError, ValueError):
            pass
    return _real() + _known[1] + _skew


if _path or _skew:
    time.time = _jumping
    time.time_ns = lambda: int(_jumping() * 1e9)
