from __future__ import annotations

import sys

import kit
from kit import gauges


def test_a_reading_of_this_machine():
    now = gauges.read()
    assert now.cores == kit.device.threads()
    assert 0 < now.own < now.used + now.own
    assert now.used <= now.total


def test_without_the_library_there_are_no_gpus(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert gauges.gpus() == ()
