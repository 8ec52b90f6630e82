"""What an orchestrator was built with, in one frozen value.

Guarantees: complete; a session needs nothing else.
Must not: open anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from amends.define.context import Context
from amends.define.registry import Registry
from amends.define.resources import Resources
from amends.observe.hub import Observer
from amends.run.chance import Chance
from amends.run.database import Database
from amends.run.sealing import Keyring
from amends.run.settings import Settings
from amends.run.worker import Executor
from amends.transport.open import Broker


@dataclass(frozen=True)
class Config:
    """What an orchestrator was built with. What may have a password is not shown."""

    database: Database = field(repr=False)
    registry: Registry
    resources: Resources
    namespace: str
    settings: Settings
    effects: Any = field(default=None, repr=False)
    around: tuple[Callable[[Context], Any], ...] = ()
    migrate: bool = False
    chance: Chance = field(default_factory=Chance)
    threads: Executor | None = None
    broker: Broker = field(default=None, repr=False)
    keys: Keyring | None = None
    observers: tuple[Observer, ...] = ()
