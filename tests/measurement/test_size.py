import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils import prune as masks

import kit
from kit.errors import ArgumentError
from kit.measurement import size


def macs(module, *shape):
    signature = kit.variant.Signature("regression", shape, (), 1)
    return size.macs(module, signature)


def test_multiply_accumulates_are_those_of_the_formulas():
    assert macs(nn.Linear(30, 7), 30) == 30 * 7
    assert macs(nn.Conv2d(3, 8, 5, stride=2, padding=2), 3, 16, 16) == 8 * 8 * 8 * 3 * 25
    assert macs(nn.Conv2d(8, 8, 3, padding=1, groups=8), 8, 10, 10) == 8 * 100 * 9
    assert macs(nn.ConvTranspose2d(3, 4, 3), 3, 5, 5) == 25 * 3 * 4 * 9
    assert macs(nn.Sequential(nn.ReLU(), nn.MaxPool2d(2)), 3, 8, 8) == 0


def test_attention_and_recurrent_cells_are_counted_though_they_are_fused():
    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True)

        def forward(self, x):
            return self.layer(x)

    # four projections, two products with every head together, two feed-forward layers
    assert macs(Encoder(), 16, 64) == 16 * 64 * 64 * 4 + 2 * 16 * 16 * 64 + 2 * 16 * 64 * 128

    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = nn.LSTM(8, 16, batch_first=True)

        def forward(self, x):
            return self.cell(x)[0]

    assert macs(Recurrent(), 5, 8) == 5 * 4 * 16 * (8 + 16)


def test_counting_leaves_the_module_in_its_mode():
    net = nn.Sequential(nn.Linear(4, 4), nn.Dropout()).train()
    macs(net, 4)
    assert net.training
    assert net[1].training


def test_tied_weights_count_once():
    net = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6))
    net[1].weight = net[0].weight
    assert size.parameters(net) == 36 + 12
    assert size.bytes_on_disk(net) < size.bytes_on_disk(nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6)))


def test_masked_weights_are_still_parameters_but_not_nonzero():
    net = nn.Sequential(nn.Linear(10, 10, bias=False), nn.Linear(10, 10, bias=False))
    masks.random_unstructured(net[0], "weight", 0.3)

    class Half(nn.Module):
        def forward(self, weight):
            return weight * (torch.arange(100).view(10, 10) % 2)

    parametrize.register_parametrization(net[1], "weight", Half())
    assert size.parameters(net) == 200
    assert size.nonzero(net) == 70 + 50


def test_bytes_on_disk_are_those_of_the_file(tmp_path):
    from safetensors.torch import save_file

    net = kit.models.lenet5()
    save_file(net.state_dict(), tmp_path / "weights.safetensors")
    assert size.bytes_on_disk(net) == (tmp_path / "weights.safetensors").stat().st_size
    assert size.bytes_on_disk(net) > 4 * 431_080


@pytest.mark.parametrize("factory", [kit.models.convnet, kit.models.mobilenet, kit.models.lenet5])
def test_an_exported_file_has_the_arithmetic_of_its_module(factory, fashion):
    module = kit.variant.as_variant(factory(), fashion.signature)
    norms = [layer for layer in module.module.modules() if isinstance(layer, nn.BatchNorm2d)]
    for layer in norms:  # as if trained: a bias of zero is left out of the file
        nn.init.uniform_(layer.bias, 0.1, 0.2)
    file = kit.export(module, data=fashion)
    assert size.macs(file) == size.macs(module)
    assert size.parameters(file) == size.parameters(module) - sum(len(n.bias) for n in norms)  # folded
    assert size.bytes_on_disk(file) == file.file.stat().st_size


@pytest.mark.parametrize("scheme", ["static", "dynamic", "weights8"])
def test_quantizing_changes_bytes_but_neither_weights_nor_arithmetic(scheme, fashion):
    dense = kit.export(kit.variant.as_variant(kit.models.lenet_300_100(), fashion.signature), data=fashion)
    small = kit.quantize(dense, fashion, scheme=scheme)
    assert size.parameters(small) == size.parameters(dense) == 266_610
    assert size.macs(small) == size.macs(dense) == 266_200
    assert size.bytes_on_disk(small) < 0.35 * size.bytes_on_disk(dense)
    assert 0.98 * 266_610 < size.nonzero(small) <= 266_610


def test_weights_packed_into_four_bits_are_counted_one_by_one(tmp_path):
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    weight = np.random.default_rng(0).normal(size=(100, 20)).astype(np.float32)
    weight[:64] = 0  # two whole blocks of 32 in each column
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", width])
        for name, width in (("x", 100), ("y", 20))
    ]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "net",
        ends[:1],
        ends[1:],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    packer = MatMulNBitsQuantizer(model, block_size=32, is_symmetric=True)
    packer.process()
    packer.model.save_model_to_file(str(tmp_path / "packed.onnx"))
    path = tmp_path / "packed.onnx"
    assert [node.op_type for node in onnx.load(path).graph.node] == ["MatMulNBits"]
    assert size.parameters(path) == 2000
    assert 0.7 * 720 < size.nonzero(path) <= 720
    assert macs(path, 100) == 2000


def test_what_has_no_size_is_refused(trained):
    with pytest.raises(ArgumentError, match="expected a module, a variant or an ONNX file, got int"):
        size.parameters(3)
    with pytest.raises(ArgumentError, match="shape of one sample"):
        size.macs(trained.module)
