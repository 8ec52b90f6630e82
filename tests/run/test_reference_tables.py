"""The tables of the reference pages say what the code says."""

from __future__ import annotations

import inspect
import re
from dataclasses import fields
from pathlib import Path

import pytest

from amends import Retry, Settings, errors, fault
from amends.decide.bulk import BATCH_MAX, PER_SECOND, SILENT_MAX, TARGETS_MAX
from amends.decide.outcome import POISON_KILLS
from amends.decide.state import CAREFUL_DEATHS
from amends.define.admission import DEPTH_MAX
from amends.define.build_step import TX_TIMEOUT_SECONDS
from amends.define.nodes import FAN_OUT_LIMIT_MAX
from amends.define.step import TIMEOUT_SECONDS, UNDO_RETRY
from amends.define.survey import NESTING_MAX, NODES_MAX
from amends.operate.bulk import IDS_MAX, PREVIEWED_MAX, WORDS_MAX
from amends.operate.operations import REASON_CHARACTERS_MAX
from amends.run.bulk import ASK_SECONDS
from amends.run.retention import BATCH, LOOK_SECONDS
from amends.run.settings import ID_CHARACTERS_MAX
from amends.run.transactions import ATTEMPT_SECONDS_MAX, INBOX_SECONDS

PAGES = Path(__file__).parents[2] / "docs" / "reference"


def rows(page: str) -> dict[str, list[str]]:
    """The rows of all tables of a page, by their first cell without its quotes."""
    lines = re.findall(r"^\| (.*) \|$", (PAGES / page).read_text(), re.M)
    cells = [[cell.strip() for cell in line.split(" | ")] for line in lines]
    return {row[0].strip("`"): row for row in cells}


def test_every_setting_is_in_the_table_of_limits_with_its_default() -> None:
    found = rows("limits.md")

    for field in fields(Settings):
        shown = f"{field.default:,}" if isinstance(field.default, int) else f"{field.default or 0.0:g}"
        if field.default is None:
            shown = "none"
        elif isinstance(field.default, bool):
            shown = "yes" if field.default else "no"
        assert found[field.name][1] == shown, field.name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("attempts of an action", f"{Retry().attempts}"),
        ("attempts of a compensation", f"{UNDO_RETRY.attempts}"),
        ("timeout of an attempt", f"{TIMEOUT_SECONDS:g} s"),
        ("timeout of a step with a transaction", f"{TX_TIMEOUT_SECONDS:g} s"),
        ("worker deaths before a saga runs carefully", f"{CAREFUL_DEATHS}"),
        ("worker deaths in such an attempt", f"{POISON_KILLS}"),
        ("sagas that one transaction forgets", f"{BATCH}"),
        ("how often a worker with `retention_seconds` looks", f"{LOOK_SECONDS:g} s, about"),
        ("the inbox of steps with a transaction", f"{INBOX_SECONDS / 86400:g} days"),
        ("an attempt with a transaction, from its issue to its effect", f"{ATTEMPT_SECONDS_MAX / 86400:g} days"),
        ("nodes of a saga", f"{NODES_MAX:,}"),
        ("nesting of nodes", f"{NESTING_MAX}"),
        ("for_each(…, limit=)", f"{FAN_OUT_LIMIT_MAX:,}"),
        ("a saga's id, a signal's id", f"{ID_CHARACTERS_MAX} characters"),
        ("nesting of a value", f"{DEPTH_MAX}"),
        ("the reason of an operator's act", f"{REASON_CHARACTERS_MAX:,} characters"),
        ("sagas of one bulk operation", f"{TARGETS_MAX:,}"),
        ("sagas of one that are named one by one", f"{IDS_MAX:,}"),
        ("sagas that a dry run asks about", f"{PREVIEWED_MAX}"),
        ("sagas that are asked at once", f"{BATCH_MAX}"),
        ("sagas that are asked in a second", f"{PER_SECOND:g}"),
        ("an answer that is waited for", f"{ASK_SECONDS:g} s"),
        ("sagas in a row that do not answer", f"{SILENT_MAX}"),
        ("the reason of an act in bulk", f"{WORDS_MAX:,} characters"),
    ],
)
def test_a_limit_that_is_no_setting_is_in_the_table(name: str, value: str) -> None:
    assert rows("limits.md")[name][1] == value


def test_every_error_is_in_the_table_with_its_code() -> None:
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.AmendsError)]
    leaves = [kind for kind in kinds if not set(kind.__subclasses__()) & set(kinds)]
    leaves.append(errors.Refused)  # raised as it stands too, beside the one kind of it that has a name
    found = rows("errors.md")

    for kind in leaves:
        assert found[kind.__name__][1] == f"`{kind.code}`", kind.__name__
    known = {name for name in found if name[0].isupper()}
    assert known == {kind.__name__ for kind in leaves}, "a row for an error that is not there"
    assert len({kind.code for kind in kinds}) == len(kinds), "codes are told apart"


def test_the_tree_in_the_docstring_of_the_errors_is_the_tree_of_the_classes() -> None:
    drawn = re.findall(r"^ +(?:[│ ]*[├└]── )?(\w+)", errors.__doc__ or "", re.M)
    defined = [name for name, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__]

    assert sorted(drawn) == sorted(defined)


def test_every_fault_point_is_in_the_table_in_the_words_of_the_code() -> None:
    found = {name: row[1] for name, row in rows("faults.md").items() if "." in name}

    assert found == fault.POINTS


@pytest.mark.parametrize("spec", ["nowhere", "nowhere:2"])
def test_a_fault_at_a_point_that_does_not_exist_is_refused_with_those_that_do(spec: str) -> None:
    with pytest.raises(ValueError, match=r"no such fault point; known: .*commit\.after"):
        fault.killer(spec)


@pytest.mark.parametrize(
    "spec", ["commit.after:", "commit.after:x", "commit.after:0", "commit.after:-1", "commit.after:1:x"]
)
def test_a_fault_at_a_pass_that_cannot_come_is_refused(spec: str) -> None:
    with pytest.raises(ValueError, match="AMENDS_FAULT="):
        fault.killer(spec)


def test_every_point_that_the_code_passes_has_a_name_and_every_name_is_passed() -> None:
    source = Path(fault.__file__).parent
    passed = {
        name for path in source.rglob("*.py") for name in re.findall(r'fault\.point\("([\w.]+)"\)', path.read_text())
    }

    assert passed == set(fault.POINTS)
