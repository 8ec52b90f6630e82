"""Messages that nobody should send: forged ones, garbage, commands that no service knows, poison, giants.

Guarantees: all chance comes from the given dice; none of them is a message that somebody honest could have sent.
Must not: send anything.
"""

from __future__ import annotations

import time
from random import Random

from amends.message import Message

_TOKEN_BYTES = 16
_OUTCOMES = {
    "action": ("succeeded", "rejected", "failed", "fenced"),
    "undo": ("compensated", "void", "failed", "missing"),
}
_KINDS = ("action", "undo", "reply", "ended", "baton", "word", "mark", "answer")
_DATA = (b"", b"\xff\xfe\x00", b"{", b"null", b'"\\ud800"', b"[" * 2000, b'{"a":1e999}', b"NaN")


def new_id(dice: Random) -> str:
    """Of one message."""
    return f"{dice.getrandbits(128):032x}"


def copy_of(message: Message, dice: Random) -> Message:
    """The same once more. As one that was sent again it has an id of its own, so that no broker takes it for the same;
    an event keeps its id, as one row that is published twice does."""
    if message.attributes.get("amendskind") == "event":
        return message
    return message._replace(id=new_id(dice))


def forged(message: Message, others: list[Message], dice: Random) -> Message:
    """What looks like an old message, and is not to be believed."""
    if message.attributes.get("amendskind") == "reply":
        return forged_reply(message, others, dice)
    return contradicting(message, dice)


def contradicting(message: Message, dice: Random) -> Message:
    """A baton that is elsewhere than its history says, or whose history breaks off; a word, a mark or an answer that
    none can be."""
    given, data = dict(message.attributes), message.data
    kind = given.get("amendskind", "")
    if kind == "baton":
        other_phase = "undo" if given.get("amendsphase") == "action" else "action"
        changes: tuple[dict[str, str], ...] = (
            {"amendsstep": "elsewhere"},
            {"amendsphase": other_phase},
            {"amendsround": "77"},
            {},
        )
        change = dice.choice(changes)
        given |= change
        data = data if change else data[:-1]
    elif kind == "word":
        data = data[:-1]
    else:
        given["amendsmark"] = "none"
    return message._replace(id=new_id(dice), source="/forged", time=time.time(), attributes=given, data=data)


def forged_reply(reply: Message, others: list[Message], dice: Random) -> Message:
    """A reply with another outcome, and a token that does not fit. others: replies whose tokens may be stolen."""
    given = dict(reply.attributes)
    number, _, mac = given.get("amendstoken", "1.").partition(".")
    stolen = [token for other in others if (token := _stolen(other, reply))]
    tokens = [
        f"{number}.{dice.getrandbits(8 * _TOKEN_BYTES):032x}",
        f"{number}.{mac[:-1]}",
        f"{number}.",
        f"{dice.randrange(2, 10**9)}.{mac}",
        "\N{LATIN SMALL LETTER E WITH ACUTE}.x",
        *stolen[:4],
    ]
    given["amendstoken"] = dice.choice(tokens)
    given["amendsoutcome"] = dice.choice(_OUTCOMES.get(given.get("amendsphase", ""), ("succeeded",)))
    return reply._replace(id=new_id(dice), source="/forged", time=time.time(), attributes=given)


def _stolen(other: Message, reply: Message) -> str:
    """A real token, if it is that of another step."""
    ours, theirs = reply.attributes, other.attributes
    differ = any(
        ours.get(name) != theirs.get(name) for name in ("amendssaga", "amendsstep", "amendsround", "amendsphase")
    )
    return theirs.get("amendstoken", "") if differ else ""


def garbage(like: Message, dice: Random) -> Message:
    """Something that is a message to a broker, and to nobody else. like: a real one, of which it may have parts."""
    given = {name: value for name, value in like.attributes.items() if dice.random() < 0.5}
    for name in [name for name in given if dice.random() < 0.4]:
        given[name] = dice.choice(("", "-1", "x" * 300, "\N{SNOWMAN}", "1e9", "../..", "'; DROP TABLE inbox; --"))
    given["amendskind"] = dice.choice(("", *_KINDS, "nonsense"))
    given.pop("amendstoken", None)
    given = {name: value for name, value in given.items() if value}
    return Message(
        new_id(dice), dice.choice((like.type, "x", "a.b.c")), "/garbage", dice.choice(_DATA), attributes=given
    )


def unknown_command(like: Message, dice: Random) -> Message:
    """A command of no contract, for a saga that there is not, or a baton of none. like: a real one for that service."""
    service = like.type.partition(".")[0]
    made = strange_command(like, dice)
    return made._replace(type=f"{service}.no-such-command")


def poison_command(like: Message, data: bytes, dice: Random) -> Message:
    """A command as any other, with data that its handler dies of, for a saga that there is not."""
    return strange_command(like, dice)._replace(data=data)


def strange_command(like: Message, dice: Random) -> Message:
    """The command of a saga that there is not."""
    saga = new_id(dice)
    kind = "baton" if like.attributes.get("amendskind") == "baton" else "action"
    given = {**like.attributes, "amendssaga": saga, "amendskey": f"strange-{saga[:8]}", "amendskind": kind}
    given.pop("amendsknown", None)
    return like._replace(id=new_id(dice), source="/strange", key=saga, time=time.time(), attributes=given)


def huge(like: Message, size: int, dice: Random) -> Message:
    """A body that fills many an envelope."""
    return strange_command(like, dice)._replace(data=b'"' + b"x" * (size - 2) + b'"')
