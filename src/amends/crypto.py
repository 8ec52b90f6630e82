"""Keys that payloads are sealed with, at rest: AES-256-GCM, with rotation. Needs the extra `amends[crypto]`.

    keys = Keys.from_env()                                       # AMENDS_KEYS="2026-11=<base64>,2026-05=<base64>"
    orchestrator = Orchestrator("postgresql://…", sagas=[…], keys=keys)

`python -m amends.crypto` prints a new key. The first key seals, every one opens.

Guarantees: each saga's payloads have a key of their own, derived from the one given, so that no nonce is ever at
risk of coming twice; what is opened is what was sealed, there and nowhere else.
Must not: show a key, in a repr or in an error.
"""

from __future__ import annotations

import os
import re
import secrets
from base64 import b64decode, b64encode
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path

from amends.errors import DefinitionError
from amends.run.sealing import KEY_NAME

try:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
except ImportError:
    raise DefinitionError(
        "payloads are sealed with the package cryptography, which is not here: pip install 'amends[crypto]'"
    ) from None

VARIABLE = "AMENDS_KEYS"
KEY_BYTES = 32
NONCE_BYTES = 12
DERIVED_KEPT = 2_000  # of sagas that were at work last


class Keys:
    """The keys of one system, by name; the first seals, all open.

    keys: names of at most 64 letters, digits, dots, dashes and underscores, and 32 random bytes each.

    Raises DefinitionError.
    """

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        if not keys:
            raise DefinitionError("Keys(…): at least one key is expected")
        for name, key in keys.items():
            if re.fullmatch(KEY_NAME, name) is None:
                raise DefinitionError(
                    f"Keys(…): {name!r:.80} is no name of a key: 1 to 64 letters, digits, dots, dashes and underscores"
                )
            if not isinstance(key, bytes) or len(key) != KEY_BYTES:
                raise DefinitionError(f"Keys(…): the key {name!r} is not {KEY_BYTES} bytes; `python -m amends.crypto`")
        self._keys = dict(keys)
        self._derived: dict[tuple[str, bytes], AESGCM] = {}
        self.names: tuple[str, ...] = tuple(keys)
        self.current: str = self.names[0]

    @classmethod
    def from_text(cls, text: str, where: str) -> Keys:
        """Keys as `name=base64`, each on a line of its own or with commas between; what is behind a # is not read.
        Raises DefinitionError, which says none of them."""
        found: dict[str, bytes] = {}
        entries = [part for line in text.splitlines() for part in line.partition("#")[0].split(",")]
        for number, entry in enumerate(filter(None, map(str.strip, entries)), 1):
            name, _, value = entry.partition("=")
            try:
                key = b64decode(value.strip(), validate=True)
            except ValueError:
                key = b""
            if len(key) != KEY_BYTES:
                raise DefinitionError(f"{where}: entry {number} is not name=base64 of {KEY_BYTES} bytes")
            if name.strip() in found:
                raise DefinitionError(f"{where}: entry {number} has the name of an earlier one")
            found[name.strip()] = key
        if not found:
            raise DefinitionError(f"{where}: there is no key in it; `python -m amends.crypto` makes one")
        return cls(found)

    @classmethod
    def from_env(cls, variable: str = VARIABLE) -> Keys:
        """Keys of an environment variable. Raises DefinitionError."""
        if variable not in os.environ:
            raise DefinitionError(f"Keys.from_env(): the environment has no {variable}")
        return cls.from_text(os.environ[variable], variable)

    @classmethod
    def from_file(cls, path: str | Path) -> Keys:
        """Keys of a file, such as a mounted secret. Raises DefinitionError."""
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DefinitionError(f"Keys.from_file({str(path)!r}): {type(error).__name__}, it cannot be read") from None
        return cls.from_text(text, str(path))

    def seal(self, payload: bytes, scope: bytes, place: bytes) -> bytes:
        """The payload, sealed with the current key: a nonce, and what AES-GCM gives."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._cipher(self.current, scope).encrypt(nonce, payload, place)

    def open(self, key: str, sealed: bytes, scope: bytes, place: bytes) -> bytes:
        """The payload again. Raises ValueError for what was not sealed with this key, in this scope and place."""
        try:
            return self._cipher(key, scope).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], place)
        except InvalidTag:
            raise ValueError("it does not open") from None

    def digest(self, key: str, data: bytes) -> bytes:
        """16 bytes that tell equal data, to nobody who has not the key."""
        return blake2b(data, digest_size=16, key=self._keys[key], person=b"amends-digest").digest()

    def _cipher(self, key: str, scope: bytes) -> AESGCM:
        found = self._derived.get((key, scope))
        if found is None:
            if len(self._derived) >= DERIVED_KEPT:
                self._derived.clear()
            own = blake2b(scope, digest_size=KEY_BYTES, key=self._keys[key], person=b"amends-seal").digest()
            found = self._derived[key, scope] = AESGCM(own)
        return found

    def __repr__(self) -> str:
        return f"Keys({', '.join(self.names)})"


def new_key() -> bytes:
    """32 random bytes."""
    return secrets.token_bytes(KEY_BYTES)


if __name__ == "__main__":
    print(b64encode(new_key()).decode())  # noqa: T201  # a tool
