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
    """`--amends-explore=RUNS`, `--amends-explore=30s`, `--amends-only=FAULTS`."""
    group = parser.getgroup("amends")
    words = (
        "How far an exploration goes where the test does not say: 20000 runs, or 30s, 10m, 8h. 2,000 runs by itself."
    )
    group.addoption("--amends-explore", metavar="RUNS|TIME", help=words)
    words = "Every exploration makes one run, with these faults: what a counterexample prints."
    group.addoption("--amends-only", metavar="FAULTS", default="", help=words)


def pytest_configure(config: pytest.Config) -> None:
    """Put the budget in force."""
    wanted, only = config.getoption("--amends-explore"), config.getoption("--amends-only")
    if wanted is None and not only:
        return
    from amends.testing.explore_budget import BUDGET, limit_of

    before = dict(vars(BUDGET))
    config.add_cleanup(lambda: vars(BUDGET).update(before))
    BUDGET.only = only or ""
    if wanted is not None:
        try:
            BUDGET.runs, BUDGET.seconds = limit_of(wanted)
        except ValueError:
            raise pytest.UsageError(
                f"--amends-explore={wanted}: a number of runs from 1 on is expected, or a time such as 30s, 10m, 8h"
            ) from None


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
