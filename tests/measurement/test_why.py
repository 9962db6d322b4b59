from dataclasses import replace

import pytest

from kit.measurement import why
from kit.measurement.traits import Traits
from kit.measurement.why import Facts, reasons
from kit.statistics import Measurement

FLOAT = Traits("float32", "", dynamic=False, integer=0, floating=8, unfused=0, packed=0, depthwise=0.0)
FIRST = Facts(
    400_000, 100_000, 100_000, 9_000_000, 1.0, 0.01, Measurement(1, 1, 1, 12), "baseline", traits=FLOAT
)


def after(speed=None, **changes):
    """A model that differs from the first, `speed` times as fast."""
    if speed is None:
        return replace(
            FIRST, speedup=Measurement(1.0, 0.99, 1.01, 12), verdict="no difference shown", **changes
        )
    measured = Measurement(speed, 0.97 * speed, 1.03 * speed, 12)
    changes.setdefault("latency", 1 / speed)
    return replace(FIRST, speedup=measured, verdict="faster" if speed > 1 else "slower", **changes)


@pytest.fixture(params=["vnni", "old"])
def processor(request, monkeypatch):
    monkeypatch.setattr(
        why.hardware, "accelerates", lambda _: "AVX512-VNNI" if request.param == "vnni" else None
    )
    monkeypatch.setattr(why.platform, "machine", lambda: "x86_64")
    return request.param


def test_the_first_has_nothing_to_explain():
    assert reasons(FIRST, FIRST) == ()


def test_structured_pruning_names_macs_and_parameters():
    found = reasons(after(2.9, macs=3_000_000, parameters=25_000, nonzero=25_000, bytes=100_000), FIRST)
    assert found == ("4.0× fewer bytes: 4.0× fewer parameters", "2.9× faster: 3.0× fewer MACs")


def test_a_speed_up_far_below_the_macs_is_explained_by_the_call_itself():
    found = reasons(after(2.0, macs=1_000_000, latency=0.03), FIRST)
    assert found[0] == "2.0× faster: 9.0× fewer MACs"
    assert found[1] == "held back: 33% of its latency is the call itself, which an empty model takes too"


def test_a_shortfall_without_visible_cause_is_still_spoken_of():
    assert reasons(after(1.5, macs=1_000_000), FIRST)[-1].startswith("held back: smaller layers")


def test_zeros_are_stored_and_multiplied_like_other_numbers():
    found = " | ".join(reasons(after(nonzero=10_000, zipped=70_000), FIRST))
    assert "90% of the weights are zeros" in found
    assert "gzip would make it 70,000 bytes" in found
    assert "the interval [0.99×, 1.01×] is not clear of 1.0×" in found
    assert "dense kernels multiply zeros as well" in found


def test_integer_kernels_need_a_processor_that_has_them(processor):
    integer = replace(FLOAT, storage="int8", activations="uint8", integer=7, floating=1)
    fast = " | ".join(reasons(after(1.9, traits=integer, storage="int8", bytes=110_000), FIRST))
    slow = " | ".join(reasons(after(traits=integer, storage="int8", bytes=110_000), FIRST))
    assert "3.6× fewer bytes: int8 weights instead of float32" in fast
    assert ("7 of 8 layers on int8 kernels (AVX512-VNNI)" in fast) == (processor == "vnni")
    assert ("this processor has no int8 instructions" in slow) == (processor == "old")
    assert "still in floating point: 1 layer" in slow.split(" | ")


def test_signed_activations_are_the_trap_of_x86(processor):
    signed = replace(FLOAT, storage="int8", activations="int8", integer=4, floating=4, unfused=4)
    found = " | ".join(reasons(after(0.6, traits=signed), FIRST))
    assert "1.7× slower, in spite of 4 of 8 layers on int8 kernels" in found
    assert "signed 8-bit activations (S8S8)" in found
    assert "not fused, and so in floating point: 4 layers" in found


def test_weights_that_are_unpacked_bring_bytes_only():
    for traits, text in (
        (replace(FLOAT, storage="4-bit", packed=3), "the weights of 3 layers are unpacked"),
        (replace(FLOAT, storage="int8"), "only the weights are integers"),
        (replace(FLOAT, storage="float16"), "CPU kernels compute float16 in float32"),
    ):
        found = reasons(after(traits=traits, bytes=110_000), FIRST)
        assert found[0].startswith("3.6× fewer bytes")
        assert any(text in line for line in found)


def test_depthwise_layers_and_batches_are_spoken_of():
    slim = after(2.0, macs=1_000_000, traits=replace(FLOAT, depthwise=0.2), batches={1: 2.0, 32: 4.0})
    found = " | ".join(reasons(slim, FIRST))
    assert "20% of its MACs are depthwise" in found
    assert "batch matters: 2.0× at 1, 4.0× at 32" in found


def test_nothing_changed_is_said():
    assert reasons(after(), FIRST)[-1] == "the same arithmetic on the same kernels"


def test_another_runtime_is_named_and_its_call_charged_to_it():
    found = reasons(
        after(0.5, runtime="openvino", storage="bfloat16", bytes=200_000, overhead=1.2, traits=None), FIRST
    )
    assert found == (
        "2.0× fewer bytes: bfloat16 weights instead of float32",
        "2.0× slower on openvino instead of onnxruntime",
        "60% of its latency is the call itself, which an empty model takes too",
    )


def test_a_slow_down_without_visible_cause_is_not_explained_away():
    odd = replace(FLOAT, floating=12)
    assert (
        reasons(after(0.5, traits=odd), FIRST)[-1]
        == "no cause is visible in the file; a profiler may show one"
    )
