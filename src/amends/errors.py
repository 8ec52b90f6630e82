"""Everything amends raises.

    AmendsError
    ├── DefinitionError        a saga, step or service is written wrongly (raised when it is built)
    ├── ValueRefused           a value that cannot be stored exactly
    ├── LimitExceeded          over a documented limit
    ├── NotRunning             the orchestrator is neither working nor a client yet
    ├── UnknownSaga            no saga with this id, or no definition with this name
    ├── UnknownBulk            no bulk operation with this id
    ├── IdConflict             the id belongs to another saga or another input
    ├── TooLate                the saga has moved past the point where that could be done
    ├── Refused                the saga, as it stands, does not allow that
    │   └── Changed            the saga is not any more what was looked at
    ├── NotAnswered            no worker has answered yet; what was asked is kept
    ├── NotEnlisted            `within=` was given something that is no open transaction of this store
    ├── SagaFailed             an outcome that is not `Completed` was unwrapped
    │   ├── SagaCompensated
    │   └── SagaParked
    ├── MessageRefused         what came is no message, or none that may be taken
    ├── TransportError         the broker
    │   ├── TransportAway      it cannot be reached now, or has not confirmed; sending again is right
    │   └── TransportRefused   it says no for good: credentials, permissions, a size, a name
    ├── StoreError             the database
    │   ├── StoreUnavailable   it cannot be reached or written now; nothing was lost
    │   ├── StoreDamaged       the file is not what it was
    │   ├── KeyMissing         a payload is sealed with a key that is not here; nothing was lost
    │   ├── SchemaMismatch     the schema is newer, or older, than this code can use
    │   └── WorkerRunning      another worker holds this database
    └── ImpossibleTransition   a bug in amends: the core was asked for what its table forbids

Guarantees: every leaf has a stable `code`, and its text says what happened and what to do next.
Must not: carry a payload in its text.
"""

from __future__ import annotations

from typing import ClassVar


class AmendsError(Exception):
    """The root of all errors of amends. `code` is stable across releases."""

    code: ClassVar[str] = "amends"


class DefinitionError(AmendsError):
    """A saga, step or service is written wrongly. Raised when it is built, never later."""

    code = "definition"


class ValueRefused(AmendsError):
    """A value cannot be stored exactly as it is; the text names the field."""

    code = "value-refused"


class LimitExceeded(AmendsError):
    """Something is over one of the documented limits."""

    code = "limit-exceeded"


class NotRunning(AmendsError):
    """The orchestrator was used before it was entered, or after it was closed."""

    code = "not-running"


class UnknownSaga(AmendsError):
    """There is no saga with this id, or no definition with this name."""

    code = "unknown-saga"


class UnknownBulk(AmendsError):
    """There is no bulk operation with this id in this namespace."""

    code = "unknown-bulk"


class IdConflict(AmendsError):
    """The id is taken by another saga, or by the same saga with other input."""

    code = "id-conflict"


class TooLate(AmendsError):
    """The saga has moved past the point where that could be done."""

    code = "too-late"


class Refused(AmendsError):
    """The saga, as it stands, does not allow that."""

    code = "refused"


class Changed(Refused):
    """The saga has moved on from the version that was given: look again, then decide anew."""

    code = "changed"


class NotAnswered(AmendsError):
    """No worker has answered yet. What was asked is kept, and will be answered."""

    code = "not-answered"


class NotEnlisted(AmendsError):
    """`within=` was given something that is not an open transaction on this store."""

    code = "not-enlisted"


class SagaFailed(AmendsError):
    """An outcome that is not `Completed` was unwrapped."""

    code = "saga-failed"


class SagaCompensated(SagaFailed):
    """The saga was undone."""

    code = "saga-compensated"


class SagaParked(SagaFailed):
    """The saga waits for a person."""

    code = "saga-parked"


class MessageRefused(AmendsError):
    """What came is no message in the protocol, or none that may be taken."""

    code = "message-refused"


class TransportError(AmendsError):
    """Something is wrong with the broker."""

    code = "transport"


class TransportAway(TransportError):
    """The broker cannot be reached now, or has not confirmed. It may have what was sent."""

    code = "transport-away"


class TransportRefused(TransportError):
    """The broker says no, and waiting does not mend that."""

    code = "transport-refused"


class StoreError(AmendsError):
    """Something is wrong with the database."""

    code = "store"


class StoreUnavailable(StoreError):
    """The database cannot be reached or written now. What was acknowledged is not lost."""

    code = "store-unavailable"


class StoreDamaged(StoreError):
    """The database file is not what it was."""

    code = "store-damaged"


class KeyMissing(StoreError):
    """A payload is sealed with a key that is not here. It opens where the key is."""

    code = "key-missing"


class SchemaMismatch(StoreError):
    """The database's schema is newer, or older, than this code can use."""

    code = "schema-mismatch"


class WorkerRunning(StoreError):
    """Another worker holds this database."""

    code = "worker-running"


class ImpossibleTransition(AmendsError):
    """A bug in amends: the core was asked for a transition that its table does not have."""

    code = "impossible-transition"
