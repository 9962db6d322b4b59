"""The load test: it counts what was answered, and an open loop sees a standstill that a closed one hides."""

from __future__ import annotations

import threading

import psutil
import pytest

from kit.errors import ArgumentError
from kit.serving.load import load_test


def test_a_standstill_shows_in_an_open_loop_and_hides_in_a_closed_one(service, fashion):
    image = fashion.test.inputs[:1].numpy()
    [worker] = psutil.Process(service._place.pid).children()

    def paused(**how):
        """Stop the worker for a second in the middle of three."""
        timers = [threading.Timer(1.5, worker.suspend), threading.Timer(2.5, worker.resume)]
        for timer in timers:
            timer.start()
        found = load_test(service, image, seconds=3, **how)
        for timer in timers:
            timer.join()
        return found

    closed, open_ = paused(clients=2), paused(rate=60)
    assert closed.failed == open_.failed == 0
    late = [sum(ms > 100 for ms in found.milliseconds) for found in (closed, open_)]
    assert late[0] <= 8  # once a client, and perhaps once more on a busy machine
    assert late[1] > 20
    assert "closed loop, 2 clients" in str(closed)


def test_it_asks_for_one_kind_of_load(service, fashion):
    image = fashion.test.inputs[:1].numpy()
    for wrong in ({}, {"clients": 1, "rate": 1.0}):
        with pytest.raises(ArgumentError, match="closed loop"):
            load_test(service, image, **wrong)
