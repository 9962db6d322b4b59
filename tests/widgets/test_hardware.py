from __future__ import annotations

import threading
import time

from kit import gauges
from kit.widgets import Hardware


def until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_what_is_shown_is_what_was_read():
    panel = Hardware()
    panel.read()
    rows = dict(panel.table()[2])
    assert rows["cores for this process"] == str(panel.reading.cores)
    assert f"{panel.reading.load:.2f}" == rows["load a core"]
    for name in rows:
        assert name in panel._view.value


def test_it_watches_until_it_is_told_to_stop():
    panel = Hardware(interval=0.01)
    panel._switch.click()
    assert panel._switch.description == "Stop watching"
    until(lambda: len(panel._curves[0].x) > 3)
    panel._switch.click()
    until(lambda: not panel.watching)
    assert panel._switch.description == "Watch"
    assert all(0 <= y <= 1 for curve in panel._curves for y in curve.y)


def test_a_machine_that_others_keep_busy_is_a_warning():
    panel = Hardware()
    panel.read()
    panel.busy = 0.5
    panel._show()
    assert "would not hold" in panel.frame.status
    panel.busy = 0.0
    panel._show()
    assert "can be trusted" in panel.frame.status


def test_work_of_this_process_is_no_neighbour():
    panel, stop = Hardware(), threading.Event()
    panel.read()
    end = time.process_time() + 0.3
    while time.process_time() < end:
        pass
    stop.set()
    panel.read()
    assert panel._cpu >= panel.busy


def test_gpus_are_shown_beside_the_rest():
    panel = Hardware()
    panel.reading = gauges.Reading(2, 0.5, 1, 2, 3, (gauges.Gpu("H100", 0.75, 10**9, 8 * 10**10, 41, 120.0),))
    panel._show()
    assert "75%, 1.0 of 80.0 GB, 41 °C, 120 W" in panel._view.value
