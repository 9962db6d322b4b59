import pytest

import kit
from kit.errors import ModelError
from kit.measurement.memory import empty, peak


@pytest.fixture(scope="module")
def lenet(fashion):
    return kit.export(kit.variant.as_variant(kit.models.lenet_300_100(), fashion.signature), data=fashion)


def test_a_model_costs_its_weights_and_grows_with_the_batch(lenet, trained, fashion):
    weights = lenet.file.stat().st_size
    found = peak(lenet.file, (1, 28, 28), (64, 1))
    assert sorted(found) == [1, 64]
    assert weights < found[1] < 6 * weights
    convolutions = peak(kit.export(trained, data=fashion).file, (1, 28, 28), (1, 256))
    activations = 256 * 8 * 28 * 28 * 4
    assert convolutions[256] - convolutions[1] > activations


def test_an_empty_model_costs_next_to_nothing():
    assert peak(empty((1, 28, 28)), (1, 28, 28), (1,))[1] < 300_000


def test_a_file_that_cannot_run_is_named(tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"broken\.onnx cannot run in a fresh process"):
        peak(tmp_path / "broken.onnx", (1,), (1,))
