"""The trial subscription, as its user would test it: months in milliseconds."""

from __future__ import annotations

from datetime import timedelta

from subscription import Backend, Confirmation, Trial, confirmation, run_trial

from amends import Compensated, Completed
from amends.testing import NewSandbox

ANN = Trial("ann@example.org")


def test_a_customer_who_confirms_is_billed(amends: NewSandbox) -> None:
    backend = Backend()
    app = amends([run_trial], [backend])
    trial = app.start(run_trial, ANN)

    app.advance(days=28)
    app.signal(trial.saga_id, confirmation, Confirmation("yearly"))

    assert isinstance(trial.outcome(), Completed)
    assert list(backend.bills.values()) == ["yearly"]
    assert len(backend.accounts) == 1


def test_the_reminder_comes_three_days_before_the_end(amends: NewSandbox) -> None:
    backend = Backend()
    app = amends([run_trial], [backend])
    app.start(run_trial, ANN)

    app.advance(timedelta(days=27) - timedelta(seconds=1))
    assert not backend.mails
    app.advance(seconds=1)

    assert list(backend.mails.values()) == ["ann@example.org: your trial ends in three days"]


def test_a_customer_who_does_nothing_has_no_account_after_thirty_days(amends: NewSandbox) -> None:
    backend = Backend()
    app = amends([run_trial], [backend])
    began = app.now

    outcome = app.run(run_trial, ANN)

    assert isinstance(outcome, Compensated)
    assert outcome.cause == "deadline"
    assert app.now - began >= timedelta(days=30)
    assert not backend.accounts
    assert "nothing to pay" in list(backend.mails.values())[-1]


def test_a_customer_who_cancels_while_the_saga_sleeps_gets_no_reminder(amends: NewSandbox) -> None:
    backend = Backend()
    app = amends([run_trial], [backend])
    trial = app.start(run_trial, ANN)

    app.advance(days=10)
    app.cancel(trial.saga_id, reason="no interest")
    app.advance(days=60)

    assert trial.status == "compensated"
    assert not backend.accounts
    assert not backend.mails


def test_a_trial_survives_its_workers(amends: NewSandbox) -> None:
    backend = Backend()
    app = amends([run_trial], [backend])
    trial = app.start(run_trial, ANN)

    for _ in range(28):
        app.advance(days=1)
        app.kill_worker()
    app.signal(trial.saga_id, confirmation, Confirmation("monthly"))

    assert isinstance(trial.outcome(), Completed)
    assert len(backend.mails) == 1
