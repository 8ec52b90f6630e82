"""The pool of threads for sync functions."""

from __future__ import annotations

import contextvars
import threading
from concurrent.futures import wait

import pytest

from amends.run import threads
from amends.run.threads import Threads


def test_no_more_functions_run_at_once_than_there_may_be_threads() -> None:
    pool = Threads(3)
    running: list[int] = []
    most: list[int] = []
    lock = threading.Lock()
    gate = threading.Barrier(3, timeout=30)

    def job() -> None:
        with lock:
            running.append(1)
            most.append(len(running))
        gate.wait()
        with lock:
            running.pop()

    wait([pool.submit(job) for _ in range(30)], timeout=30)

    assert max(most) == 3, "three at once, or the barrier would have broken"


def test_a_pool_that_was_busy_and_then_idle_runs_the_next_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "IDLE_SECONDS", 0.01)
    pool = Threads(2)
    wait([pool.submit(lambda: None) for _ in range(100)], timeout=30)
    while pool._threads:
        pass  # idle threads end

    assert pool.submit(lambda: "ran").result(timeout=30) == "ran"


def test_what_a_function_raises_comes_back_and_its_thread_goes_on() -> None:
    pool = Threads(1)

    def bad() -> None:
        raise SystemExit(3)

    assert isinstance(pool.submit(bad).exception(timeout=30), SystemExit)
    assert pool.submit(lambda: 1).result(timeout=30) == 1


def test_a_function_sees_the_context_of_its_caller() -> None:
    tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant")
    tenant.set("acme")

    assert Threads(1).submit(tenant.get).result(timeout=30) == "acme"
