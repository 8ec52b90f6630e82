"""What is told while a handler runs stands in the chain of what it handles.

Guarantees: what a function tells, and what it has others do beside it, knows the chain; whoever handles nothing
begins a chain of its own.
Must not: know what an event is written to.
"""

from __future__ import annotations

from contextvars import ContextVar

from amends.decide.chain import Chain
from amends.errors import ValueRefused
from amends.message import HEADER_UNFIT

CORRELATION_CHARACTERS = 200
EVENT_HOPS = 50  # how many events may have led to one, unless configured otherwise
_NOTHING = Chain()
_handled: ContextVar[Chain] = ContextVar("amends_chain", default=_NOTHING)


def handles(chain: Chain | None) -> None:
    """From here on, in this context, what is told comes of this. None: of nothing."""
    _handled.set(chain or _NOTHING)


def too_many(chain: Chain, service: str, most: int) -> str:
    """Why an event is put aside that came of too many others."""
    return (
        f"{chain.hops} events led to it, each to the next, and {service} takes one after at most {most} (event_hops): "
        "they go round in a circle, which `amends graph --check` finds; "
        f"they have the correlation {chain.correlation:.200}"
    )


def told_here(correlation: str | None) -> Chain:
    """Where an event that is told here and now stands. correlation: another one than that of what is handled. Raises
    ValueRefused."""
    chain = _handled.get()
    if correlation is None:
        return chain
    if not isinstance(correlation, str) or not 0 < len(correlation) <= CORRELATION_CHARACTERS:
        raise ValueRefused(
            f"correlation={correlation!r:.80}: a text of 1 to {CORRELATION_CHARACTERS} characters is expected"
        )
    if HEADER_UNFIT.search(correlation):
        raise ValueRefused(f"correlation={correlation!r:.80}: no message carries control characters")
    return chain._replace(correlation=correlation)
