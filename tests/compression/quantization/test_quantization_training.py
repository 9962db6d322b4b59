"""Quantization-aware training: rounding is repaired, and the file is what was trained."""

from __future__ import annotations

import copy
import json

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import kit
from kit.compression.quantization import integer, weight_only
from kit.compression.quantization.float_file import float_variant
from kit.compression.quantization.onnx_layers import layers, prepare, stored_weights
from kit.compression.quantization.plan import decide
from kit.compression.quantization.report import decibels
from kit.compression.quantization.training import rounding, write
from kit.conversion.export import export
from kit.errors import ArgumentError, ModelError
from kit.measurement.evaluate import agreement
from kit.training.loop import fit

PLAIN = {"precision": "fp32", "layout": "contiguous"}  # not what a probe finds fastest today


@pytest.fixture(scope="module")
def separable(fashion):
    """A depthwise-separable net: few weights, and each of them counts."""
    torch.manual_seed(0)
    return kit.train(kit.models.mobilenet(width=16), fashion, epochs=5, lr=1e-2, seed=0, **PLAIN)


@pytest.fixture(scope="module")
def fragile(separable, fashion):
    """The same function, but the inputs of one layer differ in scale, as after an uneven normalisation.

    What rounding breaks hangs on the first weights otherwise, from nothing to 9 points.
    """
    module = copy.deepcopy(separable.module)
    norm, pointwise = module[2][1], module[2][3]
    chance = torch.Generator().manual_seed(0)
    scales = torch.logspace(-1, 1, norm.num_features)[torch.randperm(norm.num_features, generator=chance)]
    with torch.no_grad():
        norm.weight *= scales
        norm.bias *= scales
        pointwise.weight /= scales[None, :, None, None]
    return kit.Variant(module, "fragile", fashion.signature)


@pytest.fixture(scope="module")
def int4(fragile, fashion):
    """4 bits everywhere with a scale an output, trained."""
    names = [
        name for name, layer in fragile.module.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)
    ]
    bits = dict.fromkeys(names, 4)
    return kit.quantize(fragile, fashion, scheme="mixed", bits=bits, block=None, finetune=3, lr=3e-3, **PLAIN)


@pytest.fixture(scope="module")
def int8(separable, fashion):
    return kit.quantize(separable, fashion, exclude=(), finetune=1, **PLAIN)


def test_training_repairs_what_four_bits_broke(fragile, int4, fashion):
    dense = kit.evaluate(fragile, fashion, split="valid").accuracy.value
    broken = int4.report.learned.untrained.value
    assert broken < dense - 0.04
    repaired = kit.evaluate(int4, fashion, split="valid").accuracy.value
    assert dense - repaired < (dense - broken) / 2
    assert {row.bits for row in int4.report.layers} == {4}
    assert int4.report.bytes_after < 0.4 * int4.report.bytes_before


def test_the_file_holds_four_bit_integers_with_a_scale_an_output(int4):
    model = onnx.load(int4.file)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    found = [name for name in stored if name.endswith("_quantized")]
    assert len(found) == len(int4.report.layers)
    for name in found:
        scale = stored[name.replace("_quantized", "_scale")]
        assert stored[name].data_type == onnx.TensorProto.INT4
        assert np.prod(scale.dims) == stored[name].dims[0]


def test_int8_still_runs_as_integer_kernels_and_answers_as_before(separable, int8, fashion):
    assert int8.report.fused == len(int8.report.layers) == 8
    assert int8.report.format.startswith("S8S8" if integer.host() == "arm" else "U8S8")
    assert agreement(separable, int8, fashion, split="test").change.value > -0.015
    assert int8.report.learned.parity > 35
    assert int8.report.layers[3].weight_snr > 35


def test_the_report_tells_and_nothing_was_changed_in_place(separable, int4, int8):
    assert int8.parent is separable
    for variant in (int4, int8):
        assert variant.recipe[-1].settings["finetune"] == len(variant.report.learned.history.epochs)
        assert "epochs while rounded" in str(variant.report)
        json.dumps(variant.recipe[-1].settings)
        json.dumps(variant.report.to_dict())
    assert int4.report.learned.parity > 80


@pytest.mark.parametrize(
    ("scheme", "target"),
    [("static", "x86"), ("static", "arm"), ("static", "tensorrt"), ("weights4", "x86"), ("weights8", "x86")],
)
def test_scales_and_numbers_of_the_file_are_the_learned_ones(scheme, target, trained, fashion, tmp_path):
    """With the residual net: sums of rounded tensors, tensors used twice."""
    before = copy.deepcopy(trained.module.state_dict())
    prepared, draft = tmp_path / "prepared.onnx", tmp_path / "draft.onnx"
    prepare(float_variant(trained, fashion).file, prepared)
    found = layers(onnx.load(prepared))
    plan = decide(
        found, scheme=scheme, target=target, method="minmax", per_channel=True, reduce_range=False, exclude=()
    )
    few = fashion.valid.inputs[:200].numpy()
    if scheme == "static":
        integer.static(
            prepared,
            draft,
            few,
            layout=plan.layout,
            method="minmax",
            per_channel=True,
            reduce_range=False,
            excluded=(),
        )
    else:
        weight_only.quantize_weights(prepared, draft, plan.forms)
    first = onnx.load(draft)
    net = rounding(plan, onnx.load(prepared), first)
    assert len(net.weights) == len(found) == 8
    fit(net.graph, fashion.subset(1000, 200, 100), epochs=1, lr=3e-3, **PLAIN)
    model = onnx.load(prepared)
    net.graph.write(model)
    onnx.save(model, prepared)
    write(net, plan, prepared, draft)

    stored, old = (
        {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in file.graph.initializer}
        for file in (onnx.load(draft), first)
    )
    for name, step in net.scales.items():
        assert stored[name] == step.step.detach().numpy()
    moved = [stored[name] != old[name] for name in net.scales]
    assert sum(moved) >= len(moved) - 1  # the pixels are bytes already: nothing to gain for the input
    kept = stored_weights(onnx.load(draft), found)
    for layer in found:
        step = net.weights[layer.weight]
        learned = step.step.detach().numpy().ravel()
        assert np.array_equal(stored[f"{layer.weight}_scale"].ravel(), learned)
        assert not np.array_equal(stored[f"{layer.weight}_scale"], old[f"{layer.weight}_scale"])
        np.testing.assert_allclose(kept[layer.name], step(net.graph.value(layer.weight)).detach(), rtol=1e-6)
    file = trained.derive(kit.runtime.onnx_model.OnnxModel(draft), "quantize", {})
    assert decibels(net.graph(torch.from_numpy(few)).detach().numpy(), file(few)) > (
        35 if scheme == "static" else 80
    )
    assert all(torch.equal(before[key], value) for key, value in trained.module.state_dict().items())


def test_a_model_file_can_be_trained_too(trained, fashion):
    few = fashion.subset(600, 200, 100)
    file = export(trained, data=fashion)
    result = kit.quantize(file, few, scheme="weights4", finetune=1, distill=False, **PLAIN)
    assert result.report.learned.history.epochs[0].number == 1
    assert agreement(trained, result, fashion, split="valid").same.value > 0.8


def test_linear_layers_are_packed_with_their_learned_scales(fashion):
    few = fashion.subset(1000, 200, 100)
    dense = kit.train(kit.models.lenet_300_100(), few, epochs=2, seed=0, **PLAIN)
    result = kit.quantize(dense, few, scheme="weights4", finetune=1, **PLAIN)
    assert sum(node.op_type == "MatMulNBits" for node in onnx.load(result.file).graph.node) == 3
    assert result.report.learned.parity > 80


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scheme": "dynamic", "finetune": 1}, "'dynamic' has no scales to learn"),
        ({"scheme": "fp16", "finetune": 1}, "'fp16' has no scales to learn"),
        ({"lr": 1e-3}, "lr belongs to a training: give finetune= too"),
        ({"finetune": 1, "epochs": 3}, "takes finetune= instead of epochs="),
        ({"finetune": 1, "learning_rate": 3}, "unknown training setting 'learning_rate'"),
        ({"finetune": -1}, "finetune must be a whole number of epochs"),
        ({"finetune": 1, "weight": 2.0}, "weight must lie between 0"),
        ({"scheme": "weights4", "block": 20}, "block must be 16, 32, 64"),
        ({"scheme": "mixed"}, "takes bits= by layer, or budget= in bytes"),
        ({"scheme": "weights4", "budget": 9}, "belong to scheme 'mixed'"),
        ({"scheme": "mixed", "bits": {"0.1": 4}}, r"unknown layer '0\.1'; did you mean '0\.0'"),
        ({"scheme": "mixed", "bits": {"0.0": 5}}, "4, 8 or 32 bits, got 5"),
    ],
)
def test_arguments_that_do_not_fit(settings, message, trained, fashion):
    with pytest.raises(ArgumentError, match=message):
        kit.quantize(trained, fashion, **settings)


def test_no_bits_below_32_is_nothing_to_do(trained, fashion):
    with pytest.raises(ModelError, match="nothing to quantize"):
        kit.quantize(trained, fashion, scheme="mixed", bits={"0.0": 32})


def test_training_without_data_is_refused(trained, fashion):
    with pytest.raises(ArgumentError, match="takes samples: give data"):
        kit.quantize(export(trained, data=fashion), scheme="weights8", finetune=1)
