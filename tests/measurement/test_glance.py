import numpy as np
import pytest

import kit
from kit.measurement.compare import _gains
from kit.measurement.glance import glance


def test_a_glance_tells_slow_from_fast_in_the_order_given(fashion):
    def slow(batch):
        return [np.sort(batch.ravel()) for _ in range(50)]

    batch = fashion.valid.inputs[:3].numpy()
    seen = glance({"quick": np.negative, "slow": slow}, batch, seconds=0.02)
    assert list(seen) == ["quick", "slow"]
    assert seen["slow"] > 5 * seen["quick"] > 0


def test_what_threads_bring_is_measured_only_where_there_are_several(trained, fashion):
    net, inputs = kit.export(trained, data=fashion), fashion.valid.inputs[:4].numpy()
    quick = {"seconds": 0.05, "rounds": 2, "blocks": 6, "memory": False}
    wall = kit.benchmark([net], inputs=inputs, clock="wall", **quick)
    found = _gains([net], wall, inputs, runtime="auto", device=None)
    assert bool(found) == (kit.device.threads() > 1)
    assert all(gain > 0 for gain in found.values())
    cpu = kit.benchmark([net], inputs=inputs, clock="cpu", **quick)
    assert _gains([net], cpu, inputs, runtime="auto", device=None) == {}


def test_a_model_keeps_the_threads_of_its_card(trained, fashion):
    file = kit.export(trained, data=fashion).file
    made = type(kit.export(trained, data=fashion).model)
    single = kit.Variant(made(file, threads=1), "single", fashion.signature)
    assert kit.open(single).threads == 1
    assert kit.open(single, threads=2).threads == 2


@pytest.mark.parametrize("clock", ["wall", "cpu"])
def test_compare_names_the_threads_that_really_ran(trained, fashion, clock):
    plain = kit.export(trained, data=fashion)
    single = kit.Variant(type(plain.model)(plain.file, threads=1), "single", plain.signature)
    row = kit.compare([plain, single], fashion, seconds=0.05, clock=clock, memory=False)["single"]
    several = clock == "wall" and kit.device.threads() > 1
    said = f"it runs on 1 thread, the first on {kit.device.threads()} threads"
    assert (said in row.why) == (several and row.verdict != "faster")
