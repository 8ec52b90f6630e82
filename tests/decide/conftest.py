"""Hypothesis in these tests: the same examples in every run, unless more are asked for.

Guarantees: a red test is red again; with AMENDS_EXAMPLES=20 every property tries twenty times as
many examples, new ones in each run, which is for the night.
Must not: make an example depend on time.
"""

from __future__ import annotations

import os

from hypothesis import settings
from plans import examples

settings.register_profile(
    "core", max_examples=examples(100), derandomize="AMENDS_EXAMPLES" not in os.environ, deadline=None
)
settings.load_profile("core")
