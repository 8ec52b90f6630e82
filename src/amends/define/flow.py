"""A flow: which event of a choreography is expected to lead to which, and by when. Nobody runs it; a watcher holds the
events that it sees against it, so that silence is noticed.

Guarantees: once it is built, everything in it can be reached from the event that begins it, and can come to an end.
Must not: make anything happen: the handlers of the services do.
"""

from __future__ import annotations

from amends.decide.flows import Expectation, FlowPlan, flaws
from amends.define.node import check_name
from amends.errors import DefinitionError


class Flow:
    """What is expected of a choreography of events.

        order = Flow(
            "order",
            placed.leads_to(reserved, short, within=30),
            reserved.leads_to(paid, declined, within=60),
            declined.leads_to(released, within=60),
        )

    expectations: lines as `leads_to` gives. The event of the first begins the flow; of the events in one line one is
    expected, and each line is to be met. An event after which nothing is expected ends its branch.

    Raises DefinitionError.
    """

    def __init__(self, name: str, /, *expectations: Expectation) -> None:
        self.name: str = check_name(name, "Flow(…)")
        for one in expectations:
            if not isinstance(one, Expectation):
                raise DefinitionError(
                    f"flow {name!r}: a line such as placed.leads_to(reserved, within=30) is expected, not {one!r:.80}"
                )
        if not expectations:
            raise DefinitionError(f"flow {name!r}: it expects nothing; say what its first event leads to")
        self.plan: FlowPlan = FlowPlan(name, tuple(expectations))
        if found := flaws(self.plan):
            raise DefinitionError(f"flow {name!r}: {'; '.join(found)}")

    def __repr__(self) -> str:
        return f"Flow({self.name!r})"
