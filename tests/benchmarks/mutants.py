"""Mutants of good exports: each is made on purpose, and the parity gate must catch every one.

`python tests/benchmarks/mutants.py` prints how many were made and caught, and what was suspected.
"""

from __future__ import annotations

import tempfile
from copy import deepcopy
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import kit
from kit.conversion.graph import to_onnx
from kit.conversion.parity import check

MUTATIONS = {}


def mutation(function):
    """Register a mutation of an ONNX model in place; it returns False where it does not apply."""
    MUTATIONS[function.__name__.replace("_", " ")] = function
    return function


def node(model, *kinds, last=False):
    found = [n for n in model.graph.node if n.op_type in kinds]
    return found[-1 if last else 0] if found else None


def rewrite(model, name, change):
    """Replace the stored tensor `name` by `change(array)`; False when it is not stored."""
    for tensor in model.graph.initializer:
        if tensor.name == name:
            array = change(numpy_helper.to_array(tensor).copy())
            tensor.CopyFrom(numpy_helper.from_array(array, name))
            return True
    return False


def nudged(amount):
    def change(array):
        array.reshape(-1)[np.abs(array).argmax()] += amount
        return array

    return change


def feed_through(model, kind, **settings):
    """Put an operator between the input and its first users."""
    name = model.graph.input[0].name
    for user in model.graph.node:
        user.input[:] = [f"{name}_mutated" if entry == name else entry for entry in user.input]
    model.graph.node.insert(0, helper.make_node(kind, [name], [f"{name}_mutated"], **settings))


def append(model, kind, inputs=(), **settings):
    """Put an operator between the last node and the output."""
    name = model.graph.output[0].name
    for maker in model.graph.node:
        maker.output[:] = [f"{name}_mutated" if entry == name else entry for entry in maker.output]
    model.graph.node.append(helper.make_node(kind, [f"{name}_mutated", *inputs], [name], **settings))


@mutation
def late_bias_off_by_a_hundredth(model):
    return rewrite(model, node(model, "Gemm", last=True).input[2], nudged(0.01))


@mutation
def late_bias_off_by_a_thousandth(model):
    return rewrite(model, node(model, "Gemm", last=True).input[2], nudged(0.001))


@mutation
def early_bias_off_by_a_thousandth(model):
    return rewrite(model, node(model, "Conv", "Gemm").input[2], nudged(0.001))


@mutation
def bias_left_out(model):
    return rewrite(model, node(model, "Gemm", last=True).input[2], np.zeros_like)


@mutation
def one_early_weight_off_by_a_hundredth(model):
    return rewrite(model, node(model, "Conv", "Gemm").input[1], nudged(0.01))


@mutation
def one_late_weight_off_by_a_hundredth(model):
    return rewrite(model, node(model, "Gemm", last=True).input[1], nudged(0.01))


@mutation
def early_weight_zeroed(model):
    return rewrite(model, node(model, "Conv", "Gemm").input[1], np.zeros_like)


@mutation
def weights_rounded_to_fp16(model):
    for layer in model.graph.node:
        if layer.op_type in {"Conv", "Gemm"}:
            rewrite(model, layer.input[1], lambda array: array.astype(np.float16).astype(np.float32))


@mutation
def weight_not_a_number(model):
    return rewrite(model, node(model, "Gemm", last=True).input[1], nudged(np.nan))


@mutation
def two_classes_swapped(model):
    def swap(array):
        array[[2, 4]] = array[[4, 2]]
        return array

    last = node(model, "Gemm", last=True)
    return rewrite(model, last.input[1], swap) and rewrite(model, last.input[2], swap)


@mutation
def batch_frozen_in_the_declaration(model):
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 2


@mutation
def batch_frozen_in_a_reshape(model):
    reshape = node(model, "Reshape")
    width = next(
        int(numpy_helper.to_array(t)[-1]) for t in model.graph.initializer if t.name == reshape.input[1]
    )
    return rewrite(model, reshape.input[1], lambda _: np.array([1, width], np.int64))


@mutation
def channels_last_declared(model):
    dims = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim[1:]]
    value = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", dims[1], dims[2], dims[0]])
    model.graph.input[0].CopyFrom(value)
    feed_through(model, "Transpose", perm=[0, 3, 1, 2])


@mutation
def height_and_width_swapped(model):
    feed_through(model, "Transpose", perm=[0, 1, 3, 2])


@mutation
def input_scaled_twice(model):
    model.graph.initializer.append(numpy_helper.from_array(np.float32(1 / 255), "again"))
    feed_through(model, "Mul")
    model.graph.node[0].input.append("again")


@mutation
def input_declared_as_float16(model):
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    feed_through(model, "Cast", to=TensorProto.FLOAT)


@mutation
def softmax_added(model):
    append(model, "Softmax", axis=-1)


@mutation
def softmax_left_out(model):
    last = node(model, "Softmax", last=True)
    if last is None:
        return False
    last.op_type = "Identity"
    del last.attribute[:]
    return True


@mutation
def relu_left_out(model):
    relu = node(model, "Relu")
    if relu is None:
        return False
    relu.op_type = "Identity"
    return True


@mutation
def relu_made_leaky(model):
    relu = node(model, "Relu", last=True)
    if relu is None:
        return False
    relu.op_type = "LeakyRelu"
    return True


@mutation
def padding_shifted(model):
    conv = node(model, "Conv", last=True)
    pads = next((a for a in conv.attribute if a.name == "pads"), None) if conv else None
    if pads is None or not any(pads.ints):
        return False
    pads.ints[:] = [0, 0, 2, 2]
    return True


@mutation
def mean_became_maximum(model):
    mean = node(model, "ReduceMean")
    if mean is None:
        return False
    mean.op_type = "ReduceMax"
    return True


@mutation
def max_pooling_became_average(model):
    pool = node(model, "MaxPool")
    if pool is None:
        return False
    pool.op_type = "AveragePool"
    kept = [a for a in pool.attribute if a.name in {"kernel_shape", "strides", "pads"}]
    del pool.attribute[:]
    pool.attribute.extend(kept)
    return True


@mutation
def shortcut_left_out(model):
    add = node(model, "Add")
    if add is None:
        return False
    add.op_type = "Identity"
    del add.input[0]
    return True


@mutation
def samples_of_a_batch_rolled(model):
    model.graph.initializer.extend(
        [
            numpy_helper.from_array(np.array([1], np.int64), "one"),
            numpy_helper.from_array(np.array([0], np.int64), "zero"),
            numpy_helper.from_array(np.array([2**31], np.int64), "end"),
        ]
    )
    name = model.graph.output[0].name
    append(model, "Concat", axis=0)
    nodes = model.graph.node
    last = nodes.pop()
    last.input[:] = ["tail", "head"]
    nodes.extend(
        [
            helper.make_node("Slice", [f"{name}_mutated", "one", "end", "zero"], ["tail"]),
            helper.make_node("Slice", [f"{name}_mutated", "zero", "one", "zero"], ["head"]),
            last,
        ]
    )


# Mutations of a file: what lies on disk is wrong, not the graph.


def _with_side_file(path):
    (path.parent / "weights.bin").unlink(missing_ok=True)  # onnx would append to it
    onnx.save_model(onnx.load(path), path, save_as_external_data=True, location="weights.bin")


def side_file_removed(path):
    _with_side_file(path)
    (path.parent / "weights.bin").unlink()


def side_file_changed(path):
    _with_side_file(path)
    side = path.parent / "weights.bin"
    content = bytearray(side.read_bytes())
    content[len(content) // 8 * 4 + 3] ^= 0x40  # one bit, in the exponent of one weight
    side.write_bytes(bytes(content))


def file_cut_short(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 9 // 10])


FILE_MUTATIONS = {
    f.__name__.replace("_", " "): f for f in (side_file_removed, side_file_changed, file_cut_short)
}


def mutants(module, inputs):
    """Yield the name and the file of each mutant of a module's good export, in a folder of its own."""
    good = to_onnx(module, torch.from_numpy(inputs[:3]), opset=20)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "good.onnx"
        onnx.save(good, path)
        yield "good", path
        for name, change in MUTATIONS.items():
            model = onnx.ModelProto()
            model.CopyFrom(good)
            if change(model) is not False:
                onnx.save(model, path)
                yield name, path
        for name, change in FILE_MUTATIONS.items():
            onnx.save(good, path)
            change(path)
            yield name, path
        other = deepcopy(module)
        norms = [layer for layer in other.modules() if isinstance(layer, nn.BatchNorm2d)]
        for norm in norms:
            norm.eps = 1e-3
        if norms:
            onnx.save(to_onnx(other, torch.from_numpy(inputs[:3]), opset=20), path)
            yield "epsilon of batch normalisation 1e-3 for 1e-5", path


def expected(module, inputs):
    with torch.inference_mode():
        return module(torch.from_numpy(inputs)).numpy()


def main():
    data = kit.data.fashion_mnist().subset(6000, 1000, 1000)
    inputs = data.valid.inputs.numpy()
    nets = {
        "residual CNN": kit.models.convnet(),
        "depthwise net": kit.models.mobilenet(),
        "LeNet-5": kit.models.lenet5(),
        "MLP with softmax": nn.Sequential(kit.models.lenet_300_100(), nn.Softmax(-1)),
    }
    made, caught, good = 0, 0, 0
    for title, net in nets.items():
        has_softmax = isinstance(net[-1], nn.Softmax)
        if has_softmax:
            net[0] = kit.train(net[0], data, epochs=1, progress=False).module
            trained = net.eval()
        else:
            trained = kit.train(net, data, epochs=1, progress=False).module.eval()
        proof = kit.export(trained, data=data).report
        answers = expected(trained, inputs)
        for name, path in mutants(trained, inputs):
            report = check(path, inputs, answers, tolerance=proof.tolerance)
            if name == "good":
                good += report.agreed
                continue
            made, caught = made + 1, caught + (not report.agreed)
            verdict = "NOT CAUGHT" if report.agreed else f"caught: {(*report.suspects, '')[0]}"
            print(f"{title:<18} {name:<46} {verdict:.90}")
    print(f"good exports accepted: {good} of {len(nets)}; mutants caught: {caught} of {made}")
    raise SystemExit(caught != made or good != len(nets))


if __name__ == "__main__":
    main()
