"""The edge to aiokafka, which has no types and keeps some of what we need to itself: all of that stands here, and in
`kafka_clients`.

Two things are not to be had from its public methods. A commit that is tried again by the client may go out in a later
generation, when the partition is somebody else's: `commit` sends one request, in the generation that it was meant for.
And a connection that is refused is told apart from one that fails only where it is made: see `why_not`.

Guarantees: nothing here waits longer than it was told to.
Must not: decide when something is to be done.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aiokafka import (  # type: ignore[import-untyped]
    ConsumerRebalanceListener,
    OffsetAndMetadata,
    TopicPartition,
)
from aiokafka import errors as kafka_errors
from aiokafka.client import CoordinationType  # type: ignore[import-untyped]
from aiokafka.conn import create_conn  # type: ignore[import-untyped]
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor  # type: ignore[import-untyped]
from aiokafka.coordinator.protocol import (  # type: ignore[import-untyped]
    ConsumerProtocolMemberAssignment,
    ConsumerProtocolMemberMetadata,
)
from aiokafka.partitioner import murmur2  # type: ignore[import-untyped]
from aiokafka.protocol.admin import CreateTopicsRequest  # type: ignore[import-untyped]
from aiokafka.protocol.commit import OffsetCommitRequest, OffsetFetchRequest  # type: ignore[import-untyped]
from aiokafka.protocol.metadata import MetadataRequest  # type: ignore[import-untyped]
from aiokafka.protocol.offset import OffsetRequest  # type: ignore[import-untyped]

from amends.errors import TransportError
from amends.transport import kafka_share
from amends.transport.kafka_options import NO_LIMIT, Options

KafkaError: type[Exception] = kafka_errors.KafkaError
# What a broker that is away looks like. The last is uvloop's word for a connection that broke this moment.
TROUBLE: tuple[type[Exception], ...] = (KafkaError, OSError, TimeoutError, RuntimeError)
AWAY: tuple[type[Exception], ...] = (TransportError, *TROUBLE)
EARLIEST, LATEST = -2, -1
NOBODY = -1  # the generation of who is in no group
_REFUSED = (
    "TopicAuthorizationFailedError",
    "GroupAuthorizationFailedError",
    "ClusterAuthorizationFailedError",
    "InvalidTopicError",
    "InvalidPartitionsError",
    "InvalidReplicationFactorError",
    "PolicyViolationError",
    "UnsupportedVersionError",
    "SaslAuthenticationFailed",
    "AuthenticationFailedError",
    "AuthenticationMethodNotSupported",
    "UnsupportedSaslMechanismError",
    "IllegalSaslStateError",
)
_TOO_LARGE = ("MessageSizeTooLargeError", "RecordListTooLargeError", "InvalidMessageError", "InvalidRecordError")
refused_errors: tuple[type[Exception], ...] = tuple(
    vars(kafka_errors)[name] for name in _REFUSED if name in vars(kafka_errors)
)
too_large_errors: tuple[type[Exception], ...] = tuple(
    vars(kafka_errors)[name] for name in _TOO_LARGE if name in vars(kafka_errors)
)
forbidden_errors: tuple[type[Exception], ...] = (
    kafka_errors.TopicAuthorizationFailedError,
    kafka_errors.ClusterAuthorizationFailedError,
)


if TYPE_CHECKING:  # aiokafka has no types

    class _Listener: ...

    class _Assignor: ...

else:
    _Listener, _Assignor = ConsumerRebalanceListener, AbstractPartitionAssignor


def partition_of(key: str, count: int) -> int:
    """Where Kafka's own clients put a key."""
    return int(murmur2(key.encode()) & 0x7FFFFFFF) % count


def part(topic: str, partition: int) -> Any:
    """A partition, as the client wants it."""
    return TopicPartition(topic, partition)


class Watch(_Listener):
    """Tells a listener what its group has decided."""

    def __init__(self, listener: Any) -> None:
        self._listener = listener

    async def on_partitions_revoked(self, revoked: Any) -> None:
        await self._listener.revoked()

    async def on_partitions_assigned(self, assigned: Any) -> None:
        self._listener.assigned(sorted(tp.partition for tp in assigned))


class Share(_Assignor):
    """How the members of a group agree on who gets what: see `kafka_share`. One for each consumer."""

    name = kafka_share.NAME
    version = 0

    def __init__(self, claim: Callable[[], kafka_share.Claim]) -> None:
        """claim: what this member brings."""
        self._claim = claim
        self.fair: int = NO_LIMIT  # the most that a member should have, as it was told

    def metadata(self, topics: Any) -> Any:
        return ConsumerProtocolMemberMetadata(self.version, list(topics), kafka_share.claim(self._claim()))

    def assign(self, cluster: Any, members: Any) -> Any:
        topic = next(iter(members.values())).subscription[0]
        partitions = sorted(cluster.partitions_for_topic(topic) or ())
        claims = {name: kafka_share.read_claim(told.user_data) for name, told in members.items()}
        fair = str(kafka_share.fair(partitions, len(members))).encode()
        return {
            name: ConsumerProtocolMemberAssignment(self.version, [(topic, numbers)] if numbers else [], fair)
            for name, numbers in kafka_share.share_out(partitions, claims).items()
        }

    def on_assignment(self, assignment: Any) -> None:
        told = assignment.user_data or b""
        self.fair = int(told) if told.isdigit() else NO_LIMIT


def rejoin(consumer: Any) -> None:
    """Have the group share out again."""
    consumer._coordinator.request_rejoin()


def membership(consumer: Any) -> tuple[int, str]:
    """The generation of the group that a consumer is in, and its name there."""
    coordinator = consumer._coordinator
    return (NOBODY, "") if coordinator is None else (int(coordinator.generation), str(coordinator.member_id))


async def commit(consumer: Any, topic: str, offsets: Mapping[int, int], generation: tuple[int, str]) -> bool:
    """Commit once, as the member of that generation and of no other. Whether the broker has confirmed it."""
    coordinator = consumer._coordinator
    if generation[0] <= NOBODY or membership(consumer) != generation or coordinator.coordinator_id is None:
        return False
    told = {TopicPartition(topic, number): OffsetAndMetadata(offset, "") for number, offset in offsets.items()}
    try:
        # The request is made before anything is waited for, and so in this generation.
        await coordinator._do_commit_offsets(None, told)
    except TROUBLE:
        return False
    return True


async def why_not(options: Options, error: BaseException) -> tuple[str, bool]:
    """Why no broker can be connected to, and whether waiting does not mend it. error: what the client made of it."""
    told = [str(error) or type(error).__name__]
    for host in options.url.hosts:
        try:
            milliseconds = int(options.connect_seconds * 1000)
            async with asyncio.timeout(options.connect_seconds):
                conn = await create_conn(host.name, host.port, request_timeout_ms=milliseconds, **options.login)
        except refused_errors as refused:
            return f"{host}: {refused}", True
        except ssl.SSLCertVerificationError as refused:
            return f"{host}: its certificate is not trusted: {refused.verify_message}", True
        except TROUBLE as away:
            told.append(f"{host}: {str(away) or type(away).__name__}")
        else:
            conn.close()
    return told[-1], False


async def ask(client: Any, request: Any, node: int | None = None) -> Any:
    """The answer of a node, of the first that gives one by default."""
    nodes = [broker.nodeId for broker in client.cluster.brokers()] if node is None else [node]
    error: Exception = kafka_errors.NodeNotReadyError("no broker is known")
    for one in nodes:
        try:
            return await client.send(one, request)
        except TROUBLE as trouble:
            error = trouble
    raise error


async def topics_there(client: Any, topics: Sequence[str]) -> dict[str, list[int]]:
    """Of these topics those that are there, with their partitions. Makes none, whatever the broker would do."""
    answer = await ask(client, MetadataRequest(list(topics), allow_auto_topic_creation=False))
    found: dict[str, list[int]] = {}
    for code, topic, *_, partitions in answer.topics:
        if code == 0:
            found[topic] = [number for _, number, *_ in partitions]
        elif code != kafka_errors.UnknownTopicOrPartitionError.errno:
            raise kafka_errors.for_code(code)(topic)
    return found


async def create_topics(client: Any, topics: Mapping[str, Mapping[str, str]], options: Options) -> dict[str, Any]:
    """Make topics, each with its configuration; for each what went wrong, None where it is there now."""
    wanted: list[Any] = [(t, options.partitions, options.replication, [], list(c.items())) for t, c in topics.items()]
    request = CreateTopicsRequest(wanted, int(options.publish_seconds * 1000), False)
    controller = client.cluster.controller
    answer = await ask(client, request, None if controller is None else controller.nodeId)
    told: dict[str, Any] = {}
    for topic, code, *text in answer.topic_errors:
        fine = code in (0, kafka_errors.TopicAlreadyExistsError.errno)
        told[topic] = None if fine else kafka_errors.for_code(code)(*(one for one in text if one))
    return told


async def ends(client: Any, topic: str, partitions: Sequence[int], which: int) -> dict[int, int]:
    """The first or next offset of partitions."""
    by_node: dict[int, list[tuple[int, int]]] = {}
    for number in partitions:
        leader = client.cluster.leader_for_partition(TopicPartition(topic, number))
        if leader in (None, -1):
            raise kafka_errors.LeaderNotAvailableError(topic)
        by_node.setdefault(leader, []).append((number, which))
    found: dict[int, int] = {}
    for node, asked in by_node.items():
        answer = await ask(client, OffsetRequest(-1, 0, [(topic, asked)]), node)
        for number, code, _, offset in answer.topics[0][1]:
            if code:
                raise kafka_errors.for_code(code)(topic)
            found[number] = offset
    return found


async def committed(client: Any, group: str, topic: str, partitions: Sequence[int]) -> dict[int, int]:
    """What a group has committed; what it has not is not there."""
    node = await client.coordinator_lookup(CoordinationType.GROUP, group)
    answer = await ask(client, OffsetFetchRequest(group, [(topic, list(partitions))]), node)
    found: dict[int, int] = {}
    for _, told in answer.topics:
        for number, offset, _, code in told:
            if code:
                raise kafka_errors.for_code(code)(group)
            if offset >= 0:
                found[number] = offset
    return found


async def commit_for_nobody(client: Any, group: str, topic: str, offsets: Mapping[int, int]) -> None:
    """Commit for a group that has no member yet; one that has says UnknownMemberIdError."""
    node = await client.coordinator_lookup(CoordinationType.GROUP, group)
    told = [(topic, [(number, offset, "") for number, offset in offsets.items()])]
    answer = await ask(client, OffsetCommitRequest(group, NOBODY, "", -1, told), node)
    for _, partitions in answer.topics:
        for _, code in partitions:
            if code and code != kafka_errors.UnknownMemberIdError.errno:
                raise kafka_errors.for_code(code)(group)
