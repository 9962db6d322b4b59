import json

import numpy as np
import pytest
import torch

import kit
from kit.errors import ArgumentError, CorruptFileError, DeviceError, ModelError
from kit.measurement import size
from kit.runtime.execution import Execution
from kit.runtime.torch_model import TorchModel, open_torch, two_of_four

BF16 = Execution("torch", "bf16", 1, "cpu", layout="channels_last")


@pytest.fixture(scope="module")
def inputs(fashion):
    return fashion.test.inputs[:64].numpy()


@pytest.fixture(scope="module")
def half(trained):
    return kit.Variant(TorchModel(trained.module, BF16), "half", trained.signature)


def test_it_computes_in_its_precision_and_leaves_the_module_alone(half, trained, inputs):
    rough = np.abs(half(inputs) - trained(inputs)).max()
    assert 1e-4 < rough < 1
    assert half(inputs).dtype == np.float32
    assert {p.dtype for p in trained.module.parameters()} == {torch.float32}
    half.model.close()
    assert np.abs(half(inputs) - trained(inputs)).max() == rough


def test_it_opens_as_it_is_meant_to_unless_told_otherwise(half, trained, inputs):
    with kit.open(half) as session:
        assert (session.runtime, session.precision, session.threads) == ("torch", "bf16", 1)
        assert np.array_equal(session(inputs), half(inputs))
    with kit.open(half, precision="fp32", threads=2) as session:
        assert (session.precision, session.threads) == ("fp32", 2)
        assert np.allclose(session(inputs), trained(inputs), atol=1e-4)


def test_verbs_find_the_module_in_it(half, trained, fashion):
    assert half.module is trained.module
    assert size.parameters(half) == size.parameters(trained)
    assert size.macs(half) == size.macs(trained)
    assert kit.evaluate(half, fashion).accuracy.value > 0.7
    assert kit.export(half, data=fashion).file.is_file()


def test_a_folder_keeps_how_it_is_run(half, inputs, tmp_path):
    folder = kit.save(half, tmp_path / "half")
    loaded = kit.load(folder)
    assert loaded.model.execution == BF16
    assert np.array_equal(loaded(inputs), half(inputs))
    assert kit.open(folder).precision == "bf16"


@pytest.mark.parametrize(
    ("change", "words"),
    [({"threads": -1}, "at least 1"), ({"mode": "fast"}, "unknown mode"), ({"layout": 3}, "unknown layout")],
)
def test_a_card_with_an_impossible_execution_is_refused(half, tmp_path, change, words):
    folder = kit.save(half, tmp_path / "half")
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | change))
    with pytest.raises(CorruptFileError, match=words):
        kit.load(folder)


def test_more_threads_than_cores_become_as_many_as_there_are(trained):
    many = kit.Variant(TorchModel(trained.module, Execution(threads=512)), "many", trained.signature)
    assert kit.open(many).threads == kit.device.threads()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this is about machines without a GPU")
@pytest.mark.parametrize("mode", ["compile", "cuda graph", "2:4"])
def test_modes_of_a_gpu_need_one(trained, mode):
    with pytest.raises(DeviceError, match="for NVIDIA GPUs"):
        open_torch(trained.module, Execution(mode=mode))


def test_only_torch_runs_modules(trained, half):
    with pytest.raises(ModelError, match="not on openvino"):
        TorchModel(trained.module, Execution("openvino"))
    with pytest.raises(ArgumentError, match=r"kit\.export"):
        kit.open(half, runtime="onnxruntime")


def test_two_of_four_is_counted_row_by_row(trained, fashion):
    layer = torch.nn.Linear(8, 2)
    assert not two_of_four(layer)
    with torch.no_grad():
        layer.weight.view(-1, 4)[:, 1:3] = 0
    assert two_of_four(layer)
    sparse = kit.prune(trained, fashion, method="2:4", finetune=0)
    linear = [part for part in sparse.module.modules() if isinstance(part, torch.nn.Linear)]
    assert all(two_of_four(part) for part in linear)
