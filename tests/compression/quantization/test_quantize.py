import json

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import kit
from kit import device as hardware
from kit.compression.quantization import integer
from kit.compression.quantization.onnx_layers import layers, prepare, probe, stored_weights
from kit.compression.quantization.quantize import SCHEMES, quantize
from kit.compression.quantization.weight_only import rounded
from kit.errors import ArgumentError, DeviceError, ModelError, StorageError

HAS_BF16 = hardware.accelerates("bf16") is not None
# "mixed" needs bits by layer, and has tests of its own: test_bits.py.
RUNNABLE = [scheme for scheme in SCHEMES if scheme != "mixed" and (scheme != "bf16" or HAS_BF16)]


@pytest.fixture(scope="module")
def small(trained, fashion):
    """Every scheme once."""
    return {scheme: quantize(trained, fashion, scheme=scheme) for scheme in RUNNABLE}


@pytest.fixture(scope="module")
def every(trained, fashion):
    """int8 in each layer, the first one too."""
    return quantize(trained, fashion, exclude=())


def kinds(variant):
    return {node.op_type for node in onnx.load(variant.file).graph.node}


@pytest.mark.parametrize("scheme", RUNNABLE)
def test_each_scheme_answers_nearly_as_before_and_says_how_nearly(small, trained, fashion, scheme):
    variant, report = small[scheme], small[scheme].report
    inputs = fashion.test.inputs[:500].numpy()
    same = (variant(inputs).argmax(1) == trained(inputs).argmax(1)).mean()
    assert same > (0.85 if scheme == "weights4" else 0.95)
    assert variant.parent is trained
    assert variant.recipe[-1].settings["scheme"] == scheme
    assert report.change.change.n == len(fashion.valid)
    assert report.change.change.low <= report.change.change.value <= report.change.change.high
    assert abs(report.change.change.value) < (0.06 if scheme == "weights4" else 0.02)
    assert report.bytes_after == variant.file.stat().st_size
    json.dumps(report.to_dict(), allow_nan=True)
    json.dumps(variant.recipe[-1].settings)


def test_the_bytes_shrink_as_promised(small):
    ratio = {scheme: v.report.bytes_before / v.report.bytes_after for scheme, v in small.items()}
    assert ratio["static"] > 2.5
    assert ratio["weights8"] > 3
    assert ratio["weights4"] > 3.5
    assert 1.9 < ratio["fp16"] < 2
    assert 0.9 < ratio["dynamic"] < 1.1  # nearly all weights are in convolutions
    if HAS_BF16:
        assert 1.9 < ratio["bf16"] < 2


def test_every_bit_less_costs_six_decibels(small):
    weights = {scheme: min(row.weight_snr for row in v.report.layers) for scheme, v in small.items()}
    assert 40 < weights["weights8"] < 55
    assert 18 < weights["weights4"] < 30
    assert weights["fp16"] > 70
    assert {row.weight_snr for row in small["dynamic"].report.layers[:-1]} == {float("inf")}
    outputs = [row.output_snr for row in small["static"].report.layers]
    assert all(20 < value < 60 for value in outputs)


def test_seven_bits_instead_of_eight_cost_six_decibels(trained, fashion):
    full = quantize(trained, fashion, exclude=(), reduce_range=False).report
    reduced = quantize(trained, fashion, exclude=(), reduce_range=True).report
    lost = [a.weight_snr - b.weight_snr for a, b in zip(full.layers, reduced.layers, strict=True)]
    assert all(4 < value < 8 for value in lost)
    assert {row.bits for row in reduced.layers} == {7}
    assert "7-bit weights" in reduced.format


def test_x86_gets_unsigned_activations_and_others_signed_ones(trained, fashion):
    def zero_points(target):
        graph = onnx.load(quantize(trained, fashion, target=target, exclude=()).file).graph
        stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
        return [stored[node.input[2]] for node in graph.node if node.op_type == "QuantizeLinear"]

    x86, arm, tensorrt = (zero_points(target) for target in ("x86", "arm", "tensorrt"))
    assert {point.dtype for point in x86} == {np.dtype(np.uint8)}
    assert {point.dtype for point in arm + tensorrt} == {np.dtype(np.int8)}
    assert any(point.any() for point in arm)
    assert not any(point.any() for point in tensorrt)


def test_tensorrt_keeps_its_biases_in_float32(trained, fashion):
    graph = onnx.load(quantize(trained, fashion, target="tensorrt").file).graph
    assert onnx.TensorProto.INT32 not in {tensor.data_type for tensor in graph.initializer}


def test_auto_is_this_processor(small):
    expected = "S8S8" if integer.host() == "arm" else "U8S8"
    assert small["static"].report.format.startswith(expected)


@pytest.mark.parametrize(
    ("sets", "wanted"), [((), True), (("AVX2",), True), (("AVX2", "AVX512-VNNI"), False)]
)
def test_weights_get_seven_bits_where_sums_would_overflow(monkeypatch, sets, wanted):
    monkeypatch.setattr(hardware, "instruction_sets", lambda: sets)
    assert integer.saturates("x86") is wanted
    assert integer.saturates("arm") is False


def test_overflow_is_real_without_the_seventh_bit():
    """Two products of 255 and 127 exceed 16 bits; of 255 and 64 they do not."""
    assert 2 * 255 * 127 > 2**15 - 1 >= 2 * 255 * 64


def test_on_x86_the_narrow_first_convolution_stays_in_float32(small, every, trained):
    if integer.host() != "x86":
        assert small["static"].report.fused == every.report.fused
        return
    assert small["static"].recipe[-1].settings["exclude"] == ["0.0"]
    assert small["static"].report.layers[0].bits == 32
    assert small["static"].report.operators["Conv"] == 1
    assert any("left in float32" in note for note in small["static"].report.notes)
    assert "exclude" not in every.recipe[-1].settings
    assert {row.bits for row in every.report.layers} == {8}
    assert every.report.fused == len(every.report.layers) == 8


def test_layers_can_be_excluded_by_name_or_by_module(trained, fashion):
    report = quantize(trained, fashion, exclude=["2", "7"]).report
    bits = {row.name: row.bits for row in report.layers}
    assert [name for name, value in bits.items() if value == 32] == ["2.body.0", "2.body.3", "7"]
    assert report.layers[-1].weight_snr == float("inf")
    with pytest.raises(ArgumentError, match=r"unknown layer '2\.bodi\.0'; did you mean '2\.body"):
        quantize(trained, fashion, exclude=["2.bodi.0"])
    with pytest.raises(ModelError, match="nothing to quantize"):
        quantize(trained, fashion, exclude=[row.name for row in report.layers])


def test_calibration_uses_validation_samples_and_never_the_test_split(trained, fashion):
    """Outliers in the test split would widen every range; in the validation split they do."""

    def widest(data):
        variant = quantize(trained, data, calibration=len(data.valid))
        graph = onnx.load(variant.file).graph
        stored = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
        return max(float(stored[n.input[1]]) for n in graph.node if n.op_type == "QuantizeLinear")

    def louder(split):
        return type(split)(split.name, split.raw.float() * 50, split.targets, split.preprocess)

    data = fashion.subset(500, 200, 200)
    build = type(data)
    loud_test = build(data.name, data.train, data.valid, louder(data.test), data.signature)
    loud_valid = build(data.name, data.train, louder(data.valid), data.test, data.signature)
    assert widest(loud_test) == widest(data)
    assert widest(loud_valid) > 10 * widest(data)


def test_calibration_methods_cut_the_ranges_differently(trained, fashion):
    """Entropy and percentile cut outliers off; extremes cut nothing."""

    def scales(method):
        variant = quantize(trained, fashion, method=method, calibration=100)
        graph = onnx.load(variant.file).graph
        stored = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
        return np.array([float(stored[n.input[1]]) for n in graph.node if n.op_type == "QuantizeLinear"])

    minmax, entropy, percentile = (scales(method) for method in ("minmax", "entropy", "percentile"))
    assert (percentile <= minmax * 1.001).all()
    assert (entropy <= minmax * 1.001).all()
    assert entropy.sum() < 0.95 * minmax.sum()
    assert not np.allclose(entropy, percentile, rtol=1e-3)


def test_the_same_seed_gives_the_same_file(trained, fashion):
    first, second = (quantize(trained, fashion, calibration=50, seed=3).file.read_bytes() for _ in range(2))
    assert first == second


def test_dynamic_covers_matrix_products_only(small, trained, fashion):
    assert "MatMulInteger" in kinds(small["dynamic"])
    assert "ConvInteger" not in kinds(small["dynamic"])
    convolutions = nn.Sequential(nn.Conv2d(1, 10, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(ModelError, match="covers matrix products"):
        quantize(convolutions, fashion, scheme="dynamic")


def test_weight_only_files_compute_in_float32_with_fewer_bytes(small):
    for scheme in ("weights8", "weights4"):
        operators = small[scheme].report.operators
        assert operators["Conv"] == 7  # widened once, when the file is loaded
        assert "DequantizeLinear" not in operators
        assert small[scheme].report.fused == 0
    assert small["weights8"].report.operators.get("Gemm") == 1
    assert small["weights4"].report.operators.get("MatMulNBits") == 1


def test_at_four_bits_layers_of_few_weights_an_output_keep_eight(fashion):
    report = quantize(kit.models.mobilenet(), fashion.subset(100, 200, 100), scheme="weights4").report
    bits = {row.name: (row.weights, row.bits) for row in report.layers}
    assert {value for _, value in bits.values()} == {4, 8}
    assert sum(w for w, b in bits.values() if b == 4) > 0.9 * sum(w for w, _ in bits.values())


def test_rounding_of_a_block():
    numbers, scale = rounded(np.array([[0.0, 0.0], [7.0, -3.4]], np.float32), 4)
    assert numbers.tolist()[0] == [0, 0]
    assert numbers[1, 0] == 7
    assert (np.abs(numbers) <= 7).all()
    exact, scale = rounded(np.arange(-127, 128, dtype=np.float32)[None], 8)
    assert np.array_equal(exact * scale, np.arange(-127, 128)[None])


@pytest.mark.parametrize("bits", [4, 8])
def test_rounding_is_never_worse_than_the_plain_scale(bits):
    blocks = np.random.default_rng(0).standard_t(3, (500, 32)).astype(np.float32)
    numbers, scale = rounded(blocks, bits)
    plain = np.abs(blocks).max(1, keepdims=True) / (2 ** (bits - 1) - 1)
    worst = ((blocks - np.rint(blocks / plain) * plain) ** 2).sum(1)
    assert (((blocks - numbers * scale) ** 2).sum(1) <= worst * 1.001).all()


def test_the_stored_weights_are_those_the_file_multiplies_with(fashion, tmp_path):
    """A square matrix product: a transposed weight would have the right shape and the wrong values."""
    net = nn.Sequential(
        nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)
    )
    data = fashion.subset(100, 200, 100)
    weights = {str(i): net[i].weight.detach().numpy() for i in (1, 3, 5)}
    for scheme in ("static", "dynamic", "weights4"):
        variant = quantize(net, data, scheme=scheme)
        prepare(kit.export(net, data=data).file, tmp_path / "prepared.onnx")
        found = layers(onnx.load(tmp_path / "prepared.onnx"))
        stored = stored_weights(onnx.load(variant.file), found)
        for name, weight in weights.items():
            assert stored[name].shape == weight.shape
            assert np.abs(stored[name] - weight).max() < np.abs(weight).max() / 6, (scheme, name)
        assert min(row.weight_snr for row in variant.report.layers) > 15


def test_preparing_a_graph_changes_no_answer(trained, fashion, tmp_path):
    exported = kit.export(trained, data=fashion)
    prepare(exported.file, tmp_path / "prepared.onnx")
    model = onnx.load(tmp_path / "prepared.onnx")
    assert "GlobalAveragePool" in {node.op_type for node in model.graph.node}
    inputs = fashion.test.inputs[:50].numpy()
    assert np.allclose(probe(model, ["output"], inputs)["output"], exported(inputs), atol=1e-5)


def test_bf16_is_run_by_openvino_or_refused_where_nothing_computes_it(trained, fashion, small):
    if not HAS_BF16:
        with pytest.raises(DeviceError, match="no runtime here computes in bf16"):
            quantize(trained, fashion, scheme="bf16")
        return
    with kit.open(small["bf16"]) as session:
        assert (session.runtime, session.precision) == ("openvino", "bf16")


@pytest.mark.parametrize("scheme", RUNNABLE)
def test_a_quantized_model_survives_its_folder(small, fashion, tmp_path, scheme):
    inputs = fashion.test.inputs[:20].numpy()
    loaded = kit.load(kit.save(small[scheme], tmp_path / scheme))
    assert np.array_equal(loaded(inputs), small[scheme](inputs))
    assert loaded.report.to_dict()["format"] == small[scheme].report.format


def test_an_onnx_file_without_data_can_be_made_smaller(trained, fashion):
    exported = kit.export(trained, data=fashion)
    variant = quantize(exported, scheme="weights8")
    assert variant.report.change is None
    assert variant.report.bytes_after < variant.report.bytes_before / 3
    with pytest.raises(ArgumentError, match="give data"):
        quantize(exported)
    with pytest.raises(ArgumentError, match="give data"):
        quantize(trained.module, scheme="weights8")


def test_a_regression_and_a_plain_product_of_matrices(tmp_path):
    class Product(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(10, 16))
            self.head = nn.Linear(16, 2)

        def forward(self, x):
            return self.head(torch.relu(x @ self.weight))

    inputs = np.random.default_rng(0).normal(size=(400, 10)).astype(np.float32)
    data = kit.data.from_arrays(inputs, inputs[:, :2])
    torch.manual_seed(0)
    net = Product()
    exact = net(torch.from_numpy(inputs)).detach().numpy()
    for scheme in ("static", "dynamic", "weights8", "weights4"):
        variant = quantize(net, data, scheme=scheme, path=tmp_path / f"{scheme}.onnx")
        assert (variant(inputs) - exact).std() < 0.25 * exact.std()
        assert variant.file == tmp_path / f"{scheme}.onnx"
        assert [row.weights for row in variant.report.layers] == [160, 32]


def test_what_is_quantized_already_is_not_quantized_again(small, fashion):
    for scheme, variant in small.items():
        with pytest.raises(ModelError, match="is quantized already") as caught:
            quantize(variant, fashion)
        assert "float32 ancestor" in str(caught.value), scheme


def test_a_module_with_nothing_to_quantize(fashion):
    with pytest.raises(ModelError, match="no Conv, Gemm or MatMul to quantize"):
        quantize(nn.Sequential(nn.AdaptiveAvgPool2d((2, 5)), nn.Flatten()), fashion)


def test_arguments_are_checked_before_anything_is_done(trained, fashion):
    for words, settings in [
        ("unknown scheme 'statik'; did you mean 'static'", {"scheme": "statik"}),
        ("unknown target 'amd64'", {"target": "amd64"}),
        ("unknown calibration method 'minmx'; did you mean 'minmax'", {"method": "minmx"}),
        ("calibration needs at least 1 sample", {"calibration": 0}),
        ("exclude= belongs to the integer schemes", {"scheme": "fp16", "exclude": ["7"]}),
    ]:
        with pytest.raises(ArgumentError, match=words):
            quantize(trained, fashion, **settings)


def test_a_weight_too_large_for_fp16_is_named(fashion):
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    with torch.no_grad():
        net[1].weight[0, 0] = 1e5
    with pytest.raises(ModelError, match=r"exceeds 65,504"):
        quantize(net, fashion, scheme="fp16")


def test_a_file_that_cannot_be_written_leaves_nothing(trained, fashion, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError):
        quantize(trained, fashion, path=tmp_path / "file" / "net.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_report_can_be_read_and_drawn(small):
    report = small["static"].report
    text = str(report)
    for words in ("2.body.0", "integer kernels: ", "accuracy", "points", "minmax on 512 validation samples"):
        assert words in text
    assert text.count("\n") == len(report.layers) + 6 + len(report.notes)
    assert "<table" in report._repr_html_()
    figure = report.plot()
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [r.name for r in report.layers]


def test_the_original_stays_as_it_was(trained, fashion):
    before = {name: tensor.clone() for name, tensor in trained.module.state_dict().items()}
    quantize(trained, fashion, scheme="weights4")
    assert all(torch.equal(before[name], tensor) for name, tensor in trained.module.state_dict().items())


def test_nothing_is_printed(trained, fashion, capfd):
    quantize(trained, fashion, method="percentile", calibration=20)
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err == ""
