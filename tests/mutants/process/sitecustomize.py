"""Something wrong in the processes that a test starts: Python imports this by itself.

What it is: the engine that AMENDS_WRONG names is put in place before the program begins; the clock may be wrong, too.
Must not: be on the path of anything else.
"""

import os
import runpy
import sys
from pathlib import Path

_tests = Path(__file__).parents[2]
_name = os.environ.get("AMENDS_WRONG", "")
if _name:
    runpy.run_path(str(_tests / "chaos" / "clock" / "sitecustomize.py"))
    sys.path.append(str(_tests / "mutants"))
    import pytest
    import wrong_engine
    import wrong_services  # noqa: F401  # what is wrong is registered there
    import wrong_stores  # noqa: F401

    next(one for one in wrong_engine.WRONG if one.change.__name__ == _name).change(pytest.MonkeyPatch())
