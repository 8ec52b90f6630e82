"""Who of a group gets which partitions: as even as may be, with as few moves as may be, and none of what somebody
is still at.

Kafka lets the members of a group agree among themselves. What comes with the client gives partitions out anew
whenever somebody comes or goes; work that takes minutes would then be begun by another while it is still going on.

Guarantees: a partition that a member holds open stays with it; all partitions are given out, each once; nobody who
holds nothing open has two more than another.
Must not: know a client, or a broker. `claim` and `read_claim` are a format between processes: it may only grow.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

NAME = "amends"  # of the way to share; all members of a group must know the same
_CLAIM = re.compile(rb"(\d{1,12});([\d,]*);([\d,]*)")


class Claim(NamedTuple):
    """What a member brings. generation: of the group, in which it had these partitions. owned: that it had.
    held: of these, where somebody is still at something."""

    generation: int = 0
    owned: frozenset[int] = frozenset()
    held: frozenset[int] = frozenset()


def claim(told: Claim) -> bytes:
    """A claim, as it travels."""
    owned, held = (",".join(map(str, sorted(some))) for some in (told.owned, told.held))
    return f"{max(told.generation, 0)};{owned};{held}".encode()


def read_claim(data: bytes) -> Claim:
    """The claim that came; one that nobody understands claims nothing."""
    found = _CLAIM.match(data or b"")
    if not found:
        return Claim()
    owned, held = (frozenset(int(one) for one in found[n].split(b",") if one) for n in (2, 3))
    return Claim(int(found[1]), owned, held & owned)


def share_out(partitions: Collection[int], members: Mapping[str, Claim]) -> dict[str, list[int]]:
    """The partitions of each member."""
    owner: dict[int, str] = {}
    for name, told in sorted(members.items(), key=lambda item: (item[1].generation, item[0])):
        owner.update(dict.fromkeys(told.owned.intersection(partitions), name))  # the latest owner is the owner
    given: dict[str, list[int]] = {
        name: sorted(number for number in told.held if owner.get(number) == name) for name, told in members.items()
    }
    least, more = divmod(len(partitions), len(members))
    by_size = sorted(members, key=lambda name: (-len(given[name]), -list(owner.values()).count(name), name))
    for place, name in enumerate(by_size):
        limit = least + (place < more)
        kept = sorted(number for number, who in owner.items() if who == name and number not in given[name])
        given[name] += kept[: max(limit - len(given[name]), 0)]
    taken = {number for numbers in given.values() for number in numbers}
    for number in sorted(set(partitions) - taken):
        given[min(given, key=lambda name: (len(given[name]), name))].append(number)
    return {name: sorted(numbers) for name, numbers in given.items()}


def fair(partitions: Sequence[int], members: int) -> int:
    """The most that a member of so many should have."""
    return -(-len(partitions) // members)
