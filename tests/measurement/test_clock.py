import os
import subprocess
import sys
import time

import pytest

from kit.errors import ArgumentError
from kit.measurement.clock import BUSY, Clock, Watch


def spin(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def test_own_work_is_not_taken_for_that_of_others():
    watch = Watch()
    before = time.process_time()
    spin(0.6)
    own, others = time.process_time() - before, watch.others()
    assert 0 <= others <= 1
    assert others <= 1 - own / 0.6 / (os.cpu_count() or 1) + 0.1


def test_the_work_of_others_is_seen():
    busy = [sys.executable, "-c", "while True: pass"]
    processes = [subprocess.Popen(busy) for _ in range(os.cpu_count() or 1)]
    try:
        clock = Clock.choose("auto", seconds=1.0)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert clock.name == "cpu"
    assert "busy" in clock.reason


def test_the_cpu_clock_does_not_count_waiting():
    begin = Clock.choose("cpu").read()
    time.sleep(0.05)
    assert Clock.choose("cpu").read() - begin < 0.02
    assert Clock.choose("wall").read is time.perf_counter
    assert 0 < BUSY < 1


def test_unknown_clocks_are_refused():
    with pytest.raises(ArgumentError, match="did you mean 'wall'"):
        Clock.choose("wal")
