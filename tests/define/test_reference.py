"""The numbers on the page about the definition language are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

from amends import Retry
from amends.define.admission import DEPTH_MAX
from amends.define.build_step import TX_TIMEOUT_SECONDS
from amends.define.nodes import FAN_OUT_LIMIT_MAX
from amends.define.step import TIMEOUT_SECONDS, UNDO_RETRY
from amends.define.survey import NESTING_MAX, NODES_MAX
from amends.define.values import PAYLOAD_BYTES_MAX

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "definition.md").read_text()


def test_the_limits_on_the_page_are_those_of_the_code() -> None:
    assert f"at most {NODES_MAX:,} with all that is inside, nested at most {NESTING_MAX} deep" in PAGE
    assert f"`limit` at a time (1 to {FAN_OUT_LIMIT_MAX:,})" in PAGE
    assert f"{TIMEOUT_SECONDS:g} s; {TX_TIMEOUT_SECONDS:g} s with a transaction" in PAGE
    assert f"more than {DEPTH_MAX} levels, more than {PAYLOAD_BYTES_MAX // 1024**2} MiB" in PAGE


def test_the_defaults_of_a_retry_on_the_page_are_those_of_the_code() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+ \| [^|]+) \|", PAGE, re.MULTILINE))
    action = Retry()

    for name, unit in (("attempts", ""), ("first_delay", " s"), ("factor", ""), ("cap", " s"), ("jitter", "")):
        mine, undo = getattr(action, name), getattr(UNDO_RETRY, name)
        assert rows[name] == f"{mine:g}{unit} | {undo:g}{unit}", name
