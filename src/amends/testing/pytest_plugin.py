"""The pytest plugin: the fixture `amends`, an orchestrator in memory on a virtual clock, and `--amends-explore`.

    def test_a_declined_card_releases_the_stock(amends: NewSandbox) -> None:
        app = amends([place_order], resources=[FakeShop()])
        ...

Guarantees: costs a session that does not use it an import of amends and nothing else; whatever
a test made is closed; a test that fails shows the histories of its sagas.
Must not: configure anything, or run where the fixture is not asked for.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from amends.testing.sandbox import NewSandbox, Sandbox

_MADE: pytest.StashKey[list[Sandbox]] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--amends-explore=RUNS`."""
    words = "How many runs an exploration makes where the test does not say: 2,000 by itself, more at night."
    parser.getgroup("amends").addoption("--amends-explore", type=int, metavar="RUNS", help=words)


def pytest_configure(config: pytest.Config) -> None:
    """Put the budget in force."""
    runs = config.getoption("--amends-explore")
    if runs is None:
        return
    if runs < 1:
        raise pytest.UsageError(f"--amends-explore={runs}: a number from 1 on is expected")
    from amends.testing.explore_budget import BUDGET

    before, BUDGET.runs = BUDGET.runs, runs
    config.add_cleanup(lambda: setattr(BUDGET, "runs", before))


@pytest.fixture
def amends(request: pytest.FixtureRequest) -> Iterator[NewSandbox]:
    """Makes orchestrators in memory, on a virtual clock: `app = amends([saga], resources=[fake])`."""
    from amends.testing.sandbox import NewSandbox

    made: list[Sandbox] = []
    request.node.stash[_MADE] = made
    yield NewSandbox(made)
    while made:
        made.pop().close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the histories of the test's sagas to the report of its failure."""
    report = yield
    if report.when == "call" and report.failed:
        for sandbox in item.stash.get(_MADE, []):
            report.sections.append(("amends: what happened to the sagas", _stories(sandbox)))
    return report


def _stories(sandbox: Sandbox) -> str:
    try:
        return sandbox.stories() or "(none was started)"
    except Exception as error:  # noqa: BLE001  # a report must not fail on what it reports
        return f"(not to be had: {error!r})"
