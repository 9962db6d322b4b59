from dataclasses import replace

import numpy as np
import onnx
import pytest

import kit
from kit.measurement import size, why
from kit.measurement.products import subnormal
from kit.measurement.traits import Traits, traits
from kit.measurement.why import Facts, reasons
from kit.statistics import Measurement

FLOAT = Traits("float32", "", dynamic=False, integer=0, floating=8, unfused=(), packed=0, depthwise=0.0)
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
    names = ("conv1", "conv2", "fc", "head")
    signed = replace(FLOAT, storage="int8", activations="int8", integer=4, floating=4, unfused=names)
    found = " | ".join(reasons(after(0.6, traits=signed), FIRST))
    assert "1.7× slower, in spite of 4 of 8 layers on int8 kernels" in found
    assert "signed 8-bit activations (S8S8)" in found
    assert "in floating point: 4 layers that the file quantizes (conv1, conv2, fc, head)" in found


def test_weights_that_are_unpacked_bring_bytes_only():
    for stored, text in (
        (replace(FLOAT, storage="4-bit", packed=3), "the weights of 3 layers are unpacked"),
        (replace(FLOAT, storage="int8"), "only the weights are integers"),
        (replace(FLOAT, storage="float16"), "CPU kernels compute float16 in float32"),
    ):
        found = reasons(after(traits=stored, bytes=110_000), FIRST)
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


def test_threads_are_spoken_of_when_they_differ_or_bring_nothing():
    assert "it runs on 1 thread, the first on 8 threads" in reasons(
        after(threads=1), replace(FIRST, threads=8)
    )
    first = replace(FIRST, threads=2, gain=1.9)
    small = reasons(after(threads=2, gain=1.1), first)
    assert (
        "2 threads make it 1.1× faster than one, the first 1.9×: small layers are not worth sharing out"
        in small
    )
    worse = reasons(after(threads=2, gain=0.5), first)
    assert "2 threads make it 2.0× slower than one: give threads=1" in worse
    assert not any("thread" in line for line in reasons(after(threads=2, gain=1.8), first))


# ---- each cause forced on real files -----------------------------------------------------------------

SHAPE = (1, 28, 28)


def explain(variant, fashion, speed=None):
    """Why a real file is `speed` times as fast as a dense one; the speed is made up, the cause is not."""
    facts = after(speed, traits=traits(variant.file, SHAPE), bytes=size.bytes_on_disk(variant))
    counted = {"parameters": size.parameters(variant), "nonzero": size.nonzero(variant)}
    few = fashion.valid.inputs[:4].numpy()
    return " | ".join(reasons(replace(facts, **counted, subnormal=subnormal(variant.file, few)), FIRST))


@pytest.fixture(scope="module")
def dense(trained, fashion):
    return kit.export(trained, data=fashion)


def test_a_plain_file_has_none_of_the_causes(dense, fashion):
    assert explain(dense, fashion).endswith("no cause is visible in the file; a profiler may show one")


def test_unstructured_zeros_are_found_in_the_file(trained, fashion):
    sparse = kit.prune(trained, fashion, ratio=0.8, method="lamp", finetune=0)
    assert "dense kernels multiply zeros as well" in explain(kit.export(sparse, data=fashion), fashion)


def test_the_nodes_that_are_not_fused_are_named(trained, fashion, processor):
    signed = kit.quantize(trained, fashion, target="tensorrt", calibration=50)
    left = traits(signed.file, SHAPE).unfused
    assert left
    assert set(left) <= {node.name for node in onnx.load(signed.file).graph.node}
    found = explain(signed, fashion, 0.6)
    assert f"{len(left)} layers that the file quantizes ({left[0]}, " in found
    assert "signed 8-bit activations (S8S8)" in found


def test_operators_that_a_scheme_does_not_cover_are_named(trained, fashion):
    found = explain(kit.quantize(trained, fashion, scheme="dynamic"), fashion)
    assert "not covered by this quantization, and so in floating point: Conv" in found
    assert "activations are quantized anew in each call" in found


def test_subnormal_numbers_are_found_in_the_file(dense, fashion, tmp_path):
    model = onnx.load(dense.file)
    largest = max(model.graph.initializer, key=lambda tensor: np.prod(tensor.dims))
    tiny = onnx.numpy_helper.to_array(largest) * np.float32(1e-38)
    largest.CopyFrom(onnx.numpy_helper.from_array(tiny, largest.name))
    onnx.save(model, tmp_path / "tiny.onnx")
    slow = kit.Variant(type(dense.model)(tmp_path / "tiny.onnx"), "tiny", dense.signature)
    assert "of its numbers are subnormal (below 1.2e-38)" in explain(slow, fashion, 0.5)


def test_a_net_that_only_fetches_weights_is_memory_bound(fashion):
    net = kit.export(kit.models.lenet_300_100(), data=fashion)
    assert traits(net.file, SHAPE).intensity == pytest.approx(0.25, rel=0.02)  # four bytes, used once
    assert "memory-bound: 0.25 MACs for each byte" in explain(net, fashion)
