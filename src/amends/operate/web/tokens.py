"""The file of tokens: who may log in to a dashboard, one to a line.

    # name   role                 token
    ada      operator+payloads    Zx1…
    grafana  viewer               9Qb…

Roles are viewer, operator and admin; `+payloads` is the right to read what sagas carry.

Guarantees: a file that others can read is refused; one that is made is its owner's alone, before anything is in it.
Must not: print a token; whoever makes one shows it once.
"""

from __future__ import annotations

import getpass
import os
import secrets
import stat
from pathlib import Path

from amends.errors import DefinitionError
from amends.operate.web.access import Person, Role, Token

HEAD = "# name  role  token; a role is viewer, operator or admin, with +payloads to read what sagas carry\n"
PAYLOADS = "+payloads"
NEXT = "\n"  # also where the last line was left without an end
BYTES_MAX = 1024 * 1024


def default_path() -> Path:
    """Where the token is kept that is made where none is named."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "amends" / "dashboard.tokens"


def read(path: Path) -> list[Token]:
    """The tokens of a file. Raises DefinitionError."""
    try:
        with open(path, "rb") as file:
            _check_mode(path, os.fstat(file.fileno()))
            text = file.read(BYTES_MAX).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise DefinitionError(f"{path}: the tokens cannot be read: {error}") from None
    lines = [(number, line.split()) for number, line in enumerate(text.splitlines(), 1)]
    found = [_token(path, number, words) for number, words in lines if words and not words[0].startswith("#")]
    if not found:
        raise DefinitionError(f"{path}: there is no token in it; `amends dashboard --add-token NAME:ROLE` makes one")
    return found


def own(path: Path) -> Token:
    """The first token of a file; it is made, for whoever runs this, where there is none. Raises DefinitionError."""
    if not path.exists():
        add(path, Person(_user(), Role.ADMIN, payloads=True))
    return read(path)[0]


def add(path: Path, person: Person) -> str:
    """Make a token for somebody and keep it; gives its text. Raises DefinitionError."""
    if any(blank in person.name for blank in " \t#"):
        raise DefinitionError(f"{person.name!r}: a name without blanks and # is expected")
    text = secrets.token_urlsafe(32)
    role = f"{person.role}{PAYLOADS if person.payloads else ''}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "r+") as file:
            status = os.fstat(file.fileno())
            _check_mode(path, status)
            file.write(f"{NEXT if status.st_size else HEAD}{person.name}  {role}  {text}\n")
    except OSError as error:
        raise DefinitionError(f"{path}: the token cannot be kept: {error}") from None
    return text


def person_of(text: str) -> Person:
    """`ada:operator+payloads`. Raises DefinitionError."""
    name, colon, role = text.partition(":")
    if not colon:
        raise DefinitionError(f"{text!r:.80}: NAME:ROLE is expected, such as ada:operator or ada:operator+payloads")
    return _person(name, role)


def _person(name: str, role: str) -> Person:
    word = role.removesuffix(PAYLOADS)
    if word not in list(Role):
        raise DefinitionError(f"{role!r:.80}: a role is expected: {', '.join(Role)}, perhaps with {PAYLOADS}")
    return Person(name, Role(word), payloads=role.endswith(PAYLOADS))


def _token(path: Path, number: int, words: list[str]) -> Token:
    try:
        name, role, text = words
        return Token.of(text, _person(name, role))
    except ValueError:
        raise DefinitionError(f"{path}, line {number}: a name, a role and a token are expected") from None
    except DefinitionError as error:
        raise DefinitionError(f"{path}, line {number}: {error}") from None


def _check_mode(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise DefinitionError(f"{path}: a file is expected")
    if status.st_mode & 0o077:
        raise DefinitionError(f"{path}: others can read or write it; `chmod 600 {path}` first, and make new tokens")
    if status.st_uid not in (os.geteuid(), 0):
        raise DefinitionError(f"{path}: it belongs to somebody else")


def _user() -> str:
    try:
        name = getpass.getuser()
    except (OSError, KeyError):
        return "you"
    return name if name.isprintable() and " " not in name else "you"
