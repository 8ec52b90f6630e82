"""The sale behind the endpoints, as its user would test it; the endpoints are run by the example itself."""

from __future__ import annotations

from datetime import timedelta

import pytest
from fastapi_app import Answer, Order, answer, app, sell, web

from amends import Compensated, Completed
from amends.errors import Refused, TooLate
from amends.testing import NewSandbox

BOOK = Order("book", 2_900)


def test_an_accepted_offer_is_shipped(amends: NewSandbox) -> None:
    sandbox = amends([sell])
    sale = sandbox.start(sell, BOOK)

    sandbox.signal(sale.saga_id, answer, Answer(accepted=True))

    assert sale.outcome() == Completed("book is on its way, for 26.10")


def test_a_refused_offer_is_not(amends: NewSandbox) -> None:
    sandbox = amends([sell])
    sale = sandbox.start(sell, BOOK)

    sandbox.signal(sale.saga_id, answer, Answer(accepted=False))

    assert isinstance(sale.outcome(), Compensated)


def test_an_offer_is_answered_once_and_within_a_week(amends: NewSandbox) -> None:
    sandbox = amends([sell])
    answered, silent = sandbox.start(sell, BOOK), sandbox.start(sell, BOOK)

    sandbox.signal(answered.saga_id, answer, Answer(accepted=True))
    sandbox.advance(timedelta(days=7))

    with pytest.raises(TooLate):
        sandbox.signal(answered.saga_id, answer, Answer(accepted=False))
    with pytest.raises((TooLate, Refused)):
        sandbox.signal(silent.saga_id, answer, Answer(accepted=True))
    assert (answered.status, silent.status) == ("completed", "compensated")


def test_the_web_process_has_the_endpoints_of_the_other() -> None:
    paths = {getattr(route, "path", "") for route in app.routes}

    assert {getattr(route, "path", "") for route in web.routes} == paths
    assert "/orders/{order_id}/answer" in paths
