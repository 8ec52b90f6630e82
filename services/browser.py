"""The browser of the tests: Debian's Chromium, on this machine or unpacked into `.services/`.

    found = browser()
    playwright.chromium.launch(executable_path=found.program, env={**os.environ, **found.environment})

Guarantees: an unpacked one is started without the script of its package, which looks for it in `/usr`, and finds the
libraries and fonts that came with it.
Must not: start it.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NamedTuple

from services.found import UNPACKED, ServiceMissing, library_path
from services.install import install_packages

PACKAGES = ("chromium", "fonts-dejavu-core", "fontconfig-config")  # without any font pages have no text
NAMES = ("chromium", "chromium-browser", "google-chrome")
INNER = Path("usr/lib/chromium/chromium")
FONTS = Path("etc/fonts/fonts.conf")


class Browser(NamedTuple):
    """environment: what is to be added to that of whoever starts it."""

    program: Path
    environment: dict[str, str]


def browser(root: Path = UNPACKED) -> Browser:
    """The one that is there. root: where packages were unpacked. Raises ServiceMissing."""
    unpacked = root / INNER
    if os.access(unpacked, os.X_OK):
        fonts = {} if (Path("/") / FONTS).exists() or not (root / FONTS).exists() else {"FONTCONFIG_SYSROOT": str(root)}
        return Browser(unpacked, {**library_path(unpacked), **fonts})
    for name in NAMES:
        program = shutil.which(name)
        if program is not None:
            return Browser(Path(program), {})
    raise ServiceMissing("chromium", "chromium")


def fetch_browser() -> list[str]:
    """Get it, if it is not there; gives what that was. Raises CannotInstall."""
    try:
        browser()
    except ServiceMissing:
        install_packages(PACKAGES)
        return ["chromium"]
    return []
