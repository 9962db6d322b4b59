from types import SimpleNamespace

import pytest

import kit
from kit.measurement import traits as room
from kit.measurement.traits import traits

SHAPE = (1, 28, 28)


@pytest.fixture(scope="module")
def files(trained, fashion):
    made = {"dense": kit.export(trained, data=fashion)}
    made["static"] = kit.quantize(trained, fashion, target="x86", calibration=100)
    made["signed"] = kit.quantize(trained, fashion, target="tensorrt", calibration=100)
    made["dynamic"] = kit.quantize(trained, fashion, scheme="dynamic")
    made["weights"] = kit.quantize(trained, fashion, scheme="weights8")
    return SimpleNamespace(**{name: traits(variant.file, SHAPE) for name, variant in made.items()})


def test_a_float_file_has_no_integer_layers(files):
    plain = {"dynamic": False, "integer": 0, "floating": 8, "unfused": (), "packed": 0, "depthwise": 0}
    assert files.dense == room.Traits("float32", "", **plain, intensity=files.dense.intensity)
    assert 1 < files.dense.intensity < 100


def test_static_quantization_ends_on_integer_kernels(files):
    assert files.static.storage == "int8"
    assert files.static.activations == "uint8"
    assert files.static.integer >= 7
    assert not files.static.dynamic


def test_signed_activations_leave_layers_unfused(files):
    assert files.signed.activations == "int8"
    assert files.signed.integer < files.static.integer
    assert len(files.signed.unfused) > len(files.static.unfused)


def test_dynamic_quantization_and_weights_alone_are_told_apart(files):
    assert files.dynamic.dynamic
    assert files.dynamic.uncovered == ("Conv",)
    assert files.weights.storage == "int8"
    assert files.weights.integer == 0
    assert files.weights.unfused == files.weights.uncovered == ()


def test_depthwise_convolutions_are_found(fashion):
    net = kit.variant.as_variant(kit.models.mobilenet(), fashion.signature)
    found = traits(kit.export(net, data=fashion).file, SHAPE)
    # three depthwise layers of 9 products an output, of 1.8 million in all
    products = 9 * (32 * 14 * 14 + 64 * 7 * 7 + 128 * 7 * 7)
    assert found.depthwise == pytest.approx(products / 1_804_480)
