import numpy as np
import onnx
import pytest
import torch
from torch import nn

import kit
from kit.conversion.adapt import give_logits, take_channels_first
from kit.errors import ArgumentError, ExportError, ModelError, ParityError, UnsafeModelError
from kit.files import scratch
from kit.runtime.formats import find


@pytest.fixture(scope="module")
def few(fashion):
    return fashion.subset(300, 200, 100)


@pytest.fixture(scope="module")
def images(few):
    return few.test.inputs[:17].numpy()


@pytest.mark.parametrize("form", ["pt2", "openvino", "keras", "state_dict", "safetensors"])
def test_a_net_goes_out_and_answers_the_same(trained, few, images, tmp_path, form):
    path = tmp_path / f"net{find(form).suffix}"
    made = kit.convert(trained, form, data=few, path=path)
    assert made.report.agreed
    assert made.report.fresh
    assert made.report.n == 500
    assert made.recipe[-1].settings["to"] == form
    assert np.abs(made(images) - trained(images)).max() <= made.report.tolerance
    turned = np.moveaxis(images, 1, -1) if form == "keras" else images  # a bare file takes what it declares
    with kit.open(path, module=trained.module if form == "state_dict" else None) as session:
        assert np.abs(session(turned) - trained(images)).max() <= made.report.tolerance


@pytest.mark.parametrize("form", ["pt2", "openvino", "keras"])
def test_a_file_is_kept_in_a_model_folder(trained, few, images, tmp_path, form):
    made = kit.convert(trained, form, data=few)
    folder = kit.save(made, tmp_path / "folder")
    again = kit.load(folder)
    assert np.array_equal(again(images), made(images))
    with kit.open(folder) as session:
        assert session.runtime == find(form).runtime
        assert np.allclose(session(images), trained(images), atol=1e-4)


@pytest.mark.parametrize("form", ["pt2", "keras"])
def test_and_comes_back_as_onnx_and_as_a_module_that_learns(trained, few, images, tmp_path, form):
    path = tmp_path / f"net.{form}"
    kit.convert(trained, form, data=few, path=path)
    back = kit.convert(path, "onnx", data=few)
    assert np.allclose(back(images), trained(images), atol=1e-4)
    assert ("transpose" in str(back.recipe[-1])) == (form == "keras")
    module = kit.convert(back, "torch", data=few).module
    assert sum(weight.numel() for weight in module.parameters() if weight.requires_grad) > 1000
    assert np.allclose(module(torch.from_numpy(images)).detach().numpy(), trained(images), atol=1e-4)


def test_nets_of_every_kind_become_keras_layers(few, images):
    for net in (kit.models.lenet5(), kit.models.lenet_300_100(), kit.models.mobilenet()):
        made = kit.convert(net.eval(), "keras", data=few, samples=50)
        assert np.allclose(made(images), kit.convert(net, "onnx", data=few, samples=50)(images), atol=1e-4)


class Odd(nn.Module):
    """Operators on feature maps that a wrong order of axes would break."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 6, (3, 5), stride=(2, 1), padding=(1, 2), groups=1)
        self.second = nn.Conv2d(6, 6, 3, groups=2, dilation=2)
        self.scale = nn.Parameter(torch.randn(6, 1, 1))
        self.across = nn.Parameter(torch.randn(24))
        self.head = nn.Linear(6 * 10 * 24, 10)

    def forward(self, x):
        x = torch.tanh(self.second(self.first(x))) * self.scale
        x = nn.functional.leaky_relu(x * self.across, 0.1) + x.mean((2, 3), keepdim=True)
        return self.head(x.transpose(2, 3).flatten(1))


def test_axes_are_turned_and_never_reshaped(few, images):
    torch.manual_seed(1)
    net = Odd().eval()
    made = kit.convert(net, "keras", data=few, samples=50)
    assert np.allclose(made(images), net(torch.from_numpy(images)).detach().numpy(), atol=1e-4)


def test_a_module_of_ones_own_is_proven_here(few, tmp_path):
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 10)).eval()
    for form in ("state_dict", "safetensors"):
        made = kit.convert(net, form, data=few, path=tmp_path / form)
        assert not made.report.fresh
        assert "in this process" in str(made.report)
    with pytest.raises(ModelError, match="module=MyNet"):
        kit.open(tmp_path / "state_dict")


def test_what_is_not_reached_is_said(trained, few, tmp_path):
    with pytest.raises(ArgumentError, match="did you mean 'openvino'"):
        kit.convert(trained, "openvinoo", data=few)
    with pytest.raises(ArgumentError, match="is a PyTorch module already"):
        kit.convert(trained, "torch", data=few)
    with pytest.raises(ModelError, match="already is an ONNX file"):
        kit.convert(kit.export(trained, data=few), "onnx", data=few)
    with pytest.raises(ArgumentError, match="got dict"):
        kit.convert({}, "onnx", data=few)
    ir = kit.convert(trained, "openvino", data=few, path=tmp_path / "net.xml").file
    with pytest.raises(ExportError, match="no way from openvino to ONNX"):
        kit.convert(ir, "onnx", data=few)
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.Softplus()).eval()
    with pytest.raises(ExportError, match="operator Softplus has no Keras layer"):
        kit.convert(net, "keras", data=few)


def test_a_pickled_module_is_refused(trained, few, tmp_path):
    torch.save(trained.module, tmp_path / "net.pt")
    with pytest.raises(UnsafeModelError, match="pickle that calls"):
        kit.convert(tmp_path / "net.pt", "onnx", data=few, module=trained.module)


@pytest.mark.parametrize(("to", "name"), [("openvino", "net.xml"), ("state_dict", "net.pt")])
def test_a_file_that_answers_differently_is_not_written(trained, few, tmp_path, to, name):
    with pytest.raises(ParityError, match="tolerance"):
        kit.convert(trained, to, data=few, path=tmp_path / name, tolerance=-1.0)
    assert list(tmp_path.iterdir()) == []


def test_a_softmax_at_the_end_is_left_out(trained, few, images):
    net = nn.Sequential(trained.module, nn.Softmax(1)).eval()
    model = onnx.load(kit.export(net, data=few).file)
    assert "softmax" in give_logits(model, 10)
    onnx.save(model, path := scratch("logits.onnx"))
    assert np.allclose(kit.open(path)(images), trained(images), atol=1e-4)


def test_channels_are_turned_in_front(trained, few, images):
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = trained.module

        def forward(self, x):
            return self.inner(x.permute(0, 3, 1, 2))

    last = kit.data.from_arrays(few.train.inputs.permute(0, 2, 3, 1).numpy(), few.train.targets.numpy())
    model = onnx.load(kit.export(Last().eval(), data=last).file)
    take_channels_first(model, (1, 28, 28))
    onnx.save(model, path := scratch("first.onnx"))
    assert np.allclose(kit.open(path)(images), trained(images), atol=1e-4)
