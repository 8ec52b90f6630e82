"""Running a check of the suite with a wrong engine in place, and without: does it complain?

Guarantees: the check is a test of the suite as it stands, run by pytest in this process; what is wrong is put in place
once the test is collected, and taken away after it.
Must not: be told of by anything that a check could see.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import settings
from wrong_engine import Put

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent


@dataclass
class Said:
    """What came of a check. broken: something wrong in a wrong engine itself, which proves nothing."""

    passed: int = 0
    complaints: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


class Watching:
    """A plugin of pytest that puts something wrong in place, and listens."""

    def __init__(self, put: Put | None) -> None:
        self.said: Said = Said()
        self._put = put

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self) -> Iterator[None]:
        """All is imported and collected by now."""
        with pytest.MonkeyPatch.context() as patch:
            if self._put is not None:
                self._put(patch)
            return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One phase of one test is over."""
        if report.skipped:
            self.said.skipped.append(report.longreprtext)
        elif report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            self.said.complaints.append(report.longreprtext if crash is None else crash.message)
            if crash is not None and Path(crash.path).is_relative_to(HERE):
                self.said.broken.append(str(crash))
        elif report.when == "call":
            self.said.passed += 1


def run(check: str, put: Put | None, place: Path) -> Said:
    """What a test of the suite says. check: its name for pytest. place: for its files."""
    watching = Watching(put)
    options = [f"--rootdir={ROOT}", f"--config-file={ROOT / 'pyproject.toml'}", f"--basetemp={place}"]
    options += ["-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning"]  # by this very process
    without = [option for name in ("cacheprovider", "faulthandler", "randomly") for option in ("-p", f"no:{name}")]
    profile = settings.get_current_profile_name()
    try:
        code = pytest.main([f"{ROOT / check}", *options, *without], plugins=[watching])
    finally:
        settings.load_profile(profile)  # tests of the core have their own
    assert code in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED), f"{check}: {code!r}"
    return watching.said
