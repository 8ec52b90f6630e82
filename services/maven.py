"""Files from Maven Central, as they were when their hash was written down.

Guarantees: what is given is what was pinned, by its SHA-256.
Must not: choose a version; keep anything.
"""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request

CENTRAL = "https://repo1.maven.org/maven2"
DOWNLOAD_SECONDS = 120.0


class CannotFetch(Exception):
    """A file cannot be had. The message says why."""


def download(url: str, digest: str, of: str) -> bytes:
    """The file at a URL with this SHA-256. of: what it is a part of, for the message of CannotFetch."""
    try:
        with urllib.request.urlopen(url, timeout=DOWNLOAD_SECONDS) as answer:  # noqa: S310  # constant https URLs
            found: bytes = answer.read()
    except (OSError, urllib.error.URLError) as error:
        raise CannotFetch(f"{of} is not to be had from {url}: {error}") from error
    got = hashlib.sha256(found).hexdigest()
    if got != digest:
        raise CannotFetch(f"{url} is not what it was: SHA-256 {got}, expected {digest}")
    return found
