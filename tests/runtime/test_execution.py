import pytest

import kit
from kit import device as hardware
from kit.errors import ArgumentError
from kit.runtime.execution import Execution
from kit.runtime.onnx_model import OnnxModel
from kit.runtime.torch_model import TorchModel


def test_it_reads_like_a_sentence_and_keeps_what_is_set():
    how = Execution("openvino", "bf16", 2, "cpu")
    assert str(how) == "openvino cpu bf16, 2 threads"
    assert how.to_dict() == {"runtime": "openvino", "precision": "bf16", "threads": 2, "device": "cpu"}
    assert Execution().to_dict() == {"runtime": "torch", "precision": None}
    assert str(Execution("torch", "bf16", 1, layout="channels_last")) == "torch bf16 channels_last, 1 thread"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"runtime": "onnx-runtime"}, "did you mean 'onnxruntime'"),
        ({"precision": "fp8"}, "unknown precision"),
        ({"layout": "rows"}, "unknown layout"),
        ({"mode": "compiled"}, "did you mean 'compile'"),
        ({"threads": 0}, "at least 1"),
        ({"threads": True}, "at least 1"),
        ({"threads": "2"}, "at least 1"),
        ({"device": 3}, "such as 'cpu'"),
    ],
)
def test_what_no_runtime_knows_is_refused(settings, words):
    with pytest.raises(ArgumentError, match=words):
        Execution(**settings)


def test_more_threads_than_cores_are_not_taken(trained, fashion):
    """A card may come from a larger machine."""
    many, cores = Execution(threads=10_000), hardware.threads()
    assert many.here().threads == cores
    assert Execution(threads=1).here().threads == 1
    file = kit.export(trained, data=fashion).file
    for model in (TorchModel(trained.module, many), OnnxModel(file, threads=10_000)):
        model(fashion.test.inputs[:1].numpy())
        assert model._engine.threads == cores
