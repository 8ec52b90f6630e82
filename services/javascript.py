"""The packages that the participant in JavaScript needs, installed beside it with npm as its lock file says.

Guarantees: what the lock file asks for is there afterwards, or an error says why not.
Must not: resolve versions anew, or run scripts of packages.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from services.found import ROOT, ServiceMissing
from services.maven import CannotFetch

PARTICIPANT = ROOT / "examples" / "participant_js"
NODE_OLDEST = 20
_LOCK = PARTICIPANT / "package-lock.json"
_INSTALLED = PARTICIPANT / "node_modules" / ".installed"  # the lock file that was installed
_SECONDS = 300


def node_program() -> Path:
    """The program `node`, of a version that will do."""
    found = shutil.which("node")
    if found:
        told = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
        number = told.strip().removeprefix("v").partition(".")[0]
        if number.isdigit() and int(number) >= NODE_OLDEST:
            return Path(found)
    raise ServiceMissing("node", f"nodejs ({NODE_OLDEST} or later)")


def javascript_packages() -> Path:
    """The directory of the participant in JavaScript, ready to run."""
    node_program()
    if not _is_current():
        raise ServiceMissing("npm ci", "npm, and run `npm ci` in examples/participant_js")
    return PARTICIPANT


def fetch_packages() -> list[str]:
    """Install what the lock file says. Gives what was done; raises CannotFetch."""
    if _is_current():
        return []
    npm = shutil.which("npm")
    if npm is None:
        raise CannotFetch("npm is not on this machine: the participant in JavaScript cannot be tried (package npm)")
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    try:
        done = subprocess.run(command, cwd=PARTICIPANT, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise CannotFetch(f"`npm ci` was not done after {_SECONDS} s") from None
    if done.returncode != 0:
        raise CannotFetch(f"`npm ci` in {PARTICIPANT} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    _INSTALLED.write_bytes(_LOCK.read_bytes())
    return ["the packages of examples/participant_js"]


def _is_current() -> bool:
    return _INSTALLED.exists() and _INSTALLED.read_bytes() == _LOCK.read_bytes()
